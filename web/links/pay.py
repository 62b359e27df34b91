"""A press of "Pay" on the page of a link: find the payment request to show, or make one."""

from datetime import datetime
from decimal import Decimal
from http import HTTPStatus
from urllib.parse import urlencode

import structlog

from config import Settings
from models.db.connection import get_row
from models.link import Link, lock_links
from models.payment import PaymentRequest
from models.queries.links import (
    late_sats_of,
    link_facts,
    newest_requests,
    requests_with_money,
)
from payments.link import LinkBalance, amount_to_request
from payments.link_document import link_url
from payments.money import to_plain
from payments.status import Status
from web.api.forms import PaymentForm
from web.api.new_request import build_terms, log_request, store_request
from web.api.pricing import price_now
from web.html.languages import language_for
from web.http.asgi import RAW_PATH
from web.http.request import Request
from web.http.responses import HTML, Response
from web.http.wsgi import relative_root
from web.links.choice import WrongAmount, read_choice
from web.links.limits import check_link_limits
from web.links.page import link_page, public_link

log = structlog.get_logger(__name__)

_UNDERWAY = (Status.NEW, Status.UNDERPAID)


def pay(request: Request, reference: str) -> Response:
    """POST /l/{id}/pay: 303 to the checkout page of a request. Raise Problem 429 or 503.

    The form needs no secret. The page is public, so a form of another site can do no more than a visitor.
    """
    # This page sends its language in the query. A form of another site may send it as a field.
    form = {**request.page_parameters(), **request.form()}
    public = public_link(reference)
    link = public.link
    payment = request_to_show(link)
    if payment is None:
        if public.is_closed:
            return _see_other(request, f"l/{reference}", form)
        check_link_limits(link, request.settings, request.now)
        language = language_for(request.header("Accept-Language"), form.get("lang"))
        try:
            chosen = read_choice(link, form, language, request.settings, request.now)
        except WrongAmount as error:
            return link_page(request, public, language, error=error)
        payment = _make_or_find(request, link, chosen)
    if payment is None:
        return _see_other(request, f"l/{reference}", form)
    return _see_other(request, f"pay/{payment.reference}", form)


def back(request: Request, reference: str) -> Response:
    """GET /l/{id}/pay: 303 to the page of the link. Only a press of "Pay" makes a request."""
    public_link(reference)
    return _see_other(request, f"l/{reference}", request.page_parameters())


def request_to_show(link: Link) -> PaymentRequest | None:
    """Return the request of a single-use link that "Pay" shows instead of a new request, or None.

    This is the request that has covered the link, or has late money under review, or may still be paid.
    """
    if link.is_reusable:
        return None
    rows = requests_with_money(link)
    counted = [row for row in rows if row.counted_sats]
    if counted and (link.paid_at is not None or link_facts(link).balance.is_covered):
        return counted[-1]
    late = [row for row in rows if late_sats_of(row)]
    if late:
        return late[-1]
    return next((row for row in newest_requests(link, 1) if Status(row.status) in _UNDERWAY), None)


def _make_or_find(request: Request, link: Link, chosen: Decimal | None) -> PaymentRequest | None:
    """Make a request, or return the request that another call has just made.

    Return None if the link was closed meanwhile, or if the money that decided its amount is gone.
    """
    with request.writers.transaction():
        lock_links()
        link = get_row(Link, link.id)
        payment = request_to_show(link)
        if payment is not None or link.closed_at is not None:
            return payment
        check_link_limits(link, request.settings, request.now)
        found = link_facts(link).balance
        form = _form_of(link, found, chosen, request.settings, request.now)
        if form is None:
            return None
        terms = build_terms(form, link.seller_id, request.settings, request.now)
        chosen_before = found.amount if link.amount is None else None
        link_amount_fiat = None if chosen_before is None else to_plain(chosen_before)
        payment = store_request(terms, link_id=link.id, link_amount_fiat=link_amount_fiat)
    log_request(payment)
    log.info("link pressed", link=link.reference, payment=payment.reference)
    return payment


def _form_of(
    link: Link, found: LinkBalance, chosen: Decimal | None, settings: Settings, now: datetime
) -> PaymentForm | None:
    """Return the form of the link's next request, for the remaining amount. Raise Problem 503.

    Return None if nobody has chosen the amount.
    """
    amount = found.remaining if found.remaining is not None else link.amount or chosen
    if amount is None:
        return None
    price = price_now(link.currency, settings, now).price
    return PaymentForm(
        currency=link.currency,
        amount_fiat=amount_to_request(amount, link.currency, price),
        note=link.note,
        order_id=link.order_id,
        label=link.title,
        confirmations=link.confirmations,
        expires_in=link.expires_in,
        redirect_url=link.redirect_url or link_url(link.reference, settings.public_url),
    )


def _see_other(request: Request, path: str, given: dict[str, str]) -> Response:
    """Redirect to another public page, in the language that the payer has chosen."""
    query = f"?{urlencode({'lang': given['lang']})}" if given.get("lang") else ""
    location = f"{relative_root(request.environ[RAW_PATH])}{path}{query}"
    return Response(HTTPStatus.SEE_OTHER, b"", HTML, {"Location": location})
