"""The webhook endpoints that a plug-in adds, changes and removes in its store."""

from collections.abc import Mapping
from typing import Any

import structlog

from models.webhook import (
    API_KEY,
    BTCPAY,
    MAX_WEBHOOKS,
    Webhook,
    add_webhook,
    endpoints_of,
    is_endpoint_too_many,
    remove_webhook,
    update_webhook,
    webhook_by_reference,
)
from web.greenfield.body import read_body, read_members
from web.greenfield.errors import empty, missing, ok, wrong
from web.greenfield.forms import WebhookForm
from web.http.request import Request
from web.http.responses import Problem, Response

log = structlog.get_logger(__name__)


def create(request: Request) -> Response:
    """POST /api/v1/stores/{store}/webhooks: the new endpoint. Only this response has its secret."""
    form = read_members(WebhookForm, read_body(request))
    seller_id = request.seller.id
    with request.writers.transaction():
        if is_endpoint_too_many(seller_id):
            raise wrong("url", f"a store has at most {MAX_WEBHOOKS} webhooks; delete one that is not in use")
        webhook, secret = add_webhook(
            seller_id,
            BTCPAY,
            form.url,
            request.now,
            secret=form.secret or None,
            set_by=API_KEY,
            **form.settings,
        )
    log.info("webhook added", seller=seller_id, webhook=webhook.reference, by="key")
    return ok({**_document(webhook), "secret": secret})


def list_webhooks(request: Request) -> Response:
    """GET /api/v1/stores/{store}/webhooks: all endpoints, the oldest first."""
    return ok([_document(webhook) for webhook in endpoints_of(request.seller.id, BTCPAY)])


def show(request: Request, webhook: str) -> Response:
    """GET /api/v1/stores/{store}/webhooks/{webhook}."""
    return ok(_document(own_webhook(request, webhook)))


def update(request: Request, webhook: str) -> Response:
    """PUT /api/v1/stores/{store}/webhooks/{webhook}: the changed endpoint.

    A body without a secret keeps the old secret. An address that a key sets must be public.
    """
    found = own_webhook(request, webhook)
    form = read_members(WebhookForm, read_body(request))
    changes: dict[str, Any] = {**form.settings}
    if form.url != found.url:
        changes |= {"url": form.url, "set_by": API_KEY}
    if form.secret:
        changes["btcpay_secret"] = form.secret
    with request.writers.transaction():
        is_there = update_webhook(found, **changes)
    if not is_there:
        raise _no_webhook()
    log.info("webhook changed", seller=request.seller.id, webhook=found.reference, by="key")
    return show(request, webhook)


def remove(request: Request, webhook: str) -> Response:
    """DELETE /api/v1/stores/{store}/webhooks/{webhook}: 200 without a body."""
    found = own_webhook(request, webhook)
    with request.writers.transaction():
        is_removed = remove_webhook(found, request.now)
    if is_removed:
        log.info("webhook removed", seller=request.seller.id, webhook=found.reference, by="key")
    return empty()


def own_webhook(request: Request, reference: str) -> Webhook:
    """Return the caller's endpoint with this id. Raise Problem 404."""
    webhook = webhook_by_reference(reference)
    if webhook is None or webhook.seller_id != request.seller.id or webhook.kind != BTCPAY:
        raise _no_webhook()
    return webhook


def _no_webhook() -> Problem:
    return missing("webhook", "this store has no webhook with that id")


def _document(webhook: Webhook) -> Mapping[str, Any]:
    events = webhook.event_types
    return {
        "id": webhook.reference,
        "url": webhook.url,
        "enabled": bool(webhook.is_enabled),
        "automaticRedelivery": bool(webhook.automatic_redelivery),
        "authorizedEvents": {"everything": events is None, "specificEvents": events or []},
    }
