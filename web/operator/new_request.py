"""Ask for money by hand: the form "New request", and the request that it makes."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

import peewee

from models.payment import PaymentRequest, newest_currency, payment_by_idempotency_key
from models.seller import present_sellers
from payments.money import BITCOIN_UNITS, AmountError
from payments.status import Status
from payments.typed_amount import with_point
from web.api.forms import PaymentForm, read_form
from web.api.idempotency import body_digest
from web.api.new_request import build_terms, log_request, store_request
from web.api.pricing import prices_now
from web.api.request_limit import check_request_limits
from web.html.templates import template
from web.http.request import Request
from web.http.responses import FieldError, Problem, Response, invalid
from web.operator.layout import operator_page, see_other

_PAGE = template("operator_new.tpl")
_TEXTS = ("amount_fiat", "currency", "order_id", "note", "label")
_NUMBERS = ("confirmations", "expires_in")
_TOKEN = re.compile("[0-9a-f]{32}")
_MAX_DIGITS = 9


@dataclass(frozen=True, slots=True)
class Choices:
    """The choices of a form that asks for money: the sellers by id, and the currencies that have a price."""

    sellers: list[str]
    currencies: list[str]


@dataclass(frozen=True, slots=True)
class Refusal:
    """The errors of a form. `by_field` has the error of each field, and `text` has the other errors."""

    status: int
    by_field: Mapping[str, str]
    text: str

    @classmethod
    def of(cls, problem: Problem) -> "Refusal":
        errors = {error.field: error.message for error in problem.errors}
        return cls(problem.status, errors, "" if errors else problem.detail)


def show(request: Request) -> Response:
    """GET /operator/new: the form. `seller` and `currency` of the query are selected."""
    return _form(request, preselected(request))


def create(request: Request) -> Response:
    """POST /operator/new: make the request and redirect to its page, or return the form with the errors."""
    values = request.session.form
    try:
        payment = request_by_hand(request, values)
    except Problem as problem:
        return _form(request, values, Refusal.of(problem))
    return see_other(f"operator/payments/{payment.reference}", request)


def request_by_hand(request: Request, values: Mapping[str, str]) -> PaymentRequest:
    """Make the request of a form. A form that is sent twice makes one request.

    Raise Problem 422 with the errors of the fields, or 429 or 503 as the API does.
    """
    seller_id = values.get("seller_id", "")
    if seller_id not in choices(request).sellers:
        raise invalid([FieldError("seller_id", "must be one of your sellers")])
    body = _body(values)
    form = read_form(PaymentForm, body)
    key = form_key(values, body, seller_id)
    known = key and payment_by_idempotency_key(seller_id, key)
    if known and known.status == Status.NEW:
        return known
    if known:
        # Somebody went back to a form whose sale is over. This is the next sale.
        key = None
    check_request_limits(request.settings, request.now, seller_id)
    terms = build_terms(form, seller_id, request.settings, request.now)
    try:
        with request.writers.transaction():
            payment = store_request(terms, idempotency_key=key)
    except peewee.IntegrityError:
        # Two calls had the same form at the same time, and the database accepted only one of them.
        known = key and payment_by_idempotency_key(seller_id, key)
        if not known:
            raise
        return known
    log_request(payment)
    return payment


def form_key(values: Mapping[str, str], body: Mapping[str, object], seller_id: str) -> str | None:
    """Return the idempotency key of a form, or None for a form without its token.

    The key has a hash of the values, because a person can go back, correct a value, and send the form again.
    """
    token = values.get("token", "")
    return f"form-{token}-{body_digest(body, seller_id)}" if _TOKEN.fullmatch(token) else None


def preselected(request: Request) -> dict[str, str]:
    """Return the seller and the currency in the query of the form's address."""
    given = request.page_parameters()
    return {"seller_id": given.get("seller", ""), "currency": given.get("currency", "")}


def choices(request: Request) -> Choices:
    """Return the sellers that are not removed, and the currencies in which a request can be made now."""
    priced = [price.currency for price in prices_now(request.settings, request.now)]
    return Choices([seller.id for seller in present_sellers()], [*priced, *BITCOIN_UNITS])


def likely_currency(wanted: str, offered: Choices) -> str:
    """Return the first with a price: the wanted currency, the newest request's, the first offered."""
    likely = (wanted, newest_currency(), offered.currencies[0])
    return next(each for each in likely if each in offered.currencies)


def new_token() -> str:
    """Return the token of a new form. Two forms with the same token and values have one effect."""
    return secrets.token_hex(16)


def _form(request: Request, values: Mapping[str, str], refusal: Refusal | None = None) -> Response:
    offered = choices(request)
    currency = values.get("currency", "")
    return operator_page(
        _PAGE,
        request,
        status=refusal.status if refusal else HTTPStatus.OK,
        values={**values, "currency": currency if refusal else likely_currency(currency, offered)},
        errors=refusal.by_field if refusal else {},
        fault=refusal.text if refusal else "",
        offered=offered,
        token=values.get("token") or new_token(),
        settings=request.settings,
    )


def _body(values: Mapping[str, str]) -> dict[str, object]:
    """Return the filled fields as a body of the API."""
    filled = {name: text for name in (*_TEXTS, *_NUMBERS) if (text := values.get(name, "").strip())}
    if "amount_fiat" in filled:
        filled["amount_fiat"] = typed_amount("amount_fiat", filled["amount_fiat"])
    if "currency" in filled:
        filled["currency"] = filled["currency"].upper()
    # The check of the API then reports an empty field as missing.
    body: dict[str, object] = {"currency": "", "amount_fiat": "", **filled}
    return body | {name: number_or_text(filled[name]) for name in _NUMBERS if name in filled}


def typed_amount(field: str, text: str) -> str:
    """Return the amount that a person typed into the field, for a body of the API. Raise Problem 422."""
    try:
        return with_point(text)
    except AmountError as error:
        raise invalid([FieldError(field, str(error))]) from None


def number_or_text(text: str) -> int | str:
    """Return the text as a whole number, or the text itself if it is no number."""
    is_number = text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS
    return int(text) if is_number else text
