"""The operator's page of one payment request: its facts, transactions, timeline and actions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from types import MappingProxyType

import structlog

from models.command import is_acceptance_pending, redeliveries_pending
from models.db.connection import snapshot
from models.outbox import Event, Message, events_of, messages_of
from models.output import Output, outputs_at
from models.payment import PaymentRequest, payment_by_reference
from models.queries.attention import ActionNeeded, acknowledge, actions_for
from payments.network import transaction_url
from payments.status import EventType
from web.api.documents import document_of
from web.api.events import send_again
from web.api.payments import leave_acceptance
from web.html.templates import template
from web.http.request import Request
from web.http.responses import Content, Problem, not_found
from web.operator.layout import bitcoin, operator_page, see_other
from web.operator.payment_list import NEEDS

log = structlog.get_logger(__name__)

_PAGE = template("operator_payment.tpl")
_OPERATOR = "operator"

WORDS: Mapping[EventType, str] = MappingProxyType(
    {
        EventType.UNDERPAID: "A part received",
        EventType.RECEIVED: "Received",
        EventType.CONFIRMED: "Confirmed",
        EventType.EXPIRED: "Expired",
        EventType.LATE: "Late money received",
        EventType.REVERTED: "Taken back",
        EventType.EXTRA: "More money received",
    }
)
"""The names of events in the timeline."""


@dataclass(frozen=True, slots=True)
class Moment:
    """An entry of the timeline. An event has its messages."""

    at: datetime
    words: str
    event: Event | None = None
    messages: tuple[Message, ...] = ()


def show(call: Request, reference: str) -> Content:
    """GET /operator/payments/{id}."""
    with snapshot():
        payment = _payment(reference)
        outputs = outputs_at(payment.address_id)
        document = document_of(payment, call.settings)
        return operator_page(
            _PAGE,
            call,
            payment=document,
            revision=payment.revision,
            row=payment,
            needs=[NEEDS[need] for need in actions_for(payment)],
            is_accepted=payment.late_accepted_at is not None or is_acceptance_pending(payment),
            sent_again=redeliveries_pending(payment),
            moments=_timeline(payment, outputs),
            link_to=lambda txid: transaction_url(txid, document["network"], call.settings.explorer_url),
        )


def accept(call: Request, reference: str) -> Content:
    """POST /operator/payments/{id}/accept: request that the daemon counts late money, as the API does."""
    leave_acceptance(call, _payment(reference), by=_OPERATOR)
    return _back(call, reference)


def redeliver(call: Request, reference: str, event_reference: str, channel: str) -> Content:
    """POST /operator/payments/{id}/events/{event_id}/{channel}: request that the daemon sends it again."""
    payment = _payment(reference)
    messages = messages_of(event for event in events_of(payment) if event.reference == event_reference)
    wanted = [message for message in messages if message.channel == channel]
    if not wanted:
        raise not_found()
    for message in wanted:
        send_again(call, payment, message, by=_OPERATOR)
    return _back(call, reference)


def mark_settled(call: Request, reference: str) -> Content:
    """POST /operator/payments/{id}/settle: acknowledge all that the form showed."""
    shown = call.visitor.form.get("revision", "")
    if not _acknowledge(call, [(_payment(reference), shown)]):
        detail = "this payment has changed since the page was loaded; look at it again, then decide"
        raise Problem(HTTPStatus.CONFLICT, "has-changed", detail)
    return _back(call, reference)


def mark_all_settled(call: Request) -> Content:
    """POST /operator/settle: acknowledge a whole list. A payment that has changed since stays on it."""
    form = call.visitor.form
    found = [(payment_by_reference(name), shown) for name, shown in form.items()]
    _acknowledge(call, [(payment, shown) for payment, shown in found if payment is not None])
    needs = form.get("needs", "")
    return see_other(f"?needs={needs}" if needs in list(ActionNeeded) else "", call)


def _acknowledge(call: Request, listed: Iterable[tuple[PaymentRequest, str]]) -> int:
    """Acknowledge the payments that still have the revision on the page. Return their number."""
    unchanged = [payment for payment, shown in listed if shown == str(payment.revision)]
    if not unchanged:
        return 0
    with call.writers.transaction():
        done = [payment for payment in unchanged if acknowledge(payment, payment.revision, call.now)]
    for payment in done:
        log.info("payment settled", payment=payment.reference, by=_OPERATOR)
    return len(done)


def _payment(reference: str) -> PaymentRequest:
    """Return the request of that id. Raise Problem 404."""
    payment = payment_by_reference(reference)
    if payment is None:
        raise not_found()
    return payment


def _back(call: Request, reference: str) -> Content:
    """Redirect to the payment's page, which shows the effect of the command."""
    return see_other(f"operator/payments/{reference}", call)


def _timeline(payment: PaymentRequest, outputs: list[Output]) -> list[Moment]:
    """Return all events, transactions and decisions, oldest first."""
    price = f"at {payment.price} {payment.currency} per bitcoin, from {payment.price_source}"
    moments = [Moment(payment.created_at, f"Created by {payment.seller_id}, {price}")]
    moments += [
        Moment(output.first_seen_at, f"{bitcoin(output.amount_sats)} seen, in {output.txid[:8]}…")
        for output in outputs
    ]
    events = events_of(payment)
    messages = messages_of(events)
    moments += [
        Moment(
            event.created_at,
            WORDS[EventType(event.type)],
            event,
            tuple(message for message in messages if message.event_id == event.id),
        )
        for event in events
    ]
    for at, words in (
        (payment.late_accepted_at, "Late money accepted"),
        (payment.closed_at, "Closed. Its address stays watched for ever"),
    ):
        if at is not None:
            moments.append(Moment(at, words))
    return sorted(moments, key=lambda each: each.at)
