"""The outbox worker: it sends the messages in the database until their recipients have accepted them.

One thread reads the messages and stores the outcomes. Each message is sent in a short-lived thread. There is
a queue for emails, and a queue for each webhook endpoint. A queue sends one message at a time, so a broken
endpoint delays no other queue.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
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
from daemon.delivery.email_layout import EmailContent
from daemon.delivery.emails import EmailContext, render_email
from daemon.delivery.link_emails import render_link_email
from daemon.delivery.queue import (
    Attempt,
    clamp_retry_times,
    due_queues,
    mark_delayed,
    mark_delivered,
    mark_extra_attempt,
    mark_given_up,
    next_attempt,
    next_message,
)
from daemon.delivery.webhook_messages import SendsWebhooks, rendered, send_webhook
from daemon.net.errors import PermanentFailure, TemporaryFailure
from daemon.unit_of_work import unit_of_work
from daemon.worker import Worker, start_daemon_thread
from models.db.connection import chunked
from models.outbox import EMAIL, Message, delete_done, prunable_messages
from models.webhook import BTCPAY
from payments.greenfield.delivery import (
    MAX_REFUSALS,
    is_final_refusal,
    is_server_error,
)
from payments.link import LinkEvent, LinkStatus
from payments.notifications import is_urgent, message_id, read_event_type
from payments.status import EventType

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0

MAX_IN_FLIGHT = 200
"""The maximum number of webhooks in flight to working endpoints. Each uses a thread and a socket."""

MAX_IN_FLIGHT_TO_FAILING = 100
"""The maximum number of webhooks in flight to endpoints that failed last time. Both limits are separate."""

PRUNE_SECONDS = 3600.0
KEPT_FOR = timedelta(days=30)


class MailSender(Protocol):
    """The interface of `daemon.delivery.smtp.Mailer`."""

    def send(
        self, recipient: str, email: EmailContent, message_id: str, *, is_urgent: bool, now: datetime
    ) -> None:
        """Raise TemporaryFailure or PermanentFailure."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The outcome of an attempt. `failure` is None if the recipient accepted the message.

    Both `ended_at` and `retry_from` are the end of the attempt. `ended_at` is a time of day, and `retry_from`
    is a time of `_retry_time`. `http_code` is the status of an HTTP response, or None without a response.
    """

    message: Message
    failure: TemporaryFailure | PermanentFailure | None
    http_code: int | None
    ended_at: datetime
    retry_from: datetime

    @property
    def attempt(self) -> Attempt:
        error = None if self.failure is None else str(self.failure)
        return Attempt(self.ended_at, self.retry_from, self.http_code, error)

    @property
    def counts(self) -> dict[str, int]:
        """Return the message's counts of HTTP errors, increased by this outcome."""
        code, message = self.http_code, self.message
        if code is not None and is_server_error(code):
            return {"server_errors": message.server_errors + 1}
        if code is not None and is_final_refusal(code):
            return {"refusals": message.refusals + 1}
        return {}

    def is_last(self) -> bool:
        """Return whether no other attempt follows this failure, even if the schedule has one."""
        webhook = self.message.webhook if self.message.webhook_id is not None else None
        if isinstance(self.failure, PermanentFailure) or self.message.is_test:
            return True
        if webhook is None:
            return False
        is_refused = webhook.kind == BTCPAY and self.counts.get("refusals", 0) >= MAX_REFUSALS
        return is_refused or not webhook.automatic_redelivery


