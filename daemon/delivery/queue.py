"""The messages that wait in the database: select the next message, and store the outcome of its attempt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import NamedTuple

from daemon.delivery.superseding import (
    attempt_now,
    failing_payments,
    let_later_events_pass,
    supersede_older,
    try_stuck_again,
)
from daemon.unit_of_work import unit_of_work
from models.db.connection import (
    execute,
    execute_many,
    fetch_one,
    get_row,
    snapshot,
    statement,
)
from models.db.leadership import check_epoch
from models.delivery import add_delivery
from models.link import Link
from models.outbox import EMAIL, FRESH, RETRY, WEBHOOK, Event, Message
from models.payment import PaymentRequest
from models.queries.links import link_facts
from models.seller import Seller
from models.webhook import BTCPAY, Webhook

BATCH_SIZE = 50
"""The messages of a queue that one step of the outbox worker reads."""

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
# All pauses together are just under 3 days. The limit is the number of attempts and not the message's age. So
# a message still gets all its attempts after the daemon was off for a week.
_SCHEDULE_OF_EMAIL = (*_SCHEDULE, timedelta(hours=14), timedelta(hours=14), timedelta(hours=12))
_SCHEDULES = ((EMAIL, _SCHEDULE_OF_EMAIL), (WEBHOOK, _SCHEDULE))


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt to send a message. `error` is None if the recipient accepted the message.

    `ended_at` is a time of day. `retry_from` is the same moment on the clock of the schedule. `http_code` is
    the status of a webhook's HTTP response, or None without a response.
    """

    ended_at: datetime
    retry_from: datetime
    http_code: int | None = None
    error: str | None = None


class _Candidate(NamedTuple):
    """A message that can be sent, unless it waits for an earlier message with the id `waits_for`."""

    id: int
    waits_for: int | None


def next_attempt(attempts: int, channel: str) -> timedelta | None:
    """Return the pause after `attempts` failed attempts, or None to give up (docs/spec.md 5)."""
    schedule = _SCHEDULE_OF_EMAIL if channel == EMAIL else _SCHEDULE
    return schedule[attempts - 1] if attempts <= len(schedule) else None


def due_queues(now: datetime) -> list[str]:
    """Return the queues that have a fresh message, or a due retry."""
    # Each step of the recursion finds the next queue by the index, without a scan of the previous queue.
    # A fresh message is always due, even if the clock was wrong when the message was stored.
    query = statement(
        """
        WITH RECURSIVE fresh (queue) AS (
            SELECT min(queue) FROM message WHERE {fresh}
            UNION ALL
            SELECT (SELECT min(queue) FROM message WHERE {fresh} AND queue > fresh.queue)
            FROM fresh WHERE fresh.queue IS NOT NULL
        ), retry (queue) AS (
            SELECT min(queue) FROM message WHERE {retry}
            UNION ALL
            SELECT (SELECT min(queue) FROM message WHERE {retry} AND queue > retry.queue)
            FROM retry WHERE retry.queue IS NOT NULL
        )
        SELECT queue FROM fresh WHERE queue IS NOT NULL
        UNION
        SELECT queue FROM retry WHERE
            (SELECT min(next_attempt_at) FROM message WHERE {retry} AND message.queue = retry.queue) <= ?
        """,
        fresh=FRESH,
        retry=RETRY,
    )
    stored_now = Message.next_attempt_at.db_value(now)
    return [queue for (queue,) in execute(query, stored_now).fetchall()]


def next_message(queue: str, now: datetime) -> Message | None:
    """Return the next message of a queue: a fresh message, else the retry that has been due the longest.

    Messages of one payment to one recipient keep their order. A message waits for an earlier message, unless
    it may pass that message (daemon/delivery/superseding.py).

    Return None if all messages of this step wait. The caller then calls again. Raise LockLost if another
    daemon has taken over.
    """
    stored_now = Message.next_attempt_at.db_value(now)
    for condition, order, parameters in (
        (FRESH, "id", (queue,)),
        (f"{RETRY} AND next_attempt_at <= ?", "next_attempt_at, id", (queue, stored_now)),
    ):
        candidates = _candidates(condition, order, parameters)
        waiting = list(takewhile(lambda candidate: candidate.waits_for is not None, candidates))
        _hold_back(waiting, now)
        if len(waiting) < len(candidates):
            return message_to_send(candidates[len(waiting)].id)
        if len(candidates) == BATCH_SIZE:
            return None
    return None


def message_to_send(message_id: int) -> Message | None:
    """Return the message with its event, payment, webhook and seller, or None if it is no longer pending.

    An email has the facts of its payment's link, too.

    Raise LockLost if another daemon has taken over.
    """
    check_epoch()
    query = "SELECT * FROM message WHERE id = ? AND next_attempt_at IS NOT NULL"
    message = fetch_one(Message, query, message_id)
    if message is not None:
        _read_parents(message)
    return message


def _read_parents(message: Message) -> None:
    # Queries by id are faster than a join by the query builder.
    if message.webhook_id is not None:
        message.webhook = get_row(Webhook, message.webhook_id)
        message.webhook.seller = get_row(Seller, message.webhook.seller_id)
    if message.payment_id is not None:
        payment = message.payment = get_row(PaymentRequest, message.payment_id)
        has_webhook = message.webhook_id is not None
        payment.seller = message.webhook.seller if has_webhook else get_row(Seller, payment.seller_id)
        if message.channel == EMAIL and payment.link_id is not None:
            # The text depends on the link as it is now, because somebody may have closed it since the event.
            with snapshot():
                message.link_facts = link_facts(get_row(Link, payment.link_id))
    if message.event_id is not None:
        message.event = get_row(Event, message.event_id)
        message.event.payment = message.payment


