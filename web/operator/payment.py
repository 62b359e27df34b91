"""The operator's page of one payment request: its facts, transactions, timeline and open decisions."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from models.command import is_acceptance_pending, is_cancellation_pending, redeliveries_pending
from models.db.connection import snapshot
from models.decision import MAX_COMMENT_CHARACTERS, DecidedBy, Decision, DecisionKind, decisions_of
from models.outbox import WEBHOOK, Event, Message, events_of, messages_of_payment
from models.output import DROPPED, Output, outputs_at
from models.payment import PaymentRequest
from models.queries.attention import actions_for
from models.queries.failed_deliveries import failed_deliveries
from models.queries.pricing import late_money_of
from payments.cancellation import obstacle
from payments.link import LinkEvent
from payments.network import transaction_url
from payments.notifications import ReportedEvent, read_event_type
from payments.status import EventType, Status
from web.api.documents import document_of
from web.html.languages import bitcoin
from web.html.templates import template
from web.http.request import Request
from web.http.responses import Response
from web.operator.decisions import decision_moment, notice_of, payment_or_404
from web.operator.layout import operator_page
from web.operator.payment_list import NEEDS

_PAGE = template("operator_payment.tpl")

WORDS: Mapping[ReportedEvent, str] = MappingProxyType(
    {
        EventType.UNDERPAID: "A part received",
        EventType.RECEIVED: "Received",
        EventType.CONFIRMED: "Confirmed",
        EventType.EXPIRED: "Expired",
        EventType.LATE: "Late money received",
        EventType.REVERTED: "Taken back",
        EventType.EXTRA: "More money received",
        LinkEvent.PAID: "Its link is paid",
        LinkEvent.REVERTED: "Its link is no longer paid",
    }
)
"""The names of events in the timeline."""

_DECISIONS: Mapping[DecisionKind, str] = MappingProxyType(
    {
        DecisionKind.ACCEPTED: "Acceptance of the late money requested",
        DecisionKind.SETTLED: "Marked as done",
        DecisionKind.REOPENED: "“Mark as done” undone",
        DecisionKind.MARKED_PAID: "Marked by the shop as paid",
        DecisionKind.MARKED_INVALID: "Marked by the shop as invalid",
    }
)
_WAYS: Mapping[DecidedBy, str] = MappingProxyType(
    {
        DecidedBy.PAGE: "on the operator's page",
        DecidedBy.COMMAND: "by command",
        DecidedBy.API: "by the seller's key",
    }
)


@dataclass(frozen=True, slots=True)
class Moment:
    """An entry of the timeline. The entry of an event has the messages about it."""

    at: datetime
    words: str
    event: Event | None = None
    messages: tuple[Message, ...] = ()
    comment: str = ""


def show(request: Request, reference: str) -> Response:
    """GET /operator/payments/{id}."""
    settings = request.settings
    with snapshot():
        payment = payment_or_404(reference)
        outputs = outputs_at(payment.address_id)
        document = document_of(payment, settings)
        decisions = decisions_of(payment)
        late = late_money_of(payment, outputs, request.now, settings.rate_max_age, settings.rate_spread)
        moments = _timeline(payment, outputs, decisions)
        return operator_page(
            _PAGE,
            request,
            payment=document,
            revision=payment.revision,
            row=payment,
            needs=[NEEDS[need] for need in actions_for(payment)],
            late=late.sentences() if late else None,
            failed=failed_deliveries([payment])[reference],
            is_accepted=payment.late_accepted_at is not None or is_acceptance_pending(payment),
            is_cancellable=obstacle(Status(payment.status), payment.expires_at, request.now) is None,
            is_cancelling=is_cancellation_pending(payment),
            sent_again=redeliveries_pending(payment),
            moments=moments,
            has_many_endpoints=len(_endpoints(moments)) > 1,
            undo_at=_undo_at(decisions),
            notice=notice_of(request),
            is_payable=_is_payable(payment, request.now),
            is_dropped=any(output.state == DROPPED for output in outputs),
            to=f"operator/payments/{reference}",
            link_to=lambda txid: transaction_url(txid, document["network"], settings.explorer_url),
            most_comment=MAX_COMMENT_CHARACTERS,
        )


def _is_payable(payment: PaymentRequest, now: datetime) -> bool:
    return Status(payment.status) in (Status.NEW, Status.UNDERPAID) and now < payment.expires_at


def _undo_at(decisions: list[Decision]) -> str | None:
    """Return the moment of the last decision if the operator can undo it on this page, else None."""
    if not decisions:
        return None
    last = decisions[-1]
    is_undoable = last.kind == DecisionKind.SETTLED and last.by == DecidedBy.PAGE
    return decision_moment(last) if is_undoable else None


def _timeline(payment: PaymentRequest, outputs: list[Output], decisions: list[Decision]) -> list[Moment]:
    """Return all events, transactions and decisions, oldest first."""
    price = f"at {payment.price} {payment.currency} per bitcoin, from {payment.price_source}"
    moments = [Moment(payment.created_at, f"Created by {payment.seller_id}, {price}")]
    moments += [
        Moment(output.first_seen_at, f"{bitcoin(output.amount_sats)} seen, in {output.txid[:8]}…")
        for output in outputs
    ]
    events = events_of(payment)
    messages = messages_of_payment(payment)
    moments += [
        Moment(
            event.created_at,
            WORDS[read_event_type(event.type)],
            event,
            tuple(message for message in messages if message.event_id == event.id),
        )
        for event in events
    ]
    moments += [
        Moment(message.created_at, f"{message.event_type} for the shop's plug-in", messages=(message,))
        for message in messages
        if message.event_id is None
    ]
    moments += [Moment(each.at, _decided(each), comment=each.comment) for each in decisions]
    for at, words in (
        (payment.cancelled_at, "Cancelled"),
        (payment.late_accepted_at, "Late money accepted"),
        (payment.closed_at, "Closed. Nodetill still watches its address"),
    ):
        if at is not None:
            moments.append(Moment(at, words))
    return sorted(moments, key=lambda each: each.at)


def _endpoints(moments: list[Moment]) -> set[str]:
    """Return the references of the webhook endpoints that have messages."""
    messages = [message for moment in moments for message in moment.messages]
    return {message.recipient for message in messages if message.channel == WEBHOOK}


def _decided(decision: Decision) -> str:
    return f"{_DECISIONS[DecisionKind(decision.kind)]} {_WAYS[DecidedBy(decision.by)]}"
