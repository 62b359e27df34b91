"""The events of payments, and the messages that report them.

An event has one message for the operator's email, and one for each webhook endpoint that wants the event.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

import peewee

from models.db.connection import (
    JsonField,
    Table,
    UtcDateTimeField,
    execute,
    insert,
    statement,
)
from models.identifiers import random_text
from models.payment import PaymentRequest
from models.webhook import Webhook
from payments.greenfield.delivery import delivery_reference
from payments.link import LinkEvent
from payments.notifications import ReportedEvent
from payments.status import EventType

EMAIL, WEBHOOK = "email", "webhook"

# The first words of errors that contain only an HTTP status, or a fault of this machine.
_HARMLESS = ("HTTP ", "the seller", "the endpoint", "the event", "an error in Nodetill")

REVERTED = f"type = '{EventType.REVERTED}' AND acknowledged_at IS NULL"
PENDING = "next_attempt_at IS NOT NULL"
FRESH = f"{PENDING} AND waits_for IS NULL AND attempts = 0"
RETRY = f"{PENDING} AND waits_for IS NULL AND attempts > 0"
GIVEN_UP = "failed_at IS NOT NULL AND acknowledged_at IS NULL"


class Event(Table):
    """A change of a request or of its link. `payload` has the request, or the link, after the change.

    `revision` is the revision of the request after the change. It prevents two events for one change.
    `acknowledged_at` is the time at which the operator acknowledged the event. `late_text` has the sentences
    on late money for the operator's email, at the price of that time. An event of a link has a line for each
    late request, which begins with its id.
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

    partial_indexes: ClassVar = {"event_reverted": REVERTED}


class Message(Table):
    """A message that reports one event to one recipient.

    The message reports `event`, or `invoice_event` to a btcpay endpoint. A message without a request is a
    test.

    `next_attempt_at` is None after the message is delivered, given up or superseded. `recipient` is an email
    address, or the reference of `webhook`. `queue` is "email", or the queue of the webhook. Messages of one
    queue wait for each other. `waits_for` is the id of an earlier message of the same payment to the same
    recipient, while that message is pending. `acknowledged_at` is the time at which the operator
    acknowledged that the delivery failed.

    `attempts` counts the attempts since the message or its redelivery was queued, and `deliveries` counts all
    attempts. `server_errors` counts responses with HTTP 5xx, and `refusals` counts final responses with HTTP
    4xx. `passed_at` is set while one later message of the same invoice need not wait. `hurried_from` is the
    scheduled time of the next attempt, while an attempt beside the schedule is due. `superseded_by` is the id
    of the later message that the endpoint accepted instead. `link_facts` is no column. It has the link of the
    payment at the time of an email.
    """

    event_id: int | None
    payment_id: int | None
    webhook_id: int | None
    link_facts: Any = None
    id = peewee.BigAutoField()
    # The type is Any, because the ids show if a message has an event, a payment and a webhook.
    event: Any = peewee.ForeignKeyField(Event, on_delete="CASCADE", backref="messages", null=True)
    payment: Any = peewee.ForeignKeyField(PaymentRequest, on_delete="RESTRICT", null=True)
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
    webhook: Any = peewee.ForeignKeyField(Webhook, on_delete="RESTRICT", backref="messages", null=True)
    reference = peewee.CharField(max_length=40, null=True, unique=True)
    invoice_event = JsonField(null=True)
    deliveries = peewee.IntegerField(default=0)
    server_errors = peewee.IntegerField(default=0)
    refusals = peewee.IntegerField(default=0)
    passed_at = UtcDateTimeField(null=True)
    hurried_from = UtcDateTimeField(null=True)
    superseded_by = peewee.BigIntegerField(null=True)

    class Meta:
        indexes = ((("event", "channel", "recipient"), True),)

    partial_indexes: ClassVar = {
        "message_delivered": "delivered_at IS NOT NULL",
        "message_fresh": FRESH,
        "message_pending": PENDING,
        "message_retry": RETRY,
        "message_superseded": "superseded_by IS NOT NULL",
        "message_test": "payment_id IS NULL",
        "message_unsettled": GIVEN_UP,
        "message_waiting": "waits_for IS NOT NULL",
    }

    @property
    def is_test(self) -> bool:
        """Return whether the operator ordered the message as a test. It reports no payment."""
        return self.payment_id is None

    @property
    def event_type(self) -> str:
        return str(self.event.type if self.event_id is not None else self.invoice_event["type"])

    @property
    def event_reference(self) -> str:
        """Return the id of the event, or the id of the message if it has no row of `event`."""
        return str(self.event.reference if self.event_id is not None else self.reference)

    @property
    def place(self) -> str:
        """Return the name of this message among the messages of its event, for a link."""
        return str(self.reference or self.channel)

    @property
    def next_delivery_reference(self) -> str:
        """Return the reference of the next delivery. It changes only when that delivery is stored."""
        return delivery_reference(str(self.reference), self.deliveries)


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
    event_type: ReportedEvent,
    document: Any,
    now: datetime,
    late_text: str | None = None,
) -> int:
    """Store an event of this request. `document` is the request after the change. Return the event's id."""
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


