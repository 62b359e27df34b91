"""The JSON form of a payment link, for the API, for webhooks and for emails."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Protocol, TypedDict

from payments.document import timestamp
from payments.link import LinkBalance, LinkPart, LinkStatus
from payments.money import to_plain
from payments.status import Status


class LinkPaymentDocument(TypedDict):
    """A request of a link to which money came, as JSON values."""

    payment_request_id: str
    status: Status
    amount_fiat: str
    paid_fiat: str
    received_sats: int
    late: bool


class LinkDocument(TypedDict):
    """A link as JSON values. docs/spec.md 10 explains the fields.

    `web.api.link_schemas.PaymentLink` has the same fields with their descriptions.
    """

    link_id: str
    seller_id: str
    network: str | None
    url: str
    title: str
    description: str
    order_id: str | None
    note: str
    amount_fiat: str | None
    currency: str
    minimum: str | None
    maximum: str | None
    suggested: list[str]
    due_at: str | None
    is_reusable: bool
    confirmations: int | None
    expires_in: int | None
    redirect_url: str | None
    thanks: str
    status: LinkStatus
    paid_fiat: str
    remaining_fiat: str | None
    late_sats: int
    payment_count: int
    payments: list[LinkPaymentDocument]
    created_at: str
    closed_at: str | None
    paid_at: str | None


class StoredLink(Protocol):
    """The fields of a stored link that are read. `models.link.Link` has them."""

    reference: str
    seller_id: str
    title: str
    description: str
    order_id: str | None
    note: str
    amount_fiat: str | None
    currency: str
    minimum: str | None
    maximum: str | None
    suggested: Sequence[str]
    due_at: datetime | None
    is_reusable: bool
    confirmations: int | None
    expires_in: int | None
    redirect_url: str | None
    thanks: str
    created_at: datetime
    closed_at: datetime | None
    paid_at: datetime | None


class LinkRequest(Protocol):
    """The fields of a stored request of a link that are read. `models.payment.PaymentRequest` has them."""

    reference: str
    amount_fiat: str
    status: str
    received_sats: int
    is_late: bool

    @property
    def link_part(self) -> LinkPart:
        """The money of the request that counts for its link."""


def link_document(
    link: StoredLink,
    found: LinkBalance,
    requests: Iterable[LinkRequest],
    *,
    status: LinkStatus,
    payment_count: int,
    late_sats: int,
    network: str | None,
    public_url: str,
) -> LinkDocument:
    """Return the link as JSON values. `requests` are the newest ones to which money came, newest first.

    `network` is None before the daemon has first reached bitcoind.
    """
    return {
        "link_id": link.reference,
        "seller_id": link.seller_id,
        "network": network,
        "url": link_url(link.reference, public_url),
        "title": link.title,
        "description": link.description,
        "order_id": link.order_id,
        "note": link.note,
        "amount_fiat": link.amount_fiat,
        "currency": link.currency,
        "minimum": link.minimum,
        "maximum": link.maximum,
        "suggested": list(link.suggested),
        "due_at": timestamp(link.due_at),
        "is_reusable": bool(link.is_reusable),
        "confirmations": link.confirmations,
        "expires_in": link.expires_in,
        "redirect_url": link.redirect_url,
        "thanks": link.thanks,
        "status": status,
        "paid_fiat": to_plain(found.paid),
        "remaining_fiat": _plain(found.remaining),
        "late_sats": late_sats,
        "payment_count": payment_count,
        "payments": [_payment_document(request) for request in requests],
        "created_at": timestamp(link.created_at),
        "closed_at": timestamp(link.closed_at),
        "paid_at": timestamp(link.paid_at),
    }


def link_url(reference: str, public_url: str) -> str:
    """Return the address of a link's page."""
    return f"{public_url}/l/{reference}"


def _payment_document(request: LinkRequest) -> LinkPaymentDocument:
    return {
        "payment_request_id": request.reference,
        "status": Status(request.status),
        "amount_fiat": request.amount_fiat,
        "paid_fiat": to_plain(request.link_part.worth),
        "received_sats": request.received_sats,
        "late": bool(request.is_late),
    }


def _plain(amount: Decimal | None) -> str | None:
    return None if amount is None else to_plain(amount)
