"""The JSON form of a payment request, for the API, for webhooks and for emails."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol, TypedDict, overload
from urllib.parse import quote

from payments.money import format_btc
from payments.status import Status

Document = Mapping[str, Any]
"""The document of an event, as it is stored. An event of an earlier version lacks newer fields."""


class OutputDocument(TypedDict):
    """An output that pays a request, as JSON values."""

    txid: str
    vout: int
    amount_sats: int
    state: str
    confirmations: int
    block_hash: str | None
    block_height: int | None
    first_seen_at: str
    replaced_by: str | None


class PaymentDocument(TypedDict):
    """A payment request as JSON values. docs/spec.md 4 explains the fields.

    `web.api.schemas.Payment` has the same fields with their descriptions. The daemon does without pydantic,
    which needs memory.
    """

    payment_request_id: str
    seller_id: str
    network: str | None
    amount_fiat: str
    currency: str
    price_btc: str
    price_timestamp: int
    price_source: str
    amount_btc: str
    amount_sats: int
    address: str
    payment_uri: str
    checkout_url: str
    order_id: str | None
    note: str
    label: str | None
    metadata: dict[str, Any]
    link_id: str | None
    redirect_url: str | None
    status: Status
    confirmations: int
    confirmations_required: int
    received_sats: int
    due_sats: int
    overpaid_sats: int
    late: bool
    txid: str | None
    transactions: list[OutputDocument]
    created_at: str
    expires_at: str
    received_at: str | None
    confirmed_at: str | None


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
    metadata: dict[str, Any]
    status: str
    covered_height: int | None
    received_sats: int
    due_sats: int
    overpaid_sats: int
    is_late: bool
    txid: str | None
    received_at: datetime | None
    confirmed_at: datetime | None


class StoredOutput(Protocol):
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
    outputs: Iterable[StoredOutput],
    *,
    tip_height: int,
    network: str | None,
    public_url: str,
    link_reference: str | None = None,
) -> PaymentDocument:
    """Return the request as JSON values, at the tip at which its status was computed.

    `link_reference` is the id of the payment link that made the request, or None.
    `tip_height` is the published height. `network` is None before the daemon has first reached bitcoind.
    A cover that needs a coinbase output requires more confirmations than agreed.
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
        "status": Status(request.status),
        "confirmations": depth(request.covered_height, tip_height),
        "confirmations_required": request.required_depth or request.confirmations_required,
        "received_sats": request.received_sats,
        "due_sats": request.due_sats,
        "overpaid_sats": request.overpaid_sats,
        "late": request.is_late,
        "txid": request.txid,
        "transactions": [_output_document(output, tip_height) for output in outputs],
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


def _output_document(output: StoredOutput, tip_height: int) -> OutputDocument:
    return {
        "txid": output.txid,
        "vout": output.vout,
        "amount_sats": output.amount_sats,
        "state": output.state,
        "confirmations": depth(output.block_height, tip_height),
        "block_hash": output.block_hash,
        "block_height": output.block_height,
        "first_seen_at": timestamp(output.first_seen_at),
        "replaced_by": output.replaced_by,
    }