def add_email(event_id: int, payment_id: int, recipient: str, now: datetime) -> None:
    """Store an email about an event, which is due at once."""
    insert(
        Message,
        event=event_id,
        payment=payment_id,
        channel=EMAIL,
        recipient=recipient,
        queue=EMAIL,
        created_at=now,
        attempts=0,
        next_attempt_at=now,
    )


def add_webhook_message(
    event_id: int, event_type: str, payment_id: int, webhook: Webhook, now: datetime
) -> bool:
    """Store the message of an event, due at once, if the standard endpoint wants the event."""
    if not webhook.wants(event_type):
        return False
    _add_to(webhook, now, event=event_id, payment=payment_id)
    return True


def add_invoice_message(
    payment_id: int, webhook: Webhook, invoice_event: Mapping[str, Any], now: datetime
) -> bool:
    """Store the message of an invoice's event, due at once, if the btcpay endpoint wants it.

    `invoice_event` is the body without `deliveryId`, `webhookId`, `originalDeliveryId` and `isRedelivery`.
    """
    if not webhook.wants(invoice_event["type"]):
        return False
    _add_to(webhook, now, payment=payment_id, invoice_event=invoice_event)
    return True


def add_test_message(
    webhook: Webhook, invoice_event: Mapping[str, Any], reference: str, now: datetime
) -> None:
    """Store a test of an endpoint, which reports no payment."""
    _add_to(webhook, now, reference=reference, invoice_event=invoice_event)


def _add_to(webhook: Webhook, now: datetime, **values: Any) -> None:
    insert(
        Message,
        channel=WEBHOOK,
        recipient=webhook.reference,
        queue=webhook.queue,
        webhook=webhook.id,
        created_at=now,
        attempts=0,
        next_attempt_at=now,
        **{"reference": f"dl_{random_text(10)}", **values},
    )


def events_of(payment: PaymentRequest) -> list[Event]:
    """Return a request's events, the oldest first."""
    return list(Event.select().where(Event.payment == payment).order_by(Event.id))


def outputs_in_last_event(payment: PaymentRequest) -> set[tuple[str, int]]:
    """Return (txid, vout) of every output in the newest event of this request, live or not."""
    is_its = (Event.payment == payment) & Event.type.not_in(list(LinkEvent))
    newest = Event.select(Event.payload).where(is_its).order_by(Event.id.desc()).limit(1)
    return {(part["txid"], part["vout"]) for event in newest for part in event.payload["transactions"]}


def messages_of_payment(payment: PaymentRequest) -> list[Message]:
    """Return all messages about a request, with their events, the oldest first."""
    query = Message.select(Message, Event).join(Event, peewee.JOIN.LEFT_OUTER)
    return list(query.where(Message.payment == payment).order_by(Message.id))


def messages_of(events: Iterable[Event]) -> list[Message]:
    """Return the messages of these events, the oldest first."""
    return list(
        Message.select().where(Message.event.in_([event.id for event in events])).order_by(Message.id)
    )


def prunable_messages(closed_before: datetime) -> list[int]:
    """Return the ids of old messages: delivered or superseded messages of closed requests, and tests.

    The delivery (or a superseded message) and the close of its request are older than `closed_before`.
    """
    # A subquery for each message is faster than a list of closed requests, because that list only grows.
    is_closed = "(SELECT p.closed_at FROM payment_request p WHERE p.id = message.payment_id) < ?"
    query = statement(
        """SELECT id FROM message WHERE delivered_at < ? AND {is_closed}
        UNION ALL
        SELECT id FROM message WHERE superseded_by IS NOT NULL AND created_at < ? AND {is_closed}
        UNION ALL
        SELECT id FROM message WHERE payment_id IS NULL AND created_at < ? AND next_attempt_at IS NULL
        """,
        is_closed=is_closed,
    )
    before = Message.delivered_at.db_value(closed_before)
    rows = execute(query, *(before,) * 5).fetchall()
    return [row_id for (row_id,) in rows]


def delete_done(message_ids: Sequence[int]) -> int:
    """Delete these messages with the records of their deliveries. Return the number deleted.

    Keep messages with a redelivery that waits or that failed.
    """
    is_done = Message.delivered_at.is_null(False) | Message.superseded_by.is_null(False)
    is_idle_test = Message.payment.is_null() & Message.next_attempt_at.is_null()
    still = Message.id.in_(message_ids) & (is_done | is_idle_test)
    return int(Message.delete().where(still).execute())
