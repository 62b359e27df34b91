"""Deliveries of webhooks in BTCPay's form: the body, its signature, and the rules of repetition.

The source is BTCPay Server 2.4, https://docs.btcpayserver.org/API/Greenfield/v1/#tag/Webhooks.
"""

import hashlib
import hmac
import json
import string
from collections.abc import Mapping
from typing import Any

SIGNATURE_HEADER = "BTCPay-Sig"
"""The header's name. Some plug-ins look up this exact spelling, with these capitals."""

MAX_REFUSALS = 3
"""The number of final refusals (4xx) after which Nodetill gives up a message."""

MIN_SERVER_ERRORS = 4
"""The number of 5xx responses to an event after which later events of the invoice may pass it.

The schedule reaches the fourth attempt after about 3 minutes.
"""

INVOICE_EVENTS = (
    "InvoiceCreated",
    "InvoiceReceivedPayment",
    "InvoiceProcessing",
    "InvoicePaymentSettled",
    "InvoiceSettled",
    "InvoiceExpired",
    "InvoiceExpiredPaidPartial",
    "InvoiceInvalid",
)
"""The types of BTCPay's events that Nodetill sends. An endpoint may also name BTCPay's other types."""

_TEMPORARY_REFUSALS = (408, 425, 429)
"""A later attempt can succeed: Request Timeout, Too Early, Too Many Requests (RFC 9110, 8470, 6585)."""

_ALPHABET = string.digits + string.ascii_letters
_CHARACTERS = 20


def delivery_body(
    invoice_event: Mapping[str, Any],
    *,
    webhook_reference: str,
    delivery: str,
    original_delivery: str,
) -> bytes:
    """Return the JSON of an event, in ASCII. The signature covers exactly these bytes.

    `delivery` is the id of this attempt, and `original_delivery` is the id of the first attempt.
    """
    body = {
        "deliveryId": delivery,
        "webhookId": webhook_reference,
        "originalDeliveryId": original_delivery,
        "isRedelivery": delivery != original_delivery,
        **invoice_event,
    }
    return json.dumps(body, separators=(",", ":"), allow_nan=False).encode("ascii")


def signature(secret: str, body: bytes) -> str:
    """Return the value of SIGNATURE_HEADER. The key is the text of the secret in UTF-8, not decoded."""
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"


def delivery_reference(original: str, number: int) -> str:
    """Return the id of attempt `number`. Attempt 0 has the id `original`.

    The id depends on nothing else, so an attempt that is repeated after a crash has the same id.
    """
    if number == 0:
        return original
    rest = int.from_bytes(hashlib.sha256(f"{original}:{number}".encode()).digest())
    characters = []
    for _ in range(_CHARACTERS):
        rest, digit = divmod(rest, len(_ALPHABET))
        characters.append(_ALPHABET[digit])
    return f"dl_{''.join(characters)}"


def is_final_refusal(status: int) -> bool:
    """Return whether an HTTP status is a 4xx that a repeated request would get again."""
    return 400 <= status < 500 and status not in _TEMPORARY_REFUSALS


def is_server_error(status: int) -> bool:
    return 500 <= status < 600


def trial_event(seller_id: str, test_id: str, timestamp: int) -> dict[str, Any]:
    """Return a test event, whose invoice does not exist. `timestamp` is in seconds since 1970.

    Plug-ins accept and ignore an event whose ids contain `__test__`, as BTCPay sends it.
    """
    return {
        "type": "InvoiceCreated",
        "timestamp": timestamp,
        "storeId": seller_id,
        "invoiceId": test_id,
        "metadata": {},
    }
