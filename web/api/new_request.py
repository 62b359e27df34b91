"""Make a payment request: its terms, address and log line. Every way to ask for money uses this module."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

import structlog

from config import Settings
from models.address import has_free_address
from models.db.connection import new_row
from models.identifiers import random_text
from models.payment import PaymentRequest, insert_with_address
from payments.money import DUST_LIMIT_SATS, MAX_MONEY_SATS, fiat_to_sats, format_btc, to_plain, tolerance_sats
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


def agreed_terms(form: Order, seller_id: str, settings: Settings, now: datetime) -> dict[str, Any]:
    """Return the terms of a new request, by column. Raise Problem 422 or 503."""
    price = price_now(form.currency, settings, now)
    amount_sats = _amount_sats(form.amount_fiat, price)
    if not has_free_address(seller_id):
        raise _no_address()
    lifetime = settings.payment_expiry if form.expires_in is None else form.expires_in
    expires_at = now + timedelta(seconds=lifetime)
    monitored_until = expires_at + timedelta(seconds=settings.monitoring_period)
    return {
        "seller": seller_id,
        "amount_fiat": to_plain(form.amount_fiat),
        "currency": form.currency,
        "price": to_plain(price.price),
        "price_at": price.fetched_at,
        "price_source": ", ".join(price.sources),
        "amount_sats": amount_sats,
        "due_sats": amount_sats,
        "tolerance_sats": tolerance_sats(amount_sats, settings.underpayment_tolerance),
        "confirmations_required": settings.confirmations_for(form.confirmations),
        "created_at": now,
        "expires_at": expires_at,
        "monitored_until": monitored_until,
        "late_accepted_until": monitored_until if settings.late_payments == "accept" else None,
        "reassess_at": expires_at,
        "order_id": form.order_id,
        "note": form.note or "",
        "label": form.label,
        "redirect_url": form.redirect_url,
        "metadata": form.metadata or {},
    }


def store_request(terms: Mapping[str, Any]) -> PaymentRequest:
    """Store the request with an address of its own. Raise Problem 503 if the pool is empty."""
    payment = new_row(PaymentRequest, reference=new_reference("PR"), **terms)
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
    if amount_sats < DUST_LIMIT_SATS:
        message = f"is {amount_sats} sats now; the network relays no payment below {DUST_LIMIT_SATS} sats"
        raise invalid([FieldError("amount_fiat", message)])
    if amount_sats > MAX_MONEY_SATS:
        message = f"is {format_btc(amount_sats)} BTC now; there will never be more than 21 million"
        raise invalid([FieldError("amount_fiat", message)])
    return amount_sats


def _no_address() -> Problem:
    detail = "there is no free address at the moment; nothing was used up, try again"
    return unavailable("no-address", detail)


def new_reference(prefix: str) -> str:
    """Return a new public id, such as PR-4NFvpU8duEamwKnDykOqhi for the prefix PR."""
    return f"{prefix}-{random_text(_REFERENCE_PAIRS)}"
