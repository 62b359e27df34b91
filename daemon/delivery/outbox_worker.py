"""Carries the messages in the database to those they are for, until they are taken.

One thread reads and marks; each message is sent by a short-lived thread of its own. A queue (the email, or
one seller's webhook) has one message on its way at a time, so a dead one delays nobody else.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from typing import Any, Protocol

import structlog

from config import Settings
from daemon import failpoint
from daemon.counters import Counters
from daemon.delivery.emails import Letter, letter
from daemon.delivery.queue import (
    bring_forward,
    due_messages,
    mark_delayed,
    mark_delivered,
    mark_given_up,
    message_to_send,
    next_attempt,
)
from daemon.net.errors import PermanentFailure, TemporaryFailure, reason
from daemon.unit_of_work import unit_of_work
from daemon.worker import Worker, in_a_thread
from models.db.connection import batches
from models.outbox import EMAIL, Message, delete_delivered, outdated_messages
from payments.notifications import is_urgent, message_id, webhook_body
from payments.status import EventType

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
MOST_ON_THEIR_WAY = 64
HEAD_START_SECONDS = 0.02
"""The longest that an email waits for webhooks on their way: writing one takes a processor for milliseconds,
and each time that a webhook's thread needs it meanwhile takes up to five more."""

PRUNE_SECONDS = 3600.0
KEPT_FOR = timedelta(days=30)

# Looking for due messages takes longer the more there are; no more than this part of the time.
_SHARE_OF_LOOKING = 0.1


class SendsMail(Protocol):
    """`daemon.delivery.smtp.Mailer`."""

    def send(
        self, recipient: str, letter: Letter, message_id: str, *, is_urgent: bool, now: datetime
    ) -> None:
        """Raises TemporaryFailure or PermanentFailure."""


class SendsWebhooks(Protocol):
    """`daemon.delivery.webhook.WebhookSender`."""

    def send(self, url: str, secrets: list[str], event_reference: str, body: bytes, now: datetime) -> None:
        """Raises TemporaryFailure or PermanentFailure."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The result of an attempt; `failure` is None where the message was taken.

    `ended_at` and `retry_from` are the end of the attempt, by the time of day and by `Courier._retry_time`.
    """

    message: Message
    failure: TemporaryFailure | PermanentFailure | None
    ended_at: datetime
    retry_from: datetime


