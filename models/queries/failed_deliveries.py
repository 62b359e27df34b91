"""Messages that Nodetill has given up, with their endpoints and responses."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from peewee import JOIN, SQL

from models.command import pending_redeliveries
from models.outbox import EMAIL, GIVEN_UP, Event, Message
from models.payment import PaymentRequest
from models.webhook import Webhook

MAX_SHOWN = 50


@dataclass(frozen=True, slots=True)
class FailedDelivery:
    """A message that was given up. `is_queued` means that a redelivery waits for the daemon."""

    reference: str
    event_reference: str
    event_type: str
    channel: str
    place: str
    endpoint: str
    error: str
    attempts: int
    failed_at: datetime
    is_queued: bool


def failed_deliveries(payments: Iterable[PaymentRequest]) -> Mapping[str, list[FailedDelivery]]:
    """Return the given-up messages of these requests, by the id of the request."""
    found = defaultdict(list)
    ids = [payment.id for payment in payments]
    given_up = Message.select(Message.id).where(Message.payment.in_(ids) & SQL(GIVEN_UP))
    for each in _found(given_up) if ids else ():
        found[each.reference].append(each)
    return found


def newest_failed_deliveries() -> list[FailedDelivery]:
    """Return the newest messages that were given up, at most MAX_SHOWN, the newest first."""
    newest = Message.select(Message.id).where(SQL(GIVEN_UP)).order_by(Message.id.desc()).limit(MAX_SHOWN)
    return _found([message.id for message in newest])[::-1]


def _found(given_up: Any) -> list[FailedDelivery]:
    """Return the deliveries of these messages. `given_up` is a query of their ids."""
    query = (
        Message.select(Message, Event, PaymentRequest)
        .join(Event, JOIN.LEFT_OUTER)
        .join_from(Message, PaymentRequest)
    )
    messages = list(query.where(Message.id.in_(given_up)).order_by(Message.id))
    queued = pending_redeliveries(message.id for message in messages)
    webhooks = {message.webhook_id for message in messages if message.webhook_id is not None}
    rows = Webhook.select(Webhook.id, Webhook.url).where(
        Webhook.id.in_(list(webhooks)) & Webhook.removed_at.is_null()
    )
    urls: dict[int, str | None] = {webhook.id: webhook.url for webhook in rows}
    return [_delivery(message, urls, is_queued=message.id in queued) for message in messages]


def _delivery(message: Message, urls: Mapping[int, str | None], *, is_queued: bool) -> FailedDelivery:
    url = message.recipient if message.channel == EMAIL else urls.get(message.webhook_id or 0)
    return FailedDelivery(
        message.payment.reference,
        message.event_reference,
        message.event_type,
        message.channel,
        message.place,
        url or "no address now",
        message.last_error or "",
        message.attempts,
        message.failed_at,
        is_queued,
    )
