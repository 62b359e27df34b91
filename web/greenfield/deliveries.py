"""The deliveries of a webhook endpoint: list them, return the body of one, and redeliver its event."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog

from models.command import is_redelivery_pending, request_redelivery
from models.delivery import MAX_LISTED_DELIVERIES, Delivery, deliveries_of, delivery_by_reference
from models.outbox import Message
from models.webhook import Webhook
from payments.greenfield.delivery import delivery_body
from web.api.command_limit import check_command_limit
from web.greenfield.errors import CORS, missing, ok
from web.greenfield.query import Query
from web.greenfield.webhooks import own_webhook
from web.http.request import Request
from web.http.responses import JSON, Problem, Response, encoded

log = structlog.get_logger(__name__)


def list_deliveries(request: Request, webhook: str) -> Response:
    """GET …/webhooks/{webhook}/deliveries: the last `count` deliveries, the newest first."""
    count = Query(request).number("count", MAX_LISTED_DELIVERIES, MAX_LISTED_DELIVERIES)
    return ok([_document(delivery) for delivery in deliveries_of(own_webhook(request, webhook), count)])


def show(request: Request, webhook: str, delivery: str) -> Response:
    """GET …/deliveries/{delivery}."""
    return ok(_document(_own_delivery(own_webhook(request, webhook), delivery)))


def request_body(request: Request, webhook: str, delivery: str) -> Response:
    """GET …/deliveries/{delivery}/request: the exact bytes that Nodetill sent."""
    endpoint = own_webhook(request, webhook)
    found = _own_delivery(endpoint, delivery)
    body = delivery_body(
        found.message.invoice_event,
        webhook_reference=endpoint.reference,
        delivery=found.reference,
        original_delivery=str(found.message.reference),
    )
    return Response(HTTPStatus.OK, body, JSON, CORS)


def redeliver(request: Request, webhook: str, delivery: str) -> Response:
    """POST …/deliveries/{delivery}/redeliver: the id of the new delivery, as a JSON string.

    The daemon sends the event again. Only the ids of the delivery in its body change. Raise Problem 429.
    """
    found = _own_delivery(own_webhook(request, webhook), delivery)
    message: Message = found.message
    if not is_redelivery_pending(message):
        check_command_limit(request.seller.id)
        is_new = request_redelivery(message, request.now, request.writers.transaction)
        if not is_new and not is_redelivery_pending(message):
            raise _no_delivery()
        if is_new:
            log.info("redelivery asked for", webhook=webhook, delivery=found.reference, by="key")
    return Response(HTTPStatus.OK, encoded(message.next_delivery_reference), JSON, CORS)


def _own_delivery(webhook: Webhook, reference: str) -> Delivery:
    delivery = delivery_by_reference(webhook, reference)
    if delivery is None:
        raise _no_delivery()
    return delivery


def _no_delivery() -> Problem:
    return missing("webhookdelivery", "this webhook has no delivery with that id, or it was deleted")


def _document(delivery: Delivery) -> Mapping[str, Any]:
    at = int(delivery.at.timestamp())
    return {
        "id": delivery.reference,
        "timestamp": at,
        "deliveryTime": at,
        "httpCode": delivery.http_code,
        "errorMessage": _error(delivery),
        "status": _status(delivery),
    }


def _status(delivery: Delivery) -> str:
    if delivery.http_code is None:
        return "Failed"
    return "HttpSuccess" if delivery.was_accepted else "HttpError"


def _error(delivery: Delivery) -> str | None:
    """Return the error without network details, because the key's owner could use them to scan a network."""
    if delivery.was_accepted:
        return None
    return "no HTTP answer" if delivery.http_code is None else f"HTTP {delivery.http_code}"
