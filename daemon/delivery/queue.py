"""The messages that wait in the database to be sent: which are due, and what came of them."""

from collections import defaultdict, deque
from datetime import datetime, timedelta

from daemon.unit_of_work import unit_of_work
from models.db.connection import by_id, database, first, statement
from models.db.leadership import check_office
from models.outbox import EMAIL, WEBHOOK, Event, Message
from models.payment import PaymentRequest
from models.seller import Seller

AT_ONCE = 200
"""How many due messages of a queue are looked up at a time."""

_SCHEDULE = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
)
# Together with the schedule just under 3 days. By count and not by the message's age: one that waited
# while the daemon was off for a week gets its tries all the same.
_SCHEDULE_OF_EMAIL = (*_SCHEDULE, timedelta(hours=14), timedelta(hours=14), timedelta(hours=12))
_SCHEDULES = ((EMAIL, _SCHEDULE_OF_EMAIL), (WEBHOOK, _SCHEDULE))


def next_attempt(attempts: int, channel: str) -> timedelta | None:
    """How long to wait after so many failed attempts; None to give up. docs/spec.md 5."""
    schedule = _SCHEDULE_OF_EMAIL if channel == EMAIL else _SCHEDULE
    return schedule[attempts - 1] if attempts <= len(schedule) else None


def due_messages(now: datetime) -> dict[str, deque[int]]:
    """The ids of messages that may be sent, by queue: fresh ones first, then the oldest; the first 200.

    Of one payment's messages to one recipient only the first that is pending: they go in their order.
    """
    # A fresh one is due whatever the clock said when it was written.
    query = """
        SELECT queue, id FROM (
            SELECT queue, id, row_number() OVER (PARTITION BY queue ORDER BY attempts, id) AS place
            FROM message
            WHERE next_attempt_at IS NOT NULL AND (attempts = 0 OR next_attempt_at <= ?) AND id IN (
                SELECT min(id) FROM message WHERE next_attempt_at IS NOT NULL
                GROUP BY payment_id, channel, recipient
            )
        ) AS ranked
        WHERE place <= ? ORDER BY place"""
    moment = Message.next_attempt_at.db_value(now)
    queues: dict[str, deque[int]] = defaultdict(deque)
    for queue, message_id in database.execute_sql(statement(query), (moment, AT_ONCE)):
        queues[queue].append(message_id)
    return dict(queues)


def message_to_send(message_id: int) -> Message | None:
    """The message with its event, payment and seller; None if it is not pending any more.

    Raises LockLost where it is another daemon's to send.
    """
    check_office()
    query = "SELECT * FROM message WHERE id = ? AND next_attempt_at IS NOT NULL"
    message = first(Message, query, message_id)
    if message is not None:
        # A join by the query builder takes seven times as long.
        message.event = by_id(Event, message.event_id)
        message.event.payment = by_id(PaymentRequest, message.event.payment_id)
        message.event.payment.seller = by_id(Seller, message.event.payment.seller_id)
    return message


def mark_delivered(message: Message, now: datetime) -> None:
    """It has been taken."""
    _update(message, delivered_at=now, next_attempt_at=None)


def mark_delayed(message: Message, error: str, next_attempt_at: datetime) -> None:
    """It has not, and is tried again then."""
    _update(message, last_error=error, next_attempt_at=next_attempt_at)


def mark_given_up(message: Message, error: str, now: datetime) -> None:
    """It has not, and is not tried again."""
    _update(message, last_error=error, failed_at=now, next_attempt_at=None)


def bring_forward(now: datetime) -> None:
    """Let nothing wait longer than its step of the schedule: a clock that was wrong may have said so."""
    steps = [(channel, *step) for channel, schedule in _SCHEDULES for step in enumerate(schedule, start=1)]
    with unit_of_work("messages-brought-forward"):
        for channel, attempts, delay in steps:
            latest = now + delay
            Message.update(next_attempt_at=latest).where(
                (Message.next_attempt_at > latest)
                & (Message.channel == channel)
                & (Message.attempts == attempts)
            ).execute()


def _update(message: Message, **values: object) -> None:
    """`delivered_at` and the like, and that it was tried once more.

    Nothing where it was asked for again while it was on its way: it is due, and its schedule begins anew.
    """
    is_as_it_was = (Message.id == message.id) & (Message.next_attempt_at == message.next_attempt_at)
    with unit_of_work("message-marked"):
        Message.update(attempts=message.attempts + 1, **values).where(is_as_it_was).execute()