class OutboxWorker(Worker):
    """A thread that sends the messages of the outbox.

    `clock` returns the time of day. `monotonic` returns seconds that no change of the clock affects.
    Retries use `monotonic`.
    """

    def __init__(
        self,
        settings: Settings,
        mailer: MailSender,
        webhooks: SendsWebhooks,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
        counters: Counters,
        start_thread: Callable[[Callable[[], None]], None] = start_daemon_thread,
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
        self._in_flight: set[str] = set()
        self._failing: set[str] = set()
        self._outcomes: deque[_Outcome] = deque()
        self._sends = count(1)
        self._last_sends: dict[str, int] = {}
        self._prune_at = monotonic()
        self._are_retries_clamped = False

    def _pause(self) -> float:
        return POLL_SECONDS

    def _is_idle(self) -> bool:
        return not self._in_flight

    def _step(self) -> None:
        self._mark_outcomes()
        if self.is_stopping:
            return
        if not self._are_retries_clamped:
            clamp_retry_times(self._retry_time())
            self._are_retries_clamped = True
        self._send_due()
        if self._monotonic() >= self._prune_at:
            self._prune()

    def _retry_time(self) -> datetime:
        """Return the time of day at the start, plus the seconds since then. A clock change has no effect."""
        started_at, started_seconds = self._started_at
        return started_at + timedelta(seconds=self._monotonic() - started_seconds)

    def _send_due(self) -> None:
        """Send the next message of each due queue: first webhooks, then emails, which take longer to write.

        The webhook queue that has waited the longest comes first.
        """
        now = self._retry_time()
        free = [queue for queue in due_queues(now) if queue not in self._in_flight]
        for queue in sorted(free, key=lambda name: (name == EMAIL, self._last_sends.get(name, 0))):
            if self._has_room(queue):
                self._send_next(queue, now)

    def _has_room(self, queue: str) -> bool:
        if queue == EMAIL:
            return True
        others = self._in_flight - {EMAIL}
        if queue in self._failing:
            return len(others & self._failing) < MAX_IN_FLIGHT_TO_FAILING
        return len(others - self._failing) < MAX_IN_FLIGHT

    def _send_next(self, queue: str, now: datetime) -> None:
        message = next_message(queue, now)
        if message is None:
            # The first messages of this queue wait for other messages. The next step reads the messages after
            # them.
            self.wake()
            return
        self._in_flight.add(queue)
        self._last_sends[queue] = next(self._sends)
        try:
            self._start_thread(partial(self._deliver, message))
        except RuntimeError as error:
            # The system can start no more threads now.
            self._in_flight.remove(queue)
            log.warning("message not begun", **_facts(message), reason=str(error))

    def _deliver(self, message: Message) -> None:
        """Send one message in a thread of its own. All other methods run in the worker's thread."""
        failure: TemporaryFailure | PermanentFailure | None = TemporaryFailure(
            "an error in Nodetill; its log has the details"
        )
        http_code = None
        try:
            failpoint.reach(f"{message.channel}.to-be-sent")
            http_code = self._send(message)
            failpoint.reach(f"{message.channel}.sent")
            failure = None
        except (TemporaryFailure, PermanentFailure) as error:
            failure, http_code = error, error.status
        finally:
            # The outcome has its own time, because the database may accept it much later.
            self._outcomes.append(_Outcome(message, failure, http_code, self._clock(), self._retry_time()))
            self.wake()

    def _send(self, message: Message) -> int | None:
        """Send the message. Return the status of a webhook's HTTP response."""
        if message.channel != EMAIL:
            return send_webhook(self._webhooks, message, self._clock())
        event = message.event
        event_type = rendered(read_event_type, event.type)
        context = _context(message, self._settings, self._clock())
        render = render_link_email if isinstance(event_type, LinkEvent) else render_email
        text = rendered(render, event_type, event.payload, context)
        reference = message_id(event.reference, self._settings.mail_from)
        urgent = is_urgent(event_type)
        self._mailer.send(message.recipient, text, reference, is_urgent=urgent, now=self._clock())
        return None

    def _mark_outcomes(self) -> None:
        while self._outcomes:
            # The outcome stays in the list until it is stored. So a database error causes no second send.
            outcome = self._outcomes[0]
            log_outcome = self._mark(outcome)
            self._outcomes.popleft()
            queue = outcome.message.queue
            self._in_flight.remove(queue)
            (self._failing.discard if outcome.failure is None else self._failing.add)(queue)
            log_outcome()

    def _mark(self, outcome: _Outcome) -> Callable[[], None]:
        """Store the outcome. Return the function that logs it, for a call after the outcome is committed."""
        message, failure = outcome.message, outcome.failure
        failpoint.reach("outcome.to-be-marked")
        if failure is None:
            superseded = mark_delivered(message, outcome.attempt)
            return partial(self._log_delivered, outcome, superseded)
        if message.hurried_from is not None and not outcome.is_last():
            mark_extra_attempt(message, outcome.attempt, **outcome.counts)
            return partial(self._log, log.warning, "delayed", outcome, reason=str(failure))
        delay = next_attempt(message.attempts + 1, message.channel)
        if delay is None or outcome.is_last():
            mark_given_up(message, outcome.attempt, **outcome.counts)
            return partial(self._log, log.error, "given up", outcome, reason=str(failure))
        mark_delayed(message, outcome.attempt, outcome.retry_from + delay, **outcome.counts)
        again = {"reason": str(failure), "again_in_seconds": int(delay.total_seconds())}
        return partial(self._log, log.warning, "delayed", outcome, **again)

    def _log_delivered(self, outcome: _Outcome, superseded: Sequence[Message]) -> None:
        self._log(log.info, "delivered", outcome)
        for message in superseded:
            log.warning("message superseded", **_facts(message), by=outcome.message.event_type)

    def _log(self, write: Callable[..., Any], result: str, outcome: _Outcome, **more: Any) -> None:
        message = outcome.message
        if message.is_test:
            log.info("webhook tested", **_facts(message), http_code=outcome.http_code, **more)
            return
        write(f"message {result}", **_facts(message), **more)
        self._counters.add("deliveries", f"{message.channel} {result}")
        seen_at = message.payment.received_at
        is_news = message.event_id is not None and message.event.type == EventType.RECEIVED
        if result == "delivered" and is_news and seen_at is not None:
            seconds = (outcome.ended_at - seen_at).total_seconds()
            self._counters.time(message.channel, max(seconds, 0))

    def _prune(self) -> None:
        # The read comes before the transaction, because other writers wait for the transaction.
        outdated = prunable_messages(self._clock() - KEPT_FOR)
        with unit_of_work("messages-pruned"):
            pruned = sum(delete_done(batch) for batch in chunked(outdated))
        self._prune_at = self._monotonic() + PRUNE_SECONDS
        if pruned:
            log.info("messages pruned", count=pruned)


def _context(message: Message, settings: Settings, now: datetime) -> EmailContext:
    event, payment = message.event, message.payment
    link_id = event.payload.get("link_id") if event.type in list(LinkEvent) else None
    path = f"payments/{payment.reference}" if link_id is None else f"links/{link_id}"
    page_url = f"{settings.public_url}/operator/{path}"
    return EmailContext(
        explorer_url=settings.explorer_url,
        command=manage_command(),
        page_url="" if settings.operator_password is None else page_url,
        seller_name=payment.seller.name,
        seller_contact=payment.seller.email,
        late_text=event.late_text or "",
        link_status=_invoice_status(message, now),
    )


def _invoice_status(message: Message, now: datetime) -> LinkStatus | None:
    """Return the status of the payment's single-use link, or None.

    The links of a removed seller are closed.
    """
    found = message.link_facts
    if found is None or found.link.is_reusable:
        return None
    status = found.status(now)
    is_covered = status in (LinkStatus.PROCESSING, LinkStatus.PAID)
    is_closed = message.payment.seller.removed_at is not None
    return LinkStatus.CLOSED if is_closed and not is_covered else status


def _facts(message: Message) -> Mapping[str, Any]:
    endpoint = {} if message.webhook_id is None else {"webhook": message.recipient}
    return {
        "payment": None if message.is_test else message.payment.reference,
        "event_type": message.event_type,
        "event_id": message.event_reference,
        "channel": message.channel,
        "attempt": message.attempts + 1,
        **endpoint,
    }
