"""Examples for the API's description. The code of real responses creates them from made-up facts.

A test makes the same calls, and compares the responses.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from payments.document import PaymentDocument, payment_document
from payments.network import MAIN
from payments.notifications import webhook_body
from payments.status import EventType, Status
from web.api.forms import PaymentForm, read_form
from web.api.schemas import EXAMPLE_ADDRESS, EXAMPLE_EVENT_ID, EXAMPLE_REFERENCE, EXAMPLE_TXID
from web.http.responses import Problem

CREATE_BODY: Mapping[str, Any] = MappingProxyType(
    {
        "amount_fiat": "135.99",
        "currency": "EUR",
        "label": "Alpaca Direct",
        "order_id": "4711",
        "note": "Alpaca socks",
        "metadata": {"size": "42"},
        "redirect_url": "https://shop.example/orders/4711",
    }
)
"""The body of the first call."""

LINK_BODY: Mapping[str, Any] = MappingProxyType(
    {"title": "Invoice 2026-17", "amount_fiat": "135.99", "currency": "EUR", "due_at": "2026-12-24T23:59:59Z"}
)
"""The body that creates a payment link."""

_BLOCK_HASH = "00000000000000000001a3f0c2b8e7d4956f1c0e8a7b3d2f4e5c6b7a8d9e0f12"
_CREATED_AT = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
_RECEIVED_AT = _CREATED_AT + timedelta(seconds=200)
_CONFIRMED_AT = _CREATED_AT + timedelta(seconds=3900)
_TIP_HEIGHT = 907_000
_AMOUNT_SATS = 222_402


@dataclass
class _Request:
    """A new payment request, as `CREATE_BODY` creates it. payments/document.py defines the fields."""

    reference: str = EXAMPLE_REFERENCE
    seller_id: str = "company1"
    amount_fiat: str = CREATE_BODY["amount_fiat"]
    currency: str = CREATE_BODY["currency"]
    price: str = "61146.30"
    price_at: datetime = _CREATED_AT
    price_source: str = "bitpay, kraken"
    amount_sats: int = _AMOUNT_SATS
    confirmations_required: int = 6
    required_depth: int | None = None
    unpublished_height: int | None = None
    created_at: datetime = _CREATED_AT
    expires_at: datetime = _CREATED_AT + timedelta(seconds=900)
    order_id: str | None = CREATE_BODY["order_id"]
    note: str = CREATE_BODY["note"]
    label: str | None = CREATE_BODY["label"]
    redirect_url: str | None = CREATE_BODY["redirect_url"]
    metadata: dict[str, Any] = field(default_factory=lambda: CREATE_BODY["metadata"])
    status: str = Status.NEW.value
    covered_height: int | None = None
    received_sats: int = 0
    due_sats: int = _AMOUNT_SATS
    overpaid_sats: int = 0
    is_late: bool = False
    txid: str | None = None
    received_at: datetime | None = None
    confirmed_at: datetime | None = None


@dataclass
class _Output:
    """The output that pays the request."""

    txid: str = EXAMPLE_TXID
    vout: int = 1
    amount_sats: int = _AMOUNT_SATS
    state: str = "mined"
    block_hash: str | None = _BLOCK_HASH
    block_height: int | None = _TIP_HEIGHT - 5
    first_seen_at: datetime = _RECEIVED_AT
    replaced_by: str | None = None


def new_payment(public_url: str) -> PaymentDocument:
    """Return the response to `CREATE_BODY`."""
    return payment_document(
        _Request(), EXAMPLE_ADDRESS, (), tip_height=_TIP_HEIGHT, public_url=public_url, network=MAIN
    )


def webhook_event(public_url: str) -> dict[str, Any]:
    """Return the body of the webhook `payment.confirmed` for the same request."""
    confirmed = replace(
        _Request(),
        status=Status.CONFIRMED.value,
        covered_height=_TIP_HEIGHT - 5,
        received_sats=_AMOUNT_SATS,
        due_sats=0,
        txid=EXAMPLE_TXID,
        received_at=_RECEIVED_AT,
        confirmed_at=_CONFIRMED_AT,
    )
    document = payment_document(
        confirmed, EXAMPLE_ADDRESS, [_Output()], tip_height=_TIP_HEIGHT, public_url=public_url, network=MAIN
    )
    event: dict[str, Any] = json.loads(webhook_body(EventType.CONFIRMED, _CONFIRMED_AT, document))
    return event


def webhook_headers() -> str:
    """Return the headers of that webhook."""
    return (
        f"webhook-id: {EXAMPLE_EVENT_ID}\n"
        f"webhook-timestamp: {int(_CONFIRMED_AT.timestamp())}\n"
        "webhook-signature: v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="
    )


def problem() -> dict[str, Any]:
    """Return the response to a body with two faults."""
    try:
        read_form(PaymentForm, {**CREATE_BODY, "currency": "eur", "confirmations": 1000})
    except Problem as refusal:
        return {**refusal.response.document}
    raise AssertionError("the form accepts the faults of the example")
