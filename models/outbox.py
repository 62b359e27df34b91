"""Events of payments, and a message for each channel that they go to."""

import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import peewee

from models.db.connection import JsonField, Table, UtcDateTimeField, database, insert, with_paramstyle
from models.payment import PaymentRequest
from payments.status import EventType

EMAIL, WEBHOOK = "email", "webhook"

# How reasons begin that are of HTTP or of this machine alone.
_HARMLESS = ("HTTP ", "the seller", "the event", "an error in Nodetill")


class Event(Table):
    """Something that happened to a request, with the request as it was then.

    `revision` is that of the request which the event tells of: the same change can't be told twice.
    `acknowledged_at` is when the operator said that there is nothing more to decide about it.
    """

    payment_id: int
    id = peewee.BigAutoField()
    reference = peewee.CharField(max_length=40, unique=True)
    payment = peewee.ForeignKeyField(PaymentRequest, on_delete="RESTRICT", backref="events")
    revision = peewee.IntegerField()
    type = peewee.CharField(max_length=32)
    created_at = UtcDateTimeField()
    payload = JsonField()
    acknowledged_at = UtcDateTimeField(null=True)

    class Meta:
        indexes = ((("payment", "revision", "type"), True),)


class Message(Table):
    """One event on its way to one recipient. `next_attempt_at` is None once it is delivered or given up.

    `queue` names who would be kept waiting by it: "email", or the webhook's seller. `waits_for` is the id of
    an earlier message of the same payment to the same recipient, while that is known to be pending.
    `acknowledged_at` is when the operator said of one that was given up that it is all right so.
    """

    event_id: int
    payment_id: int
    id = peewee.BigAutoField()
    event = peewee.ForeignKeyField(Event, on_delete="CASCADE", backref="messages")
    payment = peewee.ForeignKeyField(PaymentRequest, on_delete="RESTRICT")
    channel = peewee.CharField(max_length=8)
    recipient = peewee.TextField()
    queue = peewee.TextField()
    created_at = UtcDateTimeField()
    attempts = peewee.IntegerField(default=0)
    last_error = peewee.TextField(null=True)
    next_attempt_at = UtcDateTimeField(null=True)
    delivered_at = UtcDateTimeField(null=True)
    failed_at = UtcDateTimeField(null=True)
    acknowledged_at = UtcDateTimeField(null=True)
    waits_for = peewee.BigIntegerField(null=True)

    class Meta:
        indexes = ((("event", "channel", "recipient"), True),)


def error_for_seller(message: Message) -> str | None:
    """Return the last error as its seller may read it.

    A seller may choose where a webhook goes. What the daemon found there, other than a status, stays here.
    """
    error: str | None = message.last_error
    if error is None or message.channel != WEBHOOK or error.startswith(_HARMLESS):
        return error
    return "no HTTP answer"


def add_event(payment: PaymentRequest, event_type: EventType, document: Any, now: datetime) -> int:
    """Something that happened to this request, which is `document` now; the event's id."""
    return insert(
        Event,
        reference=f"evt_{secrets.token_hex(16)}",
        payment=payment.id,
        revision=payment.revision,
        type=event_type.value,
        created_at=now,
        payload=document,
    )


def add_message(
    event_id: int, payment_id: int, channel: str, recipient: str, queue: str, now: datetime
) -> None:
    """One to be sent at once."""
    insert(
        Message,
        event=event_id,
        payment=payment_id,
        channel=channel,
        recipient=recipient,
        queue=queue,
        created_at=now,
        attempts=0,
        next_attempt_at=now,
    )


def events_of(payment: PaymentRequest) -> list[Event]:
    """A request's events in the order they happened."""
    return list(Event.select().where(Event.payment == payment).order_by(Event.id))


def outputs_in_last_event(payment: PaymentRequest) -> set[tuple[str, int]]:
    """Every output, as (txid, vout), that the newest event of this request has, live or not."""
    newest = Event.select(Event.payload).where(Event.payment == payment).order_by(Event.id.desc()).limit(1)
    return {(part["txid"], part["vout"]) for event in newest for part in event.payload["transactions"]}


def messages_of(events: Iterable[Event]) -> list[Message]:
    """The messages of these events, oldest first."""
    return list(
        Message.select().where(Message.event.in_([event.id for event in events])).order_by(Message.id)
    )


def prunable_messages(closed_before: datetime) -> list[int]:
    """Return the ids of delivered messages of requests that closed before then."""
    # A subquery for each message: closed requests are never deleted, so a list of them would only grow.
    query = """SELECT id FROM message WHERE delivered_at < ? AND
        (SELECT p.closed_at FROM payment_request p WHERE p.id = message.payment_id) < ?"""
    moment = Message.delivered_at.db_value(closed_before)
    return [row_id for (row_id,) in database.execute_sql(with_paramstyle(query), (moment, moment)).fetchall()]


def delete_delivered(message_ids: Sequence[int]) -> int:
    """Delete these messages, but for what is to be delivered again; how many there were."""
    is_still_delivered = Message.delivered_at.is_null(False) & Message.id.in_(message_ids)
    return int(Message.delete().where(is_still_delivered).execute())
