"""Rows for tests of the tables: each has the required columns, and the columns that the test names."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from models.address import Address, add_addresses
from models.api_key import ApiKey
from models.link import Link
from models.outbox import EMAIL, WEBHOOK, Event, Message
from models.output import Output
from models.payment import PaymentRequest
from models.seller import Seller
from models.webhook import STANDARD, Webhook

NOW = datetime(2026, 11, 23, 12, 0, 0, 123_456, tzinfo=UTC)
TXID, BLOCK_HASH = "ab" * 32, "cd" * 32


def script(number: int) -> bytes:
    """Return a P2WPKH script that differs for each number."""
    return b"\x00\x14" + number.to_bytes(20)


def fill_pool(count: int, first: int = 0) -> None:
    """Store free addresses."""
    numbers = range(first, first + count)
    add_addresses([(f"bcrt1q{number:038x}", script(number)) for number in numbers], "nodetill", NOW)


def new_address(number: int) -> Address:
    """Store an address that a request has claimed."""
    row: Address = Address.create(
        script=script(number),
        address=f"bcrt1q{number:038x}",
        wallet="nodetill",
        created_at=NOW,
        claimed_at=NOW,
    )
    return row


def new_seller(name: str = "company1", **values: Any) -> Seller:
    row: Seller = Seller.create(**{"id": name, "created_at": NOW, **values})
    return row


def new_key(seller: Seller, **values: Any) -> ApiKey:
    """Store a key with all permissions. Its hash is the seller's id."""
    usual = {"reference": f"key_{secrets.token_hex(8)}", "key_hash": seller.id, "created_at": NOW}
    row: ApiKey = ApiKey.create(**{**usual, "seller": seller, **values})
    return row


def new_webhook(seller: Seller | str = "company1", **values: Any) -> Webhook:
    """Store a standard endpoint of the seller."""
    seller_id = seller if isinstance(seller, str) else seller.id
    usual = {
        "reference": f"wh_{Webhook.select().count() + 1}",
        "kind": STANDARD,
        "url": f"https://{seller_id}.example/hook",
        "signing_secret": "whsec_new",
        "created_at": NOW,
    }
    row: Webhook = Webhook.create(**{**usual, "seller": seller_id, **values})
    return row


def webhook_message(event: Event, webhook: Webhook, **values: Any) -> Message:
    """Store a webhook that waits to be sent."""
    return new_message(
        event,
        **{
            "channel": WEBHOOK,
            "recipient": webhook.reference,
            "queue": webhook.queue,
            "webhook": webhook,
            "reference": f"dl_{event.id}_{webhook.id}",
            **values,
        },
    )


def new_payment(number: int = 1, **values: Any) -> PaymentRequest:
    """Store a request of company1 at an address of its own."""
    if "seller" not in values:
        values["seller"] = Seller.get_or_none(Seller.id == "company1") or new_seller()
    if "address" not in values:
        values["address"] = new_address(number)
    usual = {
        "reference": f"PR-{number}",
        "amount_fiat": "135.99",
        "currency": "EUR",
        "price": "61142.30",
        "price_at": NOW,
        "price_source": "coinbase",
        "amount_sats": 222_416,
        "due_sats": 222_416,
        "tolerance_sats": 0,
        "confirmations_required": 6,
        "created_at": NOW,
        "expires_at": NOW + timedelta(minutes=15),
        "monitored_until": NOW + timedelta(days=7),
    }
    row: PaymentRequest = PaymentRequest.create(**{**usual, **values})
    return row


def new_link(number: int = 1, **values: Any) -> Link:
    """Store an invoice of company1 over 100.00 EUR."""
    if "seller" not in values:
        values["seller"] = Seller.get_or_none(Seller.id == "company1") or new_seller()
    usual = {
        "reference": f"LK-{number}",
        "title": "Invoice 17",
        "amount_fiat": "100.00",
        "currency": "EUR",
        "created_at": NOW,
    }
    row: Link = Link.create(**{**usual, **values})
    return row


def new_output(payment: PaymentRequest, **values: Any) -> Output:
    """Store an output to the request's address, in the mempool."""
    usual = {"txid": TXID, "vout": 0, "amount_sats": 1000, "first_seen_at": NOW, "state": "mempool"}
    usual["present_since"] = values.get("first_seen_at", NOW)
    row: Output = Output.create(**{**usual, "address": payment.address, **values})
    return row


def new_event(payment: PaymentRequest, **values: Any) -> Event:
    """Store an event of the request."""
    usual = {
        "reference": f"evt_{payment.id}",
        "revision": 1,
        "type": "payment.received",
        "created_at": NOW,
        "payload": {},
    }
    row: Event = Event.create(**{**usual, "payment": payment, **values})
    return row


def new_message(event: Event, **values: Any) -> Message:
    """Store an email that waits to be sent."""
    usual = {
        "channel": EMAIL,
        "recipient": "operator@example.com",
        "queue": EMAIL,
        "created_at": NOW,
        "next_attempt_at": NOW,
    }
    row: Message = Message.create(**{**usual, "event": event, "payment": event.payment_id, **values})
    return row
