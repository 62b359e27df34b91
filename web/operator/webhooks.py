"""A seller's webhook endpoints on the operator's page: list, add, test, enable, disable, remove."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

import peewee
import structlog

from config import Settings
from config.addresses import http_url, without_credentials
from config.proxy import check_reachable
from config.types import InvalidValue
from models.command import is_webhook_test_pending, request_webhook_test
from models.delivery import Delivery, deliveries_of
from models.seller import Seller
from models.webhook import (
    BTCPAY,
    KINDS,
    MAX_SECRET_CHARACTERS,
    MAX_WEBHOOKS,
    REFERENCE,
    STANDARD,
    Webhook,
    add_webhook,
    check_secret,
    endpoints_of,
    events_of_kind,
    is_endpoint_too_many,
    new_webhook_reference,
    remove_webhook,
    update_webhook,
    webhook_by_reference,
)
from web.html.templates import template
from web.http.request import Request
from web.http.responses import FieldError, Problem, Response, invalid, not_found
from web.operator.decisions import Notice
from web.operator.layout import operator_page, see_other
from web.operator.sellers import seller_that_sells

log = structlog.get_logger(__name__)

_NEW_WEBHOOK = template("operator_webhook_made.tpl")
_DELIVERIES_SHOWN = 5
_OPERATOR = "operator"

KIND_WORDS: Mapping[str, str] = MappingProxyType(
    {
        BTCPAY: "For a shop's plug-in for BTCPay Server",
        STANDARD: "Standard Webhooks, for your own program",
    }
)
"""The choices of the form, with their labels."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint for the template. `is_testing` means that the daemon has not yet sent a requested test."""

    webhook: Webhook
    url: str
    deliveries: list[Delivery]
    is_testing: bool


def section_of(seller: Seller) -> dict[str, Any]:
    """Return the values for the template operator_webhooks.tpl."""
    return {
        "endpoints": [
            Endpoint(
                webhook,
                without_credentials(webhook.url or ""),
                deliveries_of(webhook, _DELIVERIES_SHOWN),
                is_webhook_test_pending(webhook),
            )
            for webhook in endpoints_of(seller.id)
        ],
        "webhook_kinds": KIND_WORDS,
        "new_webhook_id": new_webhook_reference(),
        "btcpay_kind": BTCPAY,
    }


def notice_of(request: Request, seller: Seller) -> Notice | None:
    """Return the line about the endpoint that was just changed, or None."""
    given = request.page_parameters()
    reference = given.get("webhook", "")
    webhook = webhook_by_reference(reference)
    if webhook is not None and webhook.seller_id != seller.id:
        return None
    is_enabled = None if webhook is None else webhook.is_enabled
    match given.get("now"), is_enabled:
        case "tested", bool():
            return Notice(f"The daemon sends a test to {reference}. The list shows the answer.")
        case "enabled", True:
            return Notice(f"The endpoint {reference} is enabled. It gets the next events.")
        case "disabled", False:
            return Notice(f"The endpoint {reference} is disabled. It gets no events.")
        case "removed", None:
            return Notice("The endpoint is removed. It gets no more events.")
    return None


def create(request: Request, seller_id: str) -> Response:
    """POST /operator/sellers/{id}/webhooks: store a new endpoint. The response shows its secret."""
    seller = seller_that_sells(seller_id)
    form = request.session.form
    kind, url, event_types, secret = _read(form, request.settings)
    # The form has the id of the new endpoint, so a form that is sent twice makes one endpoint.
    reference = form.get("webhook_id", "")
    if not REFERENCE.fullmatch(reference):
        raise invalid([FieldError("webhook_id", "is no id of an endpoint; load the page again")])
    try:
        with request.writers.transaction():
            if is_endpoint_too_many(seller.id):
                raise invalid(
                    [FieldError("url", f"is one too many; a seller has at most {MAX_WEBHOOKS} endpoints")]
                )
            webhook, signing = add_webhook(
                seller.id,
                kind,
                url,
                request.now,
                secret=secret,
                event_types=event_types,
                reference=reference,
            )
    except peewee.IntegrityError as error:
        raise _sent_twice(reference) from error
    log.info("webhook added", webhook=reference, seller=seller_id, kind=kind, by=_OPERATOR)
    return operator_page(
        _NEW_WEBHOOK,
        request,
        seller=seller,
        webhook=webhook,
        secret=signing,
        is_shown_again=kind == BTCPAY,
    )


