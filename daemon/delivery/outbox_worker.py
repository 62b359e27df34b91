"""The outbox worker: it sends the messages in the database until their recipients have accepted them.

One thread reads the messages and stores the outcomes. Each message is sent in a short-lived thread. There is
a queue for emails, and a queue for each seller's webhook. A queue sends one message at a time, so a broken
endpoint delays no other queue.
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
from config.command import manage_command
from daemon import failpoint
from daemon.counters import Counters
from daemon.delivery.emails import EmailContent, EmailContext, render_email
from daemon.delivery.queue import (
    bring_forward,
    due_queues,
    mark_delayed,
    mark_delivered,
    mark_given_up,
    next_attempt,
    next_message,
)
from daemon.net.errors import PermanentFailure, TemporaryFailure, reason
from daemon.unit_of_work import unit_of_work
from daemon.worker import Worker, in_a_thread
from models.db.connection import chunked
from models.outbox import EMAIL, Event, Message, delete_delivered, prunable_messages
from payments.notifications import is_urgent, message_id, webhook_body
from payments.status import EventType

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0

MAX_IN_FLIGHT = 200
"""The limit of webhooks in flight to working endpoints. Each webhook uses a thread and a socket."""

MAX_IN_FLIGHT_TO_FAILING = 100
"""The limit of webhooks in flight to endpoints that failed the last time. The two limits are separate."""

PRUNE_SECONDS = 3600.0
KEPT_FOR = timedelta(days=30)


class SendsMail(Protocol):
    """The interface of `daemon.delivery.smtp.Mailer`."""

    def send(
        self, recipient: str, email: EmailContent, message_id: str, *, is_urgent: bool, now: datetime
    ) -> None:
        """Raise TemporaryFailure or PermanentFailure."""


class SendsWebhooks(Protocol):
    """The interface of `daemon.delivery.webhook.WebhookSender`."""

    def send(
        self,
        url: str,
        secrets: list[str],
        event_reference: str,
        body: bytes,
        now: datetime,
        *,
        is_public_only: bool = False,
    ) -> None:
        """Raise TemporaryFailure or PermanentFailure."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The outcome of an attempt. `failure` is None if the recipient accepted the message.

    Both `ended_at` and `retry_from` are the end of the attempt. `ended_at` is a time of day, and `retry_from`
    is a time of `_retry_time`.
    """

    message: Message
    failure: TemporaryFailure | PermanentFailure | None
    ended_at: datetime
    retry_from: datetime


class OutboxWorker(Worker):
    """A thread that sends the messages of the outbox.

    `clock` returns the time of day. `monotonic` returns seconds, which a change of the clock does not affect.
    Retries use `monotonic`.
    """

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
        super().__init__("outbox")
        self._settings = settings
        self._mailer = mailer
        self._webhooks = webhooks
        self._clock = clock
        self._monotonic = monotonic
        self._counters = counters
        self._start_thread = start_thread

        self._started_at = clock(), monotonic()
        self._on_their_way: set[str] = set()
        self._failing: set[str] = set()
        self._outcomes: deque[_Outcome] = deque()
        self._sends = count(1)
        self._last_sends: dict[str, int] = {}
        self._prune_at = monotonic()
        self._is_brought_forward = False

    def _pause(self) -> float:
        return POLL_SECONDS

    def _is_idle(self) -> bool:
        return not self._on_their_way

    def _turn(self) -> None:
        self._mark_outcomes()
        if self.is_stopping:
            return
        if not self._is_brought_forward:
            bring_forward(self._retry_time())
            self._is_brought_forward = True
        self._send_due()
        if self._monotonic() >= self._prune_at:
            self._prune()

    def _retry_time(self) -> datetime:
        """Return the time of day at the start, plus the seconds since then. A clock change has no effect."""
        started_at, started_seconds = self._started_at
        return started_at + timedelta(seconds=self._monotonic() - started_seconds)

    def _send_due(self) -> None:
        """Send the next message of each due queue: webhooks, then emails, whose text takes longer to write.

        Among the webhooks, the queue that has waited the longest comes first.
        """
        now = self._retry_time()
        free = [queue for queue in due_queues(now) if queue not in self._on_their_way]
        for queue in sorted(free, key=lambda name: (name == EMAIL, self._last_sends.get(name, 0))):
            if self._has_room(queue):
                self._send_next(queue, now)

    def _has_room(self, queue: str) -> bool:
        if queue == EMAIL:
            return True
        others = self._on_their_way - {EMAIL}
        if queue in self._failing:
            return len(others & self._failing) < MAX_IN_FLIGHT_TO_FAILING
        return len(others - self._failing) < MAX_IN_FLIGHT

    def _send_next(self, queue: str, now: datetime) -> None:
        message = next_message(queue, now)
        if message is None:
            # The first messages of this queue wait for other messages. The next turn reads the messages after
            # them.
            self.wake()
            return
        self._on_their_way.add(queue)
        self._last_sends[queue] = next(self._sends)
        try:
            self._start_thread(partial(self._deliver, message))
        except RuntimeError as error:
            # The system can start no more threads now.
            self._on_their_way.remove(queue)
            log.warning("message not begun", **_facts(message), reason=str(error))

    def _deliver(self, message: Message) -> None:
        """Send one message in a thread of its own. All other methods run in the worker's thread."""
        failure: TemporaryFailure | PermanentFailure | None = TemporaryFailure(
            "an error in Nodetill; its log has the details"
        )
        try:
            failpoint.reach(f"{message.channel}.to-be-sent")
            self._send(message)
            failpoint.reach(f"{message.channel}.sent")
            failure = None
        except (TemporaryFailure, PermanentFailure) as error:
            failure = error
        finally:
            # The outcome has its own time, because the database may accept it much later.
            self._outcomes.append(_Outcome(message, failure, self._clock(), self._retry_time()))
            self.wake()

    def _send(self, message: Message) -> None:
        event, seller, now = message.event, message.event.payment.seller, self._clock()
        event_type = _render(EventType, event.type)
        if message.channel == EMAIL:
            context = _context(event, self._settings)
            text = _render(render_email, event_type, event.payload, context)
            reference = message_id(event.reference, self._settings.mail_from)
            urgent = is_urgent(event_type)
            self._mailer.send(message.recipient, text, reference, is_urgent=urgent, now=now)
            return
        if seller.removed_at is not None or not seller.webhook_url:
            raise PermanentFailure("the seller has no webhook address any more")
        body = _render(webhook_body, event_type, event.created_at, event.payload)
        self._webhooks.send(
            seller.webhook_url,
            seller.signing_secrets,
            event.reference,
            body,
            now,
            is_public_only=seller.needs_public_address,
        )

    def _mark_outcomes(self) -> None:
        while self._outcomes:
            # The outcome stays in the list until it is stored. So a database error causes no second send.
            outcome = self._outcomes[0]
            log_outcome = self._mark(outcome)
            self._outcomes.popleft()
            queue = outcome.message.queue
            self._on_their_way.remove(queue)
            (self._failing.discard if outcome.failure is None else self._failing.add)(queue)
            log_outcome()

    def _mark(self, outcome: _Outcome) -> Callable[[], None]:
        """Store the outcome. Return the function that logs it, for a call after the outcome is committed."""
        message, failure = outcome.message, outcome.failure
        failpoint.reach("outcome.to-be-marked")
        if failure is None:
            mark_delivered(message, outcome.ended_at)
            return partial(self._log, log.info, "delivered", outcome)
        delay = next_attempt(message.attempts + 1, message.channel)
        if isinstance(failure, PermanentFailure) or delay is None:
            mark_given_up(message, str(failure), outcome.ended_at)
            return partial(self._log, log.error, "given up", outcome, reason=str(failure))
        mark_delayed(message, str(failure), outcome.retry_from + delay)
        again = {"reason": str(failure), "again_in_seconds": int(delay.total_seconds())}
        return partial(self._log, log.warning, "delayed", outcome, **again)

    def _log(self, write: Callable[..., Any], result: str, outcome: _Outcome, **more: Any) -> None:
        message = outcome.message
        write(f"message {result}", **_facts(message), **more)
        self._counters.add("deliveries", f"{message.channel} {result}")
        seen_at = message.event.payment.received_at
        if result == "delivered" and message.event.type == EventType.RECEIVED and seen_at is not None:
            seconds = (outcome.ended_at - seen_at).total_seconds()
            self._counters.time(message.channel, max(seconds, 0))

    def _prune(self) -> None:
        # The read comes before the transaction, because other writers wait for the transaction.
        outdated = prunable_messages(self._clock() - KEPT_FOR)
        with unit_of_work("messages-pruned"):
            pruned = sum(delete_delivered(batch) for batch in chunked(outdated))
        self._prune_at = self._monotonic() + PRUNE_SECONDS
        if pruned:
            log.info("messages pruned", count=pruned)


def _context(event: Event, settings: Settings) -> EmailContext:
    payment = event.payment
    page_url = f"{settings.public_url}/operator/payments/{payment.reference}"
    return EmailContext(
        explorer_url=settings.explorer_url,
        command=manage_command(),
        page_url="" if settings.operator_password is None else page_url,
        seller_name=payment.seller.name,
        seller_contact=payment.seller.email,
        late_text=event.late_text or "",
    )


def _render(render: Callable[..., Any], *arguments: Any) -> Any:
    """Return the result of `render`. Raise PermanentFailure on an error, so that the queue continues."""
    try:
        return render(*arguments)
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
