"""The events of an invoice in BTCPay's form: the difference between its facts and what was reported.

Endpoints of the kind `btcpay` receive these events. The sequence of the events matters, because some plug-ins
set the status of a shop's order by the event alone:

    InvoiceCreated
    InvoiceReceivedPayment   each output, once; before InvoiceExpired if it came in time
    InvoiceProcessing        the money covers the invoice
    InvoicePaymentSettled    each output of the cover that is deep enough, once, just before InvoiceSettled
    InvoiceSettled           confirmed, or marked by hand
    InvoiceExpired, InvoiceExpiredPaidPartial
    InvoiceInvalid           the money came and is gone, or marked by hand

InvoiceProcessing precedes each InvoiceSettled that reports money, because without it the plug-in of
WooCommerce does not complete an expired order. A mark by hand is no money, so its InvoiceSettled has no
InvoiceProcessing. Only InvoiceInvalid can follow InvoiceSettled. No event reports extra money or a smaller
depth, because a plug-in could change a paid order back to unpaid.

A fee bump brings a new output, so InvoiceReceivedPayment names the new payment. No event reports money that
is gone before the expiry, and InvoiceProcessing can come a second time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from payments.greenfield.facts import InvoiceFacts, id_of, metadata_of
from payments.greenfield.payment_methods import ON_CHAIN, SETTLED, output_document, payment_status
from payments.greenfield.state import InvoiceState, InvoiceStatus, is_overpaid, state_of
from payments.status import ReceivedOutput, Status

Body = dict[str, Any]
"""An event as JSON values. `delivery_body` adds the ids of the delivery."""


class InvoiceEvent(StrEnum):
    CREATED = "InvoiceCreated"
    RECEIVED_PAYMENT = "InvoiceReceivedPayment"
    PROCESSING = "InvoiceProcessing"
    PAYMENT_SETTLED = "InvoicePaymentSettled"
    SETTLED = "InvoiceSettled"
    EXPIRED = "InvoiceExpired"
    EXPIRED_PAID_PARTIAL = "InvoiceExpiredPaidPartial"
    INVALID = "InvoiceInvalid"


@dataclass(frozen=True, slots=True)
class Reported:
    """The content of all events so far: the status, and the ids of the payments that they named.

    `received` has the ids in InvoiceReceivedPayment, and `settled` has the ids in InvoicePaymentSettled.
    `status` becomes New again if the money is gone before the expiry.
    """

    status: InvoiceStatus = InvoiceStatus.NEW
    received: frozenset[str] = frozenset()
    settled: frozenset[str] = frozenset()

    @classmethod
    def from_document(cls, document: Mapping[str, Any] | None) -> "Reported | None":
        """Return the report from its stored form, or None if nothing was reported."""
        if document is None:
            return None
        received, settled = frozenset(document["received"]), frozenset(document["settled"])
        return cls(InvoiceStatus(document["status"]), received, settled)

    @property
    def document(self) -> dict[str, Any]:
        """Return the stored form, as JSON values."""
        return {
            "status": self.status.value,
            "received": sorted(self.received),
            "settled": sorted(self.settled),
        }


def events_since(
    facts: InvoiceFacts, reported: Reported | None, now: datetime
) -> tuple[list[Body], Reported]:
    """Return the events of an invoice since the last report, in their sequence, and the new report.

    Unchanged facts give no event.
    """
    report = _Report(facts, reported or Reported(), now)
    if reported is None:
        report.add(InvoiceEvent.CREATED, at=facts.created_at)
    report.compare()
    return report.events, report.reported


def report_of_ended(
    status: Status, *, was_covered: bool, known_payments: Iterable[str] = ()
) -> Reported | None:
    """Return the first report of a request that ended before its seller's first endpoint was added.

    The endpoint receives no events of this request's past. `status` is the request's status before the
    present change, and `known_payments` are the ids of its payments at that time. Return None for a request
    that has not ended, because the endpoint receives all events of that request.
    """
    known = frozenset(known_payments)
    if status is Status.CONFIRMED:
        return Reported(InvoiceStatus.SETTLED, known, known)
    if status is Status.EXPIRED:
        return Reported(InvoiceStatus.INVALID if was_covered else InvoiceStatus.EXPIRED, known)
    return None


class _Report:
    """Collects the events of one comparison."""

    def __init__(self, facts: InvoiceFacts, before: Reported, now: datetime) -> None:
        self._facts = facts
        self._before = before
        self._now = now
        self._state = state_of(facts)
        self._status = before.status
        self._settled = before.settled
        self.events: list[Body] = []

    @property
    def reported(self) -> Reported:
        """Return the new report. Money that came after InvoiceSettled counts as reported."""
        live = {id_of(output) for output in self._facts.live_outputs}
        return Reported(self._status, self._before.received | live, self._settled)

    def compare(self) -> None:
        if self._status is InvoiceStatus.SETTLED and self._state.status is not InvoiceStatus.INVALID:
            return
        in_time, late = self._new_payments()
        self._add_received(in_time, after_expiration=False)
        self._add_status()
        self._add_received(late, after_expiration=True)

    def add(self, event: InvoiceEvent, *, at: datetime | None = None, **members: Any) -> None:
        """Add an event. `at` is the time of the event, by default `now`."""
        facts = self._facts
        self.events.append(
            {
                "type": event.value,
                "timestamp": int((at or self._now).timestamp()),
                "storeId": facts.store_id,
                "invoiceId": facts.invoice_id,
                "metadata": metadata_of(facts),
                **members,
            }
        )

    def _new_payments(self) -> tuple[list[ReceivedOutput], list[ReceivedOutput]]:
        """Return the outputs that no event has reported: first those in time, then those after the end."""
        new = [o for o in self._facts.live_outputs if id_of(o) not in self._before.received]
        if not self._state.status.is_ended:
            return new, []
        if (
            self._before.status is not InvoiceStatus.NEW
            and self._before.status is not InvoiceStatus.PROCESSING
        ):
            return [], new
        expires_at = self._facts.terms.expires_at
        return [o for o in new if o.present_since <= expires_at], [
            o for o in new if o.present_since > expires_at
        ]

    def _add_received(self, outputs: Iterable[ReceivedOutput], *, after_expiration: bool) -> None:
        for output in outputs:
            status = payment_status(self._facts, output)
            self._add_payment(InvoiceEvent.RECEIVED_PAYMENT, output, status, after_expiration)

    def _add_payment(
        self, event: InvoiceEvent, output: ReceivedOutput, status: str, after_expiration: bool
    ) -> None:
        self.add(
            event,
            afterExpiration=after_expiration,
            paymentMethodId=ON_CHAIN,
            paymentMethod=ON_CHAIN,
            payment=output_document(self._facts, output, status),
        )

    def _add_status(self) -> None:
        """Add the events of the present state, unless an earlier event reported this state."""
        state = self._state
        match state.status:
            case InvoiceStatus.NEW:
                if self._status is InvoiceStatus.PROCESSING:
                    self._status = InvoiceStatus.NEW
                return
            case before if before is self._status:
                return
            case InvoiceStatus.PROCESSING:
                self._add_processing()
            case InvoiceStatus.SETTLED:
                self._add_settled(state)
            case InvoiceStatus.EXPIRED if self._status is not InvoiceStatus.INVALID:
                self._add_expired()
            case InvoiceStatus.INVALID:
                self.add(InvoiceEvent.INVALID, manuallyMarked=state.is_marked)
            case _:
                return
        self._status = state.status

    def _add_processing(self) -> None:
        self.add(InvoiceEvent.PROCESSING, overPaid=is_overpaid(self._facts))

    def _add_settled(self, state: InvoiceState) -> None:
        if not state.is_marked:
            if self._status is not InvoiceStatus.PROCESSING:
                self._add_processing()
            self._add_settled_payments()
        self.add(InvoiceEvent.SETTLED, manuallyMarked=state.is_marked, overPaid=is_overpaid(self._facts))

    def _add_settled_payments(self) -> None:
        for output in self._facts.settled_outputs:
            if self._facts.terms.accepts(output) and id_of(output) not in self._settled:
                self._add_payment(InvoiceEvent.PAYMENT_SETTLED, output, SETTLED, after_expiration=False)
                self._settled |= {id_of(output)}

    def _add_expired(self) -> None:
        expires_at = self._facts.terms.expires_at
        is_partial = any(o.present_since <= expires_at for o in self._facts.live_outputs)
        self.add(InvoiceEvent.EXPIRED, partiallyPaid=is_partial)
        if is_partial:
            self.add(InvoiceEvent.EXPIRED_PAID_PARTIAL)
