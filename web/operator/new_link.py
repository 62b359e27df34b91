"""The form "New link" on the operator's page."""

import re
from collections.abc import Mapping
from http import HTTPStatus

import peewee

from models.link import Link, link_by_idempotency_key
from web.api.forms import read_form
from web.api.link_forms import MAX_SUGGESTED, LinkForm
from web.api.new_link import log_link, make_link
from web.html.templates import template
from web.http.request import Request
from web.http.responses import FieldError, Problem, Response, invalid
from web.operator.layout import operator_page, see_other
from web.operator.new_request import (
    Refusal,
    choices,
    form_key,
    likely_currency,
    new_token,
    number_or_text,
    preselected,
    typed_amount,
)

_PAGE = template("operator_new_link.tpl")
_TEXTS = ("title", "description", "order_id", "note", "currency", "thanks", "redirect_url")
_AMOUNTS = ("amount_fiat", "minimum", "maximum")
_NUMBERS = ("confirmations", "expires_in")
_DAY = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
_BETWEEN_AMOUNTS = re.compile(r"\s*;\s*|,?\s+")


def show(request: Request) -> Response:
    """GET /operator/links/new: the form. `seller` and `currency` of the query are selected."""
    return _form(request, preselected(request))


def create(request: Request) -> Response:
    """POST /operator/links/new: make the link and redirect to its page, or return the form with errors."""
    values = request.session.form
    try:
        link = _link_by_hand(request, values)
    except Problem as problem:
        return _form(request, values, Refusal.of(problem))
    return see_other(f"operator/links/{link.reference}", request)


def _link_by_hand(request: Request, values: Mapping[str, str]) -> Link:
    """Make the link of a form. A form that is sent twice makes one link.

    Raise Problem 422 with the errors of the fields.
    """
    seller_id = values.get("seller_id", "")
    if seller_id not in choices(request).sellers:
        raise invalid([FieldError("seller_id", "must be one of your sellers")])
    body = _body(values)
    form = read_form(LinkForm, body)
    key = form_key(values, body, seller_id)
    try:
        link = make_link(
            form,
            seller_id,
            request.settings,
            request.now,
            request.writers.transaction,
            idempotency_key=key,
        )
    except peewee.IntegrityError:
        known = key and link_by_idempotency_key(seller_id, key)
        if not known:
            raise
        return known
    log_link("link created", link, by="operator")
    return link


def _body(values: Mapping[str, str]) -> dict[str, object]:
    """Return the filled fields as a body of the API."""
    filled = {name: text for name, value in values.items() if (text := value.strip())}
    # The check of the API then reports an empty field as missing.
    body: dict[str, object] = {"title": "", "currency": ""}
    body |= {name: filled[name] for name in _TEXTS if name in filled}
    body |= {name: typed_amount(name, filled[name]) for name in _AMOUNTS if name in filled}
    body |= {name: number_or_text(filled[name]) for name in _NUMBERS if name in filled}
    body["is_reusable"] = filled.get("kind") == "reusable"
    if "suggested" in filled:
        typed = _BETWEEN_AMOUNTS.split(filled["suggested"])
        body["suggested"] = [typed_amount("suggested", each) for each in typed if each]
    if "due_at" in filled:
        day = filled["due_at"]
        body["due_at"] = f"{day}T23:59:59Z" if _DAY.fullmatch(day) else day
    return body


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
        most_suggested=MAX_SUGGESTED,
    )