class Courier:
    """`clock` gives the time of day, `monotonic` seconds that no clock change touches: retries go by it."""

    def __init__(
        self,
        settings: Settings,
        mailer: SendsMail,
        webhooks: SendsWebhooks,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
        counters: Counters,
        start_thread: Callable[[Callable[[], None]], None] = in_a_thread,
    ) -> None:
        self._settings = settings
        self._mailer = mailer
        self._webhooks = webhooks
        self._clock = clock
        self._monotonic = monotonic
        self._counters = counters
        self._start_thread = start_thread
        self._worker = Worker("courier", self._turn, self._pause, lambda: not self._on_their_way)

        self._started_at = clock(), monotonic()
        self._due: dict[str, deque[int]] = {}
        self._on_their_way: dict[str, int] = {}
        self._outcomes: deque[_Outcome] = deque()
        self._turns = count(1)
        self._last_turns: dict[str, int] = {}
        self._look_at = self._prune_at = monotonic()
        self._must_look = False
        self._is_brought_forward = False
        self._email_held_since: float | None = None

    def start(self) -> None:
        """Begin to deliver."""
        self._worker.start()

    def wake(self) -> None:
        """There is something new to send. From any thread."""
        self._worker.wake()

    def stop(self, timeout_seconds: float) -> bool:
        """Begin nothing new, and wait so long for what is on its way; whether all of that is marked."""
        return self._worker.stop(timeout_seconds)

    def is_alive(self) -> bool:
        """Whether it works; it stops by itself only because of a bug."""
        return self._worker.is_alive()

    def take_turn(self) -> None:
        """Mark what has come back, and send what is due: what the thread does each time it is woken."""
        self._worker.take_turn()

    def _turn(self) -> None:
        self._mark_outcomes()
        if self._worker.is_stopping:
            return
        if not self._is_brought_forward:
            bring_forward(self._retry_time())
            self._is_brought_forward = True
        self._look()
        self._send_due()
        if self._monotonic() >= self._prune_at:
            self._prune()

    def _retry_time(self) -> datetime:
        """The time of day when the process started, carried on without any change of the clock since."""
        moment, seconds = self._started_at
        return moment + timedelta(seconds=self._monotonic() - seconds)

    def _look(self) -> None:
        """Find out afresh what is due, but for what is on its way."""
        started = self._monotonic()
        self._must_look = started < self._look_at
        if self._must_look:
            return
        sent = set(self._on_their_way.values())
        self._due = {
            queue: deque(number for number in numbers if number not in sent)
            for queue, numbers in due_messages(self._retry_time()).items()
        }
        self._look_at = self._monotonic() + (self._monotonic() - started) / _SHARE_OF_LOOKING

    def _pause(self) -> float:
        until_look = max(self._look_at - self._monotonic(), 0.001) if self._must_look else POLL_SECONDS
        return min(until_look, POLL_SECONDS if self._email_held_since is None else HEAD_START_SECONDS)

    def _send_due(self) -> None:
        """Those first whose turn was longest ago; an email last, which takes none of the others' places."""
        webhooks = [queue for queue in self._due if queue != EMAIL]
        for queue in sorted(webhooks, key=lambda name: self._last_turns.get(name, 0)):
            if len(self._on_their_way) < MOST_ON_THEIR_WAY and queue not in self._on_their_way:
                self._send_next(queue)
        is_email_due = bool(self._due.get(EMAIL)) and EMAIL not in self._on_their_way
        self._email_held_since = self._holds_since() if is_email_due else None
        if is_email_due and self._email_held_since is None:
            self._send_next(EMAIL)

    def _holds_since(self) -> float | None:
        """Since when the next email lets the webhooks on their way go ahead; None where it goes now."""
        now = self._monotonic()
        since = now if self._email_held_since is None else self._email_held_since
        return since if self._on_their_way and now < since + HEAD_START_SECONDS else None

    def _send_next(self, queue: str) -> None:
        numbers = self._due[queue]
        while numbers:
            message = message_to_send(numbers[0])
            numbers.popleft()
            if message is not None:
                self._on_their_way[queue] = message.id
                self._last_turns[queue] = next(self._turns)
                self._start_thread(partial(self._carry, message))
                return

    def _carry(self, message: Message) -> None:
        """Send one message. The only thing that is done outside the courier's own thread."""
        failure: TemporaryFailure | PermanentFailure | None = TemporaryFailure(
            "an error in Nodetill; its log says which"
        )
        try:
            failpoint.reach(f"{message.channel}.to-be-sent")
            self._send(message)
            failpoint.reach(f"{message.channel}.sent")
            failure = None
        except (TemporaryFailure, PermanentFailure) as error:
            failure = error
        finally:
            # The database may take the result much later.
            self._outcomes.append(_Outcome(message, failure, self._clock(), self._retry_time()))
            self._worker.wake()

    def _send(self, message: Message) -> None:
        event, seller, now = message.event, message.event.payment.seller, self._clock()
        event_type = _written(EventType, event.type)
        if message.channel == EMAIL:
            text = _written(letter, event_type, event.payload, self._settings.explorer_url, seller.email)
            reference = message_id(event.reference, self._settings.mail_from)
            urgent = is_urgent(event_type)
            self._mailer.send(message.recipient, text, reference, is_urgent=urgent, now=now)
            return
        if seller.removed_at is not None or not seller.webhook_url:
            raise PermanentFailure("the seller has no webhook address any more")
        secrets = [secret for secret in (seller.webhook_secret, seller.previous_webhook_secret) if secret]
        body = _written(webhook_body, event_type, event.created_at, event.payload)
        self._webhooks.send(seller.webhook_url, secrets, event.reference, body, now)

    def _mark_outcomes(self) -> None:
        while self._outcomes:
            # Taken off once it is marked: trouble with the database must not make us send it twice.
            outcome = self._outcomes[0]
            line = self._mark(outcome)
            self._outcomes.popleft()
            del self._on_their_way[outcome.message.queue]
            line()

    def _mark(self, outcome: _Outcome) -> Callable[[], None]:
        """Store what came of it; gives back how to log it, once it can't be undone."""
        message, failure = outcome.message, outcome.failure
        failpoint.reach("outcome.to-be-marked")
        if failure is None:
            mark_delivered(message, outcome.ended_at)
            return partial(self._tell, log.info, "delivered", outcome)
        delay = next_attempt(message.attempts + 1, message.channel)
        if isinstance(failure, PermanentFailure) or delay is None:
            mark_given_up(message, str(failure), outcome.ended_at)
            return partial(self._tell, log.error, "given up", outcome, reason=str(failure))
        mark_delayed(message, str(failure), outcome.retry_from + delay)
        again = {"reason": str(failure), "again_in_seconds": int(delay.total_seconds())}
        return partial(self._tell, log.warning, "delayed", outcome, **again)

    def _tell(self, write: Callable[..., Any], result: str, outcome: _Outcome, **more: Any) -> None:
        message = outcome.message
        write(f"message {result}", **_facts(message), **more)
        self._counters.add("deliveries", f"{message.channel} {result}")
        seen_at = message.event.payment.received_at
        if result == "delivered" and message.event.type == EventType.RECEIVED and seen_at is not None:
            seconds = (outcome.ended_at - seen_at).total_seconds()
            self._counters.time(message.channel, max(seconds, 0))

    def _prune(self) -> None:
        # All messages are looked through for it: before the transaction, which others wait for, not in it.
        outdated = outdated_messages(self._clock() - KEPT_FOR)
        with unit_of_work("messages-pruned"):
            pruned = sum(delete_delivered(batch) for batch in batches(outdated))
        self._prune_at = self._monotonic() + PRUNE_SECONDS
        if pruned:
            log.info("messages pruned", count=pruned)


def _written(write: Callable[..., Any], *arguments: Any) -> Any:
    """What `write` makes of an event; one that it can't write may not stop those behind it."""
    try:
        return write(*arguments)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise PermanentFailure(reason(f"the event can't be written: {error!r}")) from error


def _facts(message: Message) -> Mapping[str, Any]:
    event = message.event
    return {
        "payment": event.payment.reference,
        "event_type": event.type,
        "event_id": event.reference,
        "channel": message.channel,
        "attempt": message.attempts + 1,
    }
