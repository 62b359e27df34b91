"""Make a payment request: its terms, address and log line. Every way to ask for money uses this module."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol, TypedDict

import structlog

from config import Settings
from models.address import has_free_address
from models.identifiers import random_text
from models.payment import PaymentRequest, insert_with_address
from payments.money import amount_obstacle, fiat_to_sats, to_plain, tolerance_sats
from payments.price import Price
from web.api.pricing import price_now
from web.http.responses import FieldError, Problem, invalid, unavailable

log = structlog.get_logger(__name__)

_REFERENCE_PAIRS = 11  # 131 random bits


class Order(Protocol):
    """The fields of an order that become the terms of a request. None means the operator's setting."""

    @property
    def amount_fiat(self) -> Decimal: ...
    @property
    def currency(self) -> str: ...
    @property
    def confirmations(self) -> int | None: ...
    @property
    def expires_in(self) -> float | None: ...
    @property
    def order_id(self) -> str | None: ...
    @property
    def note(self) -> str | None: ...
    @property
    def label(self) -> str | None: ...
    @property
    def redirect_url(self) -> str | None: ...
    @property
    def metadata(self) -> Mapping[str, Any] | None: ...


class RequestTerms(TypedDict):
    """The terms of a new request, as columns of `models.payment.PaymentRequest`."""

    seller: str
    amount_fiat: str
    currency: str
    price: str
    price_at: datetime
    price_source: str
    amount_sats: int
    due_sats: int
    tolerance_sats: int
    confirmations_required: int
    created_at: datetime
    expires_at: datetime
    monitored_until: datetime
    late_accepted_until: datetime | None
    reassess_at: datetime
    order_id: str | None
    note: str
    label: str | None
    redirect_url: str | None
    metadata: Mapping[str, Any]


def build_terms(
    order: Order,
    seller_id: str,
    settings: Settings,
    now: datetime,
    *,
    monitoring_seconds: float | None = None,
    tolerance_percent: Decimal | None = None,
) -> RequestTerms:
    """Return the terms of a new request. None means the operator's setting. Raise Problem 422 or 503."""
    price = price_now(order.currency, settings, now)
    amount_sats = _amount_sats(order.amount_fiat, price)
    if not has_free_address(seller_id):
        raise _no_address()
    lifetime = settings.payment_expiry if order.expires_in is None else order.expires_in
    expires_at = now + timedelta(seconds=lifetime)
    monitoring = settings.monitoring_period if monitoring_seconds is None else monitoring_seconds
    monitored_until = expires_at + timedelta(seconds=monitoring)
    tolerance = settings.underpayment_tolerance if tolerance_percent is None else tolerance_percent
    return {
        "seller": seller_id,
        "amount_fiat": to_plain(order.amount_fiat),
        "currency": order.currency,
        "price": to_plain(price.price),
        "price_at": price.fetched_at,
        "price_source": ", ".join(price.sources),
        "amount_sats": amount_sats,
        "due_sats": amount_sats,
        "tolerance_sats": tolerance_sats(amount_sats, tolerance),
        "confirmations_required": settings.confirmations_for(order.confirmations),
        "created_at": now,
        "expires_at": expires_at,
        "monitored_until": monitored_until,
        "late_accepted_until": monitored_until if settings.late_payments == "accept" else None,
        "reassess_at": expires_at,
        "order_id": order.order_id,
        "note": order.note or "",
        "label": order.label,
        "redirect_url": order.redirect_url,
        "metadata": order.metadata or {},
    }


def store_request(
    terms: RequestTerms,
    *,
    link_id: int | None = None,
    link_amount_fiat: str | None = None,
    idempotency_key: str | None = None,
    idempotency_digest: str | None = None,
    checkout: Mapping[str, Any] | None = None,
    reassess_at_height: int | None = None,
) -> PaymentRequest:
    """Store the request with an address of its own. Raise Problem 503 if the pool is empty."""
    payment = PaymentRequest(
        **terms,
        reference=new_reference("PR"),
        link=link_id,
        link_amount_fiat=link_amount_fiat,
        idempotency_key=idempotency_key,
        idempotency_digest=idempotency_digest,
        checkout=checkout,
        reassess_at_height=reassess_at_height,
    )
    if not insert_with_address(payment):
        raise _no_address()
    return payment


def log_request(payment: PaymentRequest) -> None:
    """Log a new request. Call this after its transaction is committed."""
    order = {} if payment.order_id is None else {"order_id": payment.order_id}
    log.info(
        "payment requested",
        payment=payment.reference,
        seller=payment.seller_id,
        **order,
        amount=f"{payment.amount_fiat} {payment.currency}",
        amount_sats=payment.amount_sats,
        address=payment.address.address,
    )


def _amount_sats(amount_fiat: Decimal, price: Price) -> int:
    amount_sats = fiat_to_sats(amount_fiat, price.price)
    obstacle = amount_obstacle(amount_sats)
    if obstacle is not None:
        raise invalid([FieldError("amount_fiat", obstacle)])
    return amount_sats


def _no_address() -> Problem:
    detail = "there is no free address at the moment; nothing was used up, try again"
    return unavailable("no-address", detail)


def new_reference(prefix: str) -> str:
    """Return a new public id, such as PR-4NFvpU8duEamwKnDykOqhi for the prefix PR."""
    return f"{prefix}-{random_text(_REFERENCE_PAIRS)}"
