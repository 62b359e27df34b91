"""Make and close payment links. The API, the operator's page and manage.py use this module."""

from datetime import datetime
from decimal import Decimal
from http import HTTPStatus

import structlog

from config import Settings
from models.command import OpenTransaction, add_cancellation
from models.link import Link, close_link, lock_links
from models.queries.links import waiting_requests
from payments.money import DUST_LIMIT_SATS, amount_obstacle, fiat_to_sats, to_plain
from web.api.link_forms import LinkForm
from web.api.new_request import new_reference
from web.api.pricing import price_now
from web.http.responses import FieldError, Problem, invalid

log = structlog.get_logger(__name__)


def make_link(
    form: LinkForm,
    seller_id: str,
    settings: Settings,
    now: datetime,
    transaction: OpenTransaction,
    idempotency_key: str | None = None,
    idempotency_digest: str | None = None,
) -> Link:
    """Store a new link. Raise Problem 422 for an amount that nobody can pay now.

    Raise peewee.IntegrityError if the seller has a link with this key.
    """
    _check_amounts(form, settings, now)
    link = Link(
        reference=new_reference("LK"),
        seller=seller_id,
        title=form.title,
        description=form.description or "",
        order_id=form.order_id,
        note=form.note or "",
        amount_fiat=_plain(form.amount_fiat),
        currency=form.currency,
        minimum=_plain(form.minimum),
        maximum=_plain(form.maximum),
        suggested=[to_plain(amount) for amount in form.suggested or ()],
        due_at=form.due_at,
        is_reusable=form.is_reusable,
        confirmations=form.confirmations,
        expires_in=form.expires_in,
        redirect_url=form.redirect_url,
        thanks=form.thanks or "",
        created_at=now,
        idempotency_key=idempotency_key,
        idempotency_digest=idempotency_digest,
    )
    with transaction():
        link.save()
    return link


def end_link(link: Link, now: datetime, transaction: OpenTransaction) -> bool:
    """Close a link, and cancel its requests to which nothing came. Return False if it is already closed."""
    with transaction():
        # If somebody presses "Pay" at the same moment, the press finds the closed link, or this call cancels
        # the new request.
        lock_links()
        is_new = close_link(link, now)
        if is_new:
            for payment in waiting_requests(link):
                add_cancellation(payment, now)
    return is_new


def log_link(event: str, link: Link, by: str) -> None:
    """Log a change of a link. Call this after its transaction is committed."""
    log.info(event, link=link.reference, seller=link.seller_id, by=by)


def _check_amounts(form: LinkForm, settings: Settings, now: datetime) -> None:
    """Raise Problem 422 for amounts that the network does not relay, or a currency without a source.

    Without a fresh price, do not check the amounts, because a link needs no price.
    """
    try:
        price = price_now(form.currency, settings, now).price
    except Problem as problem:
        if problem.status is HTTPStatus.SERVICE_UNAVAILABLE:
            return
        raise
    errors = []
    for name in ("amount_fiat", "minimum", "maximum", "suggested"):
        value = getattr(form, name)
        # The page of the link raises a minimum to the dust limit.
        least_sats = DUST_LIMIT_SATS if name == "minimum" else 0
        for amount in [] if value is None else value if isinstance(value, list) else [value]:
            obstacle = amount_obstacle(max(fiat_to_sats(amount, price), least_sats))
            if obstacle is not None:
                errors.append(FieldError(name, obstacle))
    if errors:
        raise invalid(errors)


def _plain(amount: Decimal | None) -> str | None:
    return None if amount is None else to_plain(amount)
