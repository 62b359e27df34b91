"""The only writer of statuses, events and messages: it computes them from the facts of a request."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import structlog

from config import Settings
from daemon.chain.invoices import may_have_events, take_events
from daemon.chain.links import LinkChange, store_link_changes
from daemon.counters import Counters
from daemon.unit_of_work import UnitOfWork, unit_of_work
from models.daemon_status import known_network, update_report
from models.outbox import (
    add_email,
    add_event,
    add_invoice_message,
    add_webhook_message,
    outputs_in_last_event,
)
from models.output import Output, forget_outpoints_of, note_gaps, outputs_by_address
from models.payment import (
    PaymentRequest,
    is_any_waiting,
    payments_to_reassess,
    publish_heights,
    store_assessments,
)
from models.queries.links import link_references
from models.queries.pricing import late_money_of
from models.webhook import BTCPAY, STANDARD, Webhook, webhooks_for
from payments.document import payment_document
from payments.greenfield.events import Body
from payments.link import LinkEvent
from payments.notifications import should_email_operator
from payments.status import Assessment, EventType, LastKnownState, Status, assess, events_between

log = structlog.get_logger(__name__)

BATCH_SIZE = 200
"""Requests in one transaction. A web process that creates a request waits at most for so many."""


_NEEDS_A_DECISION = (EventType.LATE, EventType.REVERTED, EventType.EXTRA, LinkEvent.REVERTED)


class StatusConflict(Exception):
    """Another daemon has written a status in the same database. The process must stop."""


@dataclass(frozen=True, slots=True)
class _Change:
    """The assessment of a request, with its state before and the events of the change.

    `has_moved` means that another sum counts than before. `events` are for standard endpoints and emails, and
    `invoice_events` are for btcpay endpoints.
    `link_changes` has the change of the request's payment link, if there is one.
    """

    payment: PaymentRequest
    outputs: list[Output]
    before: LastKnownState
    after: Assessment
    has_moved: bool
    events: tuple[EventType, ...]
    invoice_events: list[Body] = field(default_factory=list)
    link_changes: list[LinkChange] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _ReportedChange:
    """A change that may have events, with the address of its request, and its seller's endpoints by kind.

    `link_id` is the public id of the request's payment link, or None.
    """

    change: _Change
    address: str
    link_id: str | None
    standard: list[Webhook]
    btcpay: list[Webhook]


@dataclass(frozen=True, slots=True)
class AssessedBatch:
    """The number of changes to report in a transaction, and whether no request is left to assess."""

    changes: int
    is_last: bool


@dataclass(frozen=True, slots=True)
class _StatusLine:
    """A log line, written after the commit."""

    event: str
    payment: str
    facts: dict[str, Any]


class Assessor:
    """Computes statuses from the facts, and stores them with their events and messages."""

    def __init__(self, settings: Settings, pulse: Callable[[], None], counters: Counters) -> None:
        """Call `pulse` between two transactions. Its exception leaves the rest for the next call."""
        self._settings = settings
        self._pulse = pulse
        self._counters = counters
        self._published_height: int | None = None
        self._published_look: datetime | None = None
        self.is_any_waiting = False
        """True if a request waits for the next complete look, because its deadline has passed."""

    def assess_due(self, tip_height: int, as_of: datetime, now: datetime) -> int:
        """Assess every request that may have changed, at this tip. Return the number of changes to report.

        `as_of` is the start of the last complete look at bitcoind. No request expires by a deadline after
        `as_of`. A request with a deadline between `as_of` and `now` waits for the next look.
        """
        is_published = (tip_height, as_of) == (self._published_height, self._published_look)
        # A read comes first, so that a call with nothing to do takes no write lock.
        if is_published and not payments_to_reassess(tip_height, as_of, 1, now=now):
            self.is_any_waiting = is_any_waiting(tip_height, as_of, now)
            return 0
        changes = 0
        while True:
            with unit_of_work("assessed") as work:
                batch = self.assess_batch(work, tip_height, as_of, now)
            changes += batch.changes
            if batch.is_last:
                return changes
            self._pulse()

    def assess_batch(
        self, work: UnitOfWork, tip_height: int, as_of: datetime, now: datetime
    ) -> AssessedBatch:
        """Assess the next BATCH_SIZE requests as `assess_due` does, inside the caller's unit of work."""
        payments = payments_to_reassess(tip_height, as_of, BATCH_SIZE, now=now)
        is_last = len(payments) < BATCH_SIZE
        self.is_any_waiting = is_last and is_any_waiting(tip_height, as_of, now)
        published_height = tip_height if is_last and not self.is_any_waiting else None
        # Readers use the published height, which moves with the last batch. Earlier rows keep theirs.
        is_published = published_height is not None
        changes = self._assess(work, payments, tip_height, as_of, now, is_published=is_published)
        if is_last:
            self._publish(published_height, as_of)
        lines = [line for change in changes for line in _lines(change)]
        work.after_commit(partial(self._note_commit, lines, published_height, as_of if is_last else None))
        return AssessedBatch(len(lines) + sum(len(change.invoice_events) for change in changes), is_last)

    def _note_commit(
        self, lines: Sequence[_StatusLine], published_height: int | None, published_look: datetime | None
    ) -> None:
        self._published_height = published_height
        self._published_look = published_look or self._published_look
        for line in lines:
            write = log.warning if line.event in _NEEDS_A_DECISION else log.info
            write(line.event, payment=line.payment, **line.facts)
            self._counters.add("events", line.event)

    def _publish(self, tip_height: int | None, as_of: datetime) -> None:
        """Store the height at which all statuses hold, if it is new, and the time of the complete look."""
        report: dict[str, Any] = {}
        if as_of != self._published_look:
            report["complete_look_at"] = as_of
        if tip_height not in (None, self._published_height):
            publish_heights()
            report["assessed_height"] = tip_height
        if report:
            update_report(**report)

    def _assess(
        self,
        work: UnitOfWork,
        payments: Sequence[PaymentRequest],
        tip_height: int,
        as_of: datetime,
        now: datetime,
        *,
        is_published: bool,
    ) -> list[_Change]:
        outputs = outputs_by_address([payment.address_id for payment in payments])
        changes = [_change(p, outputs.get(p.address_id, []), tip_height, as_of, now) for p in payments]
        for payment in payments:
            payment.unpublished_height = None if is_published else tip_height
        reports = self._reports(work, changes, tip_height, now)
        if not store_assessments(payments):
            raise StatusConflict("requests were assessed by another daemon at the same time")
        note_gaps([output for change in changes for output in change.outputs], now)
        forget_outpoints_of([o.txid for c in changes if c.after.is_closed for o in c.outputs], tip_height)
        self._store(reports, tip_height, now)
        by_id = {change.payment.id: change for change in changes}
        moved = {change.payment.id for change in changes if change.has_moved}
        for each in store_link_changes(payments, moved, tip_height, now, self._settings):
            by_id[each.payment.id].link_changes.append(each)
        return changes

    def _reports(
        self, work: UnitOfWork, changes: Sequence[_Change], tip_height: int, now: datetime
    ) -> list[_ReportedChange]:
        """Return the changes that have events, with their endpoints. Update `invoice_reported` of requests.

        One query finds the endpoints of both kinds.
        """
        some = [change for change in changes if change.events or may_have_events(change.payment)]
        if not some:
            return []
        webhooks = webhooks_for({change.payment.seller_id for change in some}, STANDARD, BTCPAY)
        some = [c for c in some if c.events or _of_kind(webhooks.get(c.payment.seller_id, ()), BTCPAY)]
        addresses = work.references_for({change.payment.address_id for change in some})
        links = link_references([change.payment for change in some])
        reports = []
        for change in some:
            payment = change.payment
            address, _ = addresses[payment.address_id]
            endpoints = webhooks.get(payment.seller_id, ())
            link_id = links.get(payment.link_id or 0)
            kinds = (_of_kind(endpoints, STANDARD), _of_kind(endpoints, BTCPAY))
            report = _ReportedChange(change, address, link_id, *kinds)
            if report.btcpay:
                before = change.before.status
                events = take_events(payment, before, change.outputs, address, tip_height, now)
                change.invoice_events.extend(events)
            reports.append(report)
        return reports

    def _store(self, reports: Sequence[_ReportedChange], tip_height: int, now: datetime) -> None:
        """Store the events with their messages."""
        with_events = [report for report in reports if report.change.events]
        if with_events:
            network = known_network()
            for report in with_events:
                self._add_events(report, network, tip_height, now)
        for report in reports:
            for webhook in report.btcpay:
                for body in report.change.invoice_events:
                    add_invoice_message(report.change.payment.id, webhook, body, now)

    def _add_events(
        self, report: _ReportedChange, network: str | None, tip_height: int, now: datetime
    ) -> None:
        change, payment = report.change, report.change.payment
        document = payment_document(
            payment,
            report.address,
            change.outputs,
            tip_height=tip_height,
            network=network,
            public_url=self._settings.public_url,
            link_reference=report.link_id,
        )
        late_text = self._late_text(change, now)
        for event_type in change.events:
            event_id = add_event(payment, event_type, document, now, late_text)
            if should_email_operator(event_type, document):
                add_email(event_id, payment.id, self._settings.operator_email, now)
            for webhook in report.standard:
                add_webhook_message(event_id, event_type.value, payment.id, webhook, now)

    def _late_text(self, change: _Change, now: datetime) -> str | None:
        """Return the sentence on late money. It is stored, so that each attempt sends the same email."""
        settings = self._settings
        late = late_money_of(change.payment, change.outputs, now, settings.rate_max_age, settings.rate_spread)
        return None if late is None else late.sentences(f"on {now:%Y-%m-%d} at {now:%H:%M} UTC")


