"""The till: a keypad for a counter, and the page that the customer pays from."""

from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urlencode

from models.queries.checkout import checkout_of
from payments.money import currency_exponent
from payments.status import Status
from web.checkout.status import PublicFacts
from web.html.languages import languages
from web.html.templates import template
from web.http.request import Request
from web.http.responses import Content, Problem, not_found
from web.operator.layout import operator_page, see_other
from web.operator.new_request import (
    Refusal,
    choices,
    likely_currency,
    new_token,
    preselected,
    request_by_hand,
)

_KEYPAD = template("till.tpl")
_SALE = template("till_sale.tpl")


def show(call: Request) -> Content:
    """GET /operator/till: the keypad. `seller` and `currency` of the query are selected."""
    return _keypad(call, preselected(call))


def pay(call: Request) -> Content:
    """POST /operator/till: make a request and redirect to its sale page, or return the keypad with errors."""
    values = call.visitor.form
    try:
        payment = request_by_hand(call, values)
    except Problem as problem:
        return _keypad(call, values, Refusal.of(problem))
    return see_other(f"operator/till/{payment.reference}", call)


def sale(call: Request, reference: str) -> Content:
    """GET /operator/till/{id}: the QR code over the whole screen, and a tick once the amount is received."""
    payment = checkout_of(reference)
    if payment is None:
        raise not_found()
    facts = PublicFacts.read(payment, call.now)
    return operator_page(
        _SALE,
        call,
        facts=facts,
        scene=_scene(facts),
        amount=languages()["en"].amount(facts.amount_fiat, facts.currency),
        next_sale="operator/till?" + urlencode({"seller": payment.seller_id, "currency": facts.currency}),
    )


def _keypad(call: Request, values: Mapping[str, str], refusal: Refusal | None = None) -> Content:
    offered = choices(call)
    currency = values.get("currency", "")
    decimals = {code: currency_exponent(code) for code in offered.currencies}
    return operator_page(
        _KEYPAD,
        call,
        status=refusal.status if refusal else HTTPStatus.OK,
        values={**values, "currency": likely_currency(currency, offered)},
        errors=[*refusal.by_field.values(), refusal.text] if refusal else [],
        offered=offered,
        decimals=decimals,
        token=new_token(),
    )


def _scene(facts: PublicFacts) -> str:
    """Return "paid", "over", "part" or "waiting"."""
    if facts.status.is_covered:
        return "paid"
    if not facts.payable_sats:
        return "over"
    return "part" if facts.status is Status.UNDERPAID else "waiting"
