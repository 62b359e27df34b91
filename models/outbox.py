"""The events of payments, and the messages that report them. An event has one message for each channel."""

import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import peewee

from models.db.connection import JsonField, Table, UtcDateTimeField, database, insert, with_paramstyle
from models.payment import PaymentRequest
from payments.status import EventType

EMAIL, WEBHOOK = "email", "webhook"

# The first words of errors that contain nothing but an HTTP status, or a fault of this machine.
_HARMLESS = ("HTTP ", "the seller", "the event", "an error in Nodetill")


class Event(Table):
    """A change of a request, with the request as it was then.

    `revision` is the revision of the request after the change. It prevents two events for one change.
    `acknowledged_at` is the time at which the operator acknowledged the event. `late_text` is the sentence on
    late money for the operator's email, at the price of that time.
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
    late_text = peewee.TextField(null=True)

    class Meta:
        indexes = ((("payment", "revision", "type"), True),)


class Message(Table):
    """A message that reports one event to one recipient.

    `next_attempt_at` is None after the message is delivered or given up. `queue` is "email", or the seller of
    the webhook. Messages of one queue wait for each other. `waits_for` is the id of an earlier message of the
    same payment to the same recipient, while that message is pending. `acknowledged_at` is the time at which
    the operator acknowledged that the delivery failed.
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
    """Return the last error in a form that its seller may read.

    A seller can choose the address of a webhook. So a seller gets the HTTP status, but no other details about
    that address.
    """
    error: str | None = message.last_error
    if error is None or message.channel != WEBHOOK or error.startswith(_HARMLESS):
        return error
    return "no HTTP answer"


def add_event(
    payment: PaymentRequest,
    event_type: EventType,
    document: Any,
    now: datetime,
    late_text: str | None = None,
) -> int:
    """Store an event of this request, which is now `document`. Return the event's id."""
    return insert(
        Event,
        reference=f"evt_{secrets.token_hex(16)}",
        payment=payment.id,
        revision=payment.revision,
        type=event_type.value,
        created_at=now,
        payload=document,
        late_text=late_text,
    )


def add_message(
    event_id: int, payment_id: int, channel: str, recipient: str, queue: str, now: datetime
) -> None:
    """Store a message that is due at once."""
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
    """Return a request's events, the oldest first."""
    return list(Event.select().where(Event.payment == payment).order_by(Event.id))


def outputs_in_last_event(payment: PaymentRequest) -> set[tuple[str, int]]:
    """Return (txid, vout) of every output in the newest event of this request, live or not."""
    newest = Event.select(Event.payload).where(Event.payment == payment).order_by(Event.id.desc()).limit(1)
    return {(part["txid"], part["vout"]) for event in newest for part in event.payload["transactions"]}


def messages_of(events: Iterable[Event]) -> list[Message]:
    """Return the messages of these events, the oldest first."""
    return list(
        Message.select().where(Message.event.in_([event.id for event in events])).order_by(Message.id)
    )


def prunable_messages(closed_before: datetime) -> list[int]:
    """Return the ids of messages that were delivered before then, of requests that closed before then."""
    # Each message has a subquery, because closed requests stay for ever, and a list of them only grows.
    query = """SELECT id FROM message WHERE delivered_at < ? AND
        (SELECT p.closed_at FROM payment_request p WHERE p.id = message.payment_id) < ?"""
    before = Message.delivered_at.db_value(closed_before)
    return [row_id for (row_id,) in database.execute_sql(with_paramstyle(query), (before, before)).fetchall()]


def delete_delivered(message_ids: Sequence[int]) -> int:
    """Delete these messages, except those that are to be delivered again. Return the number deleted."""
    is_still_delivered = Message.delivered_at.is_null(False) & Message.id.in_(message_ids)
    return int(Message.delete().where(is_still_delivered).execute())