def _change(
    payment: PaymentRequest, outputs: list[Output], tip_height: int, as_of: datetime, now: datetime
) -> _Change:
    """Assess a request, and set its new values. The caller stores them."""
    before, counted_before = payment.last_known_state, payment.counted_sats or 0
    after = assess(
        payment.terms,
        [output.received_output for output in outputs],
        tip_height=tip_height,
        as_of=as_of,
        was_confirmed=before.status is Status.CONFIRMED,
    )
    events = events_between(
        before,
        after,
        has_unreported_output=before.may_hide_new_output(after) and _has_unreported_output(payment, outputs),
    )
    payment.apply(after, now)
    if events:
        payment.notified_sats = after.received_sats
    has_moved = (payment.counted_sats or 0) != counted_before
    return _Change(payment, outputs, before, after, has_moved, events)


def _of_kind(webhooks: Iterable[Webhook], kind: str) -> list[Webhook]:
    return [webhook for webhook in webhooks if webhook.kind == kind]


def _has_unreported_output(payment: PaymentRequest, outputs: Sequence[Output]) -> bool:
    """Return whether the last event lacks a live output."""
    reported = outputs_in_last_event(payment)
    return any(
        output.received_output.is_live and (output.txid, output.vout) not in reported for output in outputs
    )


def _lines(change: _Change) -> list[_StatusLine]:
    """Return a log line for each event, or else for the new status, and for a close or a reopening."""
    before, after = change.before, change.after
    names = [event_type.value for event_type in change.events]
    if not names and before.status is not after.status:
        names.append("status changed")
    if before.is_closed is not after.is_closed:
        names.append("payment closed" if after.is_closed else "payment reopened")
    facts = {
        "seller": change.payment.seller_id,
        "status": after.status.value,
        "confirmations": after.confirmations,
        "received_sats": after.received_sats,
        "due_sats": after.due_sats,
        "txid": after.txid,
    }
    lines = [_StatusLine(name, change.payment.reference, facts) for name in names]
    for each in change.link_changes:
        of_link = {"seller": each.link.seller_id, "link": each.link.reference}
        lines.append(_StatusLine(each.event.value, change.payment.reference, of_link))
    return lines
