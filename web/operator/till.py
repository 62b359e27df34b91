"""The till: a keypad for a counter, and the page that the customer pays from."""

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from urllib.parse import urlencode

from models.db.connection import snapshot
from models.output import outputs_at
from models.queries.pricing import late_money_of
from payments.money import currency_exponent
from web.checkout.page import UNFOLD, facts_or_404
from web.checkout.view import View
from web.html.languages import languages
from web.html.templates import template
from web.http.etag import tag_of
from web.http.request import Request
from web.http.responses import Problem, Response
from web.operator.decisions import payment_or_404
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

_DROPPED = "The network has dropped the customer's transaction"
_NO_SECOND = "Do not take a second payment before the customer's wallet shows the first as cancelled."
_NOT_ALL = ("The time is up, and a part is missing", "{received} has come.")

WORDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "new": ("Waiting for the payment", ""),
        "underpaid": ("{due} is still missing", ""),
        "ending": ("The time is up", "Wait. Nodetill checks for a payment that came in time."),
        "received": ("Received", "Not final: a double-spend can still take it back."),
        "confirming": (
            "Received",
            "{confirmations} of {required} confirmations. Nodetill reports the confirmation by email.",
        ),
        "confirmed": ("Received", "The payment is confirmed."),
        "expired": (
            "The time is up, and no money has come",
            "Has the customer sent it already? Then wait, and do not ask again. Otherwise press Next.",
        ),
        "expired_partly": _NOT_ALL,
        "expired_part": _NOT_ALL,
        "late": ("All has come, but late", "{received} has come."),
        "replaced": (
            "Taken back",
            "A double-spend has taken the payment back. The customer has to pay again.",
        ),
        "expired_replaced": (
            "Taken back",
            "A double-spend has taken the payment back, and the time is up. Press Next and start again.",
        ),
        "dropped": (_DROPPED, _NO_SECOND),
        "underpaid_dropped": (_DROPPED, f"{{received}} has come, {{due}} is missing. {_NO_SECOND}"),
        "expired_dropped": (_DROPPED, f"The time is up, but the transaction may return. {_NO_SECOND}"),
        "marked_settled": ("Marked as paid", "The shop has marked this payment as paid, whatever came."),
        "marked_invalid": ("Marked as invalid", "The shop has marked this payment as invalid."),
    }
)
"""The heading and the sentence of each scene of the checkout page, for the person at the till."""


def show(request: Request) -> Response:
    """GET /operator/till: the keypad. `seller` and `currency` of the query are selected."""
    return _keypad(request, preselected(request))


def pay(request: Request) -> Response:
    """POST /operator/till: make a request and redirect to its sale page, or return the keypad with errors."""
    values = request.session.form
    try:
        payment = request_by_hand(request, values)
    except Problem as problem:
        return _keypad(request, values, Refusal.of(problem))
    return see_other(f"operator/till/{payment.reference}", request)


def sale(request: Request, reference: str) -> Response:
    """GET /operator/till/{id}: the QR code over the whole screen, and a tick once the amount is received.

    The page follows the payment until it is final, because a double-spend can take back a received payment.
    """
    facts = facts_or_404(request, reference)
    view = View(facts, languages()["en"], request.now, request.settings.explorer_url)
    is_only_received = view.scene == "confirmed" and not facts.is_final
    heading, sentence = WORDS["received" if is_only_received else view.scene]
    return operator_page(
        _SALE,
        request,
        facts=facts,
        is_final=facts.is_final,
        view=view,
        tag=tag_of(facts.document),
        now=request.now.isoformat(timespec="milliseconds"),
        heading=view.filled(heading),
        sentence=view.filled(sentence),
        worth=_worth_today(request, reference) if view.scene == "late" else None,
        is_unfolded=UNFOLD in request.page_parameters(),
        amount=view.language.amount(facts.amount_fiat, facts.currency),
        next_sale="operator/till?" + urlencode({"seller": facts.seller_id, "currency": facts.currency}),
    )


def _keypad(request: Request, values: Mapping[str, str], refusal: Refusal | None = None) -> Response:
    offered = choices(request)
    currency = values.get("currency", "")
    decimals = {code: currency_exponent(code) for code in offered.currencies}
    return operator_page(
        _KEYPAD,
        request,
        status=refusal.status if refusal else HTTPStatus.OK,
        values={**values, "currency": likely_currency(currency, offered)},
        errors=[*refusal.by_field.values(), refusal.text] if refusal else [],
        offered=offered,
        decimals=decimals,
        token=new_token(),
    )


def _worth_today(request: Request, reference: str) -> str | None:
    """Return the sentences on late money: how late it came, and its worth now."""
    settings = request.settings
    with snapshot():
        payment = payment_or_404(reference)
        outputs = outputs_at(payment.address_id)
        late = late_money_of(payment, outputs, request.now, settings.rate_max_age, settings.rate_spread)
        return late.sentences() if late else None