def test(request: Request, seller_id: str, webhook_id: str) -> Response:
    """POST /operator/sellers/{id}/webhooks/{webhook_id}/test: request that the daemon sends a test."""
    webhook = _webhook_of(seller_id, webhook_id)
    if request_webhook_test(webhook, request.now, request.writers.transaction):
        log.info("webhook test asked for", webhook=webhook_id, seller=seller_id, by=_OPERATOR)
    return _back(request, webhook_id, seller_id, "tested")


def switch(request: Request, seller_id: str, webhook_id: str) -> Response:
    """POST /operator/sellers/{id}/webhooks/{webhook_id}/switch: enable or disable it, as the form states."""
    webhook = _webhook_of(seller_id, webhook_id)
    is_enabled = request.session.form.get("to_state") == "enabled"
    if webhook.is_enabled != is_enabled:
        with request.writers.transaction():
            update_webhook(webhook, is_enabled=is_enabled)
        facts = {"webhook": webhook_id, "seller": seller_id, "enabled": is_enabled}
        log.info("webhook changed", **facts, by=_OPERATOR)
    return _back(request, webhook_id, seller_id, "enabled" if is_enabled else "disabled")


def remove(request: Request, seller_id: str, webhook_id: str) -> Response:
    """POST /operator/sellers/{id}/webhooks/{webhook_id}/remove. Removing a removed endpoint is no fault."""
    webhook = webhook_by_reference(webhook_id)
    if webhook is not None and webhook.seller_id == seller_id:
        with request.writers.transaction():
            is_removed = remove_webhook(webhook, request.now)
        if is_removed:
            log.info("webhook removed", webhook=webhook_id, seller=seller_id, by=_OPERATOR)
    return _back(request, webhook_id, seller_id, "removed")


def _read(form: Mapping[str, str], settings: Settings) -> tuple[str, str, list[str] | None, str | None]:
    """Return kind, address, types of events and secret of the form. Raise Problem 422."""
    kind, url, secret = form.get("kind", ""), form.get("url", "").strip(), form.get("secret", "").strip()
    errors = []
    if kind not in KINDS:
        errors.append(FieldError("kind", f"must be one of {', '.join(KINDS)}"))
    try:
        check_reachable(http_url().read(url), settings.proxy)
    except InvalidValue as wrong:
        errors.append(FieldError("url", f"{wrong}; allowed: {http_url().allowed}"))
    fault = check_secret(kind, secret) if secret and kind in KINDS else None
    if fault is not None or len(secret) > MAX_SECRET_CHARACTERS:
        message = fault or f"has more than {MAX_SECRET_CHARACTERS} characters"
        errors.append(FieldError("secret", message))
    events = form.get("events", "").replace(",", " ").split()
    known = events_of_kind(kind)
    unknown = [event for event in events if event not in known]
    if unknown:
        message = f"has {unknown[0][:80]!a}, which is no event of this kind; events: {', '.join(known)}"
        errors.append(FieldError("events", message))
    if errors:
        raise invalid(errors)
    return kind, url, list(dict.fromkeys(events)) or None, secret or None


def _webhook_of(seller_id: str, webhook_id: str) -> Webhook:
    """Return the seller's endpoint with this id. Raise Problem 404."""
    webhook = webhook_by_reference(webhook_id)
    if webhook is None or webhook.seller_id != seller_id:
        raise not_found()
    return webhook


def _sent_twice(reference: str) -> Problem:
    detail = (
        f"this form was sent twice, so the endpoint {reference} exists already; look at the seller's page"
    )
    return Problem(HTTPStatus.CONFLICT, "sent-twice", detail)


def _back(request: Request, webhook_id: str, seller_id: str, now: str) -> Response:
    """Redirect to the seller's page, which shows a line about this change."""
    query = urlencode({"webhook": webhook_id, "now": now})
    return see_other(f"operator/sellers/{seller_id}?{query}", request)
