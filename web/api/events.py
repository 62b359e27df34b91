"""Events of a payment request: list them with their deliveries, and send a webhook again."""

from collections import defaultdict
from http import HTTPStatus

import structlog

from models.command import is_redelivery_pending, request_redelivery
from models.db.connection import snapshot
from models.outbox import WEBHOOK, Message, error_for_seller, events_of, messages_of
from models.payment import PaymentRequest
from payments.document import timestamp
from payments.notifications import read_event_type
from web.api.command_limit import check_command_limit
from web.api.payments import own_payment
from web.api.schemas import Delivery, EventList, EventRecord, Redelivery
from web.http.request import Request
from web.http.responses import JsonResponse, Problem, json_response, not_found

log = structlog.get_logger(__name__)


def list_events(request: Request, reference: str) -> JsonResponse:
    """GET /api/v1/payments/{id}/events: the events in order of time, each with its deliveries."""
    with snapshot():
        events = events_of(own_payment(request, reference))
        deliveries: dict[int, list[Delivery]] = defaultdict(list)
        for message in messages_of(events):
            if message.event_id is not None:
                deliveries[message.event_id].append(_delivery(message))
    data = [
        EventRecord(
            event_id=event.reference,
            type=read_event_type(event.type),
            created_at=timestamp(event.created_at),
            deliveries=deliveries[event.id],
        )
        for event in events
    ]
    return json_response(HTTPStatus.OK, EventList(data=data))


def redeliver(request: Request, reference: str, event_reference: str) -> JsonResponse:
    """POST /api/v1/payments/{id}/events/{event_id}/redeliver: 202. The daemon sends the webhook again.

    A seller cannot repeat the email, because the operator receives it. Raise Problem 409 without a webhook.
    """
    payment = own_payment(request, reference)
    events = events_of(payment)
    event = next((event for event in events if event.reference == event_reference), None)
    if event is None:
        raise not_found()
    webhooks = [message for message in messages_of([event]) if message.channel == WEBHOOK]
    if not webhooks:
        raise _nothing_to_send()
    for message in webhooks:
        send_again(request, payment, message, by="seller")
    return json_response(HTTPStatus.ACCEPTED, Redelivery(event_id=event.reference))


def send_again(request: Request, payment: PaymentRequest, message: Message, by: str) -> None:
    """Store a command to send a message again, unless one is pending. Raise Problem 409 or 429."""
    if is_redelivery_pending(message):
        return
    check_command_limit(payment.seller_id)
    is_new = request_redelivery(message, request.now, request.writers.transaction)
    if not is_new and not is_redelivery_pending(message):
        raise _nothing_to_send()
    if is_new:
        log.info(
            "redelivery asked for",
            payment=payment.reference,
            event_id=message.event_reference,
            seller=payment.seller_id,
            by=by,
        )


def _nothing_to_send() -> Problem:
    detail = "this event has no message to send again: it never had one, or the message was pruned"
    return Problem(HTTPStatus.CONFLICT, "nothing-to-redeliver", detail)


def _delivery(message: Message) -> Delivery:
    return Delivery(
        channel=message.channel,
        webhook_id=message.recipient if message.channel == WEBHOOK else None,
        attempts=message.attempts,
        last_error=error_for_seller(message),
        delivered_at=timestamp(message.delivered_at),
        failed_at=timestamp(message.failed_at),
        next_attempt_at=timestamp(message.next_attempt_at),
    )
