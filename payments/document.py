"""The JSON form of a payment request, for the API, for webhooks and for emails."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol, overload
from urllib.parse import quote

from payments.money import format_btc

Document = Mapping[str, Any]
"""A payment request as `payment_document` returns it."""


class StoredRequest(Protocol):
    """The fields of a stored payment request that are read. `models.payment.PaymentRequest` has them."""

    reference: str
    seller_id: str
    amount_fiat: str
    currency: str
    price: str
    price_at: datetime
    price_source: str
    amount_sats: int
    confirmations_required: int
    required_depth: int | None
    unpublished_height: int | None
    created_at: datetime
    expires_at: datetime
    order_id: str | None
    note: str
    label: str | None
    redirect_url: str | None
    metadata: Mapping[str, Any]
    status: str
    covered_height: int | None
    received_sats: int
    due_sats: int
    overpaid_sats: int
    is_late: bool
    txid: str | None
    received_at: datetime | None
    confirmed_at: datetime | None


class Part(Protocol):
    """The fields of a stored output that are read. `models.output.Output` has them."""

    txid: str
    vout: int
    amount_sats: int
    state: str
    block_hash: str | None
    block_height: int | None
    first_seen_at: datetime
    replaced_by: str | None


def payment_document(
    request: StoredRequest,
    address: str,
    parts: Iterable[Part],
    *,
    tip_height: int,
    network: str | None,
    public_url: str,
    link_reference: str | None = None,
) -> dict[str, Any]:
    """Return the request as JSON values, at the tip at which its status was computed.

    `link_reference` is the id of the payment link that made the request, or None.
    `tip_height` is the published height. `network` is None before the daemon has first reached bitcoind.
    docs/spec.md 4 lists the field names. A cover that needs a coinbase output requires more confirmations
    than agreed.
    """
    tip_height = tip_height if request.unpublished_height is None else request.unpublished_height
    return {
        "payment_request_id": request.reference,
        "seller_id": request.seller_id,
        "network": network,
        "amount_fiat": request.amount_fiat,
        "currency": request.currency,
        "price_btc": request.price,
        "price_timestamp": int(request.price_at.timestamp()),
        "price_source": request.price_source,
        "amount_btc": format_btc(request.amount_sats),
        "amount_sats": request.amount_sats,
        "address": address,
        "payment_uri": payment_uri(address, request.amount_sats, request.label),
        "checkout_url": f"{public_url}/pay/{request.reference}",
        "order_id": request.order_id,
        "note": request.note,
        "label": request.label,
        "metadata": request.metadata,
        "link_id": link_reference,
        "redirect_url": request.redirect_url,
        "status": request.status,
        "confirmations": depth(request.covered_height, tip_height),
        "confirmations_required": request.required_depth or request.confirmations_required,
        "received_sats": request.received_sats,
        "due_sats": request.due_sats,
        "overpaid_sats": request.overpaid_sats,
        "late": request.is_late,
        "txid": request.txid,
        "transactions": [_part_document(part, tip_height) for part in parts],
        "created_at": timestamp(request.created_at),
        "expires_at": timestamp(request.expires_at),
        "received_at": timestamp(request.received_at),
        "confirmed_at": timestamp(request.confirmed_at),
    }


def payment_uri(address: str, amount_sats: int, label: str | None = None) -> str:
    """Return a BIP21 URI. A bech32 address is in upper case (BIP173), which makes a QR code smaller."""
    is_bech32 = address.lower().startswith(("bc1", "tb1", "bcrt1"))
    uri_address = address.upper() if is_bech32 else address
    suffix = f"&label={quote(label, safe='')}" if label else ""
    return f"bitcoin:{uri_address}?amount={format_btc(amount_sats)}{suffix}"


def depth(height: int | None, tip_height: int) -> int:
    """Return the confirmations of the block at `height`: 1 at the tip, and 0 for None (in no block)."""
    return 0 if height is None else max(tip_height - height + 1, 0)


@overload
def timestamp(moment: datetime) -> str: ...
@overload
def timestamp(moment: None) -> None: ...
@overload
def timestamp(moment: datetime | None) -> str | None: ...
def timestamp(moment: datetime | None) -> str | None:
    """Return a time by RFC 3339, in UTC and to the second."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _part_document(part: Part, tip_height: int) -> dict[str, Any]:
    return {
        "txid": part.txid,
        "vout": part.vout,
        "amount_sats": part.amount_sats,
        "state": part.state,
        "confirmations": depth(part.block_height, tip_height),
        "block_hash": part.block_hash,
        "block_height": part.block_height,
        "first_seen_at": timestamp(part.first_seen_at),
        "replaced_by": part.replaced_by,
    }
