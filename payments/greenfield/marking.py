"""Marks by hand: a shop declares that an invoice is settled or invalid (POST /invoices/{id}/status)."""

from dataclasses import dataclass, replace
from datetime import datetime

from payments.greenfield.facts import InvoiceFacts, Mark
from payments.greenfield.state import InvoiceState, InvoiceStatus, state_of
from payments.status import assess


class MarkingError(ValueError):
    """The shop asked for a status that the invoice cannot get. The message has the allowed values."""


@dataclass(frozen=True, slots=True)
class Marking:
    """The effect of a mark by hand: the new value of `marked`, or the acceptance of late money."""

    mark: Mark | None
    accepts_late_money: bool = False


def markable(state: InvoiceState) -> tuple[InvoiceStatus, ...]:
    """Return `availableStatusesForManualMarking`, by BTCPay's rules."""
    match state.status:
        case InvoiceStatus.SETTLED:
            return (InvoiceStatus.INVALID,) if state.is_marked else ()
        case InvoiceStatus.INVALID:
            return (InvoiceStatus.SETTLED,)
    return InvoiceStatus.SETTLED, InvoiceStatus.INVALID


def read_marking(facts: InvoiceFacts, wanted: object) -> Marking:
    """Return the effect of the status that a shop wants. Ignore case. Raise MarkingError.

    If late money covers an expired invoice, the mark "Settled" accepts this money, and the money then counts.
    Any other mark is only the shop's claim, and changes no amount.
    """
    allowed = markable(state_of(facts))
    by_name = {status.value.lower(): status for status in allowed}
    status = by_name.get(wanted.strip().lower()) if isinstance(wanted, str) else None
    if status is None:
        names = " or ".join(allowed) if allowed else "nothing else, because the money is confirmed"
        raise MarkingError(f"must be {names} for an invoice that is {state_of(facts).status}")
    if status is InvoiceStatus.INVALID:
        return Marking(Mark.INVALID)
    is_money_waiting = facts.is_late and not facts.status.is_covered
    return Marking(None, accepts_late_money=True) if is_money_waiting else Marking(Mark.SETTLED)


def with_late_money(facts: InvoiceFacts, as_of: datetime) -> InvoiceFacts:
    """Return the facts after the late money of an expired invoice is accepted."""
    terms = replace(facts.terms, is_late_accepted=True)
    assessed = assess(terms, facts.outputs, tip_height=facts.tip_height, as_of=as_of, was_confirmed=False)
    return replace(facts, terms=terms, status=assessed.status, mark=None)
