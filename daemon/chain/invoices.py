"""The events of invoices for the endpoints of the kind `btcpay` (docs/greenfield.md 3)."""

from collections.abc import Sequence
from datetime import datetime

from models.outbox import outputs_in_last_event
from models.output import Output
from models.payment import PaymentRequest
from payments.greenfield.events import Body, Reported, events_since, report_of_ended
from payments.greenfield.facts import invoice_facts
from payments.status import Status


def may_have_events(payment: PaymentRequest) -> bool:
    """Return whether an invoice may have events although its request has none.

    This is so if the invoice is new, was reported before, or is marked by hand.
    """
    return payment.invoice_reported is not None or payment.marked is not None or not payment.revision


def take_events(
    payment: PaymentRequest,
    status_before: Status,
    outputs: Sequence[Output],
    address: str,
    tip_height: int,
    now: datetime,
) -> list[Body]:
    """Return the new events of an invoice, and add them to `invoice_reported`. The caller stores both.

    The request must have its new status and still its old revision.
    """
    facts = invoice_facts(
        payment, address, [output.received_output for output in outputs], tip_height=tip_height
    )
    events, reported = events_since(facts, _reported(payment, status_before, now), now)
    payment.invoice_reported = reported.document
    return events


def _reported(payment: PaymentRequest, status_before: Status, now: datetime) -> Reported | None:
    """Return the last report. A request that ended before the first endpoint counts as reported."""
    is_known = payment.invoice_reported is not None or not payment.revision
    if is_known or status_before not in (Status.CONFIRMED, Status.EXPIRED):
        return Reported.from_document(payment.invoice_reported)
    known = [f"{txid}-{vout}" for txid, vout in outputs_in_last_event(payment)]
    was_covered = payment.first_covered_at is not None and payment.first_covered_at < now
    return report_of_ended(status_before, was_covered=was_covered, known_payments=known)