def mark_delivered(message: Message, attempt: Attempt) -> list[Message]:
    """Store that the recipient accepted the message. Return the older messages that it supersedes."""
    return _update(message, attempt, delivered_at=attempt.ended_at, next_attempt_at=None)


def mark_delayed(message: Message, attempt: Attempt, next_attempt_at: datetime, **counts: int) -> None:
    """Store that an attempt failed, the time of the next attempt, and the counts of HTTP errors."""
    _update(message, attempt, last_error=attempt.error, next_attempt_at=next_attempt_at, **counts)


def mark_extra_attempt(message: Message, attempt: Attempt, **counts: int) -> None:
    """Store that an attempt beside the schedule failed. The schedule does not change."""
    back = {"attempts": message.attempts, "next_attempt_at": message.hurried_from}
    _update(message, attempt, last_error=attempt.error, **back, **counts)


def mark_given_up(message: Message, attempt: Attempt, **counts: int) -> None:
    """Store that the last attempt failed, and none follows. A failed test needs no decision."""
    acknowledged = {"acknowledged_at": attempt.ended_at} if message.is_test else {}
    _update(
        message,
        attempt,
        last_error=attempt.error,
        failed_at=attempt.ended_at,
        next_attempt_at=None,
        **counts,
        **acknowledged,
    )


def clamp_retry_times(now: datetime) -> None:
    """Shorten every wait that is longer than its step of the schedule, because the clock may have been wrong.

    Also release each message that waits for a message that is no longer pending.
    """
    steps = [(channel, *step) for channel, schedule in _SCHEDULES for step in enumerate(schedule, start=1)]
    latest = f"CASE {'WHEN channel = ? AND attempts = ? THEN CAST(? AS BIGINT) ' * len(steps)}END"
    parameters = [
        each
        for channel, attempts, delay in steps
        for each in (channel, attempts, Message.next_attempt_at.db_value(now + delay))
    ]
    release = """UPDATE message SET waits_for = NULL WHERE waits_for IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM message AS other
        WHERE other.id = message.waits_for AND other.next_attempt_at IS NOT NULL)"""
    with unit_of_work("messages-brought-forward"):
        query = statement(
            "UPDATE message SET next_attempt_at = {latest} WHERE next_attempt_at > {latest}", latest=latest
        )
        execute(query, *parameters * 2)
        execute(release)


def _candidates(condition: str, order: str, parameters: tuple[object, ...]) -> list[_Candidate]:
    query = statement(
        """
        SELECT id, (
            SELECT max(earlier.id) FROM message AS earlier
            WHERE earlier.payment_id = message.payment_id AND earlier.channel = message.channel
                AND earlier.recipient = message.recipient AND earlier.id < message.id
                AND earlier.next_attempt_at IS NOT NULL AND earlier.passed_at IS NULL
        )
        FROM message WHERE queue = ? AND {condition} ORDER BY {order} LIMIT {batch_size}
        """,
        condition=condition,
        order=order,
        batch_size=BATCH_SIZE,
    )
    return [_Candidate(*row) for row in execute(query, *parameters).fetchall()]


def _hold_back(waiting: Sequence[_Candidate], now: datetime) -> None:
    if waiting:
        query = "UPDATE message SET waits_for = ? WHERE id = ?"
        with unit_of_work("message-marked"):
            execute_many(query, [(candidate.waits_for, candidate.id) for candidate in waiting])
            attempt_now(
                {candidate.waits_for for candidate in waiting if candidate.waits_for is not None}, now
            )


def _update(message: Message, attempt: Attempt, **values: object) -> list[Message]:
    """Store the outcome of an attempt. If the message is done, release the messages that wait for it.

    Change only the record of deliveries if a redelivery of the message was requested meanwhile, because then
    its schedule restarts. Return the older messages that this one supersedes.
    """
    is_ordered = message.webhook_id is not None and message.webhook.kind == BTCPAY
    with unit_of_work("message-marked"):
        failing = failing_payments(message.webhook) if is_ordered and attempt.error is None else set()
        _store(message, values)
        if message.webhook_id is not None:
            add_delivery(message, attempt.ended_at, attempt.http_code, attempt.error)
        if not is_ordered:
            return []
        if attempt.error is not None:
            let_later_events_pass(message, int(str(values.get("server_errors", 0))), attempt.ended_at)
            return []
        try_stuck_again(message.webhook, failing, attempt.retry_from)
        return supersede_older(message)


def _store(message: Message, values: Mapping[str, object]) -> None:
    is_this = Message.id == message.id
    is_unchanged = is_this & (Message.next_attempt_at == message.next_attempt_at)
    counts: dict[str, object] = {"attempts": message.attempts + 1, "deliveries": message.deliveries + 1}
    counts["hurried_from"] = None
    if not Message.update(**{**counts, **values}).where(is_unchanged).execute():
        Message.update(deliveries=message.deliveries + 1).where(is_this).execute()
    elif values["next_attempt_at"] is None:
        Message.update(waits_for=None).where(Message.waits_for == message.id).execute()
