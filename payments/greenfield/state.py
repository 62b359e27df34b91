"""The state of an invoice, as BTCPay's plug-ins read it: `status` and `additionalStatus`.

There is no second state machine. `state_of` translates the status that `payments.status.assess` returned:

    status of the request             status       additionalStatus
    new                               New          None
    underpaid                         New          PaidPartial
    received, confirming              Processing   None or PaidOver
    confirmed                         Settled      None or PaidOver
    expired, nothing came             Expired      None
    expired, part came                Expired      PaidPartial
    expired, late money under review  Expired      PaidPartial
    late money accepted               Processing, then Settled, as above
    was covered, lost it, not expired New          None or PaidPartial
    was covered, lost it, expired     Invalid      None
    was confirmed, lost its cover     Invalid      None, at once
    left its block, in the mempool    Processing   None or PaidOver
    marked by hand                    Settled or Invalid   Marked, whatever the money does

`PaidLate` never occurs, because plug-ins treat it as paid, and late money under review does not count.
"""

from dataclasses import dataclass
from enum import StrEnum

from payments.greenfield.facts import InvoiceFacts, Mark
from payments.money import DUST_LIMIT_SATS
from payments.status import Status

MIN_OVERPAID_SATS = DUST_LIMIT_SATS
"""The minimum surplus. Nobody can send back less, and the plug-in of Magento bills no overpaid order."""


class InvoiceStatus(StrEnum):
    NEW = "New"
    PROCESSING = "Processing"
    SETTLED = "Settled"
    EXPIRED = "Expired"
    INVALID = "Invalid"

    @property
    def is_ended(self) -> bool:
        """Return whether no payment is expected, so that later money is late."""
        return self in (InvoiceStatus.EXPIRED, InvoiceStatus.INVALID)


class AdditionalStatus(StrEnum):
    NONE = "None"
    PAID_PARTIAL = "PaidPartial"
    PAID_OVER = "PaidOver"
    MARKED = "Marked"


@dataclass(frozen=True, slots=True)
class InvoiceState:
    status: InvoiceStatus
    additional: AdditionalStatus = AdditionalStatus.NONE

    @property
    def is_marked(self) -> bool:
        return self.additional is AdditionalStatus.MARKED


_MARKED = {Mark.SETTLED: InvoiceStatus.SETTLED, Mark.INVALID: InvoiceStatus.INVALID}
_COVERED = {
    Status.RECEIVED: InvoiceStatus.PROCESSING,
    Status.CONFIRMING: InvoiceStatus.PROCESSING,
    Status.CONFIRMED: InvoiceStatus.SETTLED,
}


def state_of(facts: InvoiceFacts) -> InvoiceState:
    """Return the state by the table above."""
    status = invoice_status(
        facts.status, facts.mark, was_covered=facts.was_covered, was_confirmed=facts.was_confirmed
    )
    if facts.mark is not None:
        return InvoiceState(status, AdditionalStatus.MARKED)
    if facts.status.is_covered:
        over = AdditionalStatus.PAID_OVER if is_overpaid(facts) else AdditionalStatus.NONE
        return InvoiceState(status, over)
    is_part = facts.received_sats and status is not InvoiceStatus.INVALID
    return InvoiceState(status, AdditionalStatus.PAID_PARTIAL if is_part else AdditionalStatus.NONE)


def invoice_status(
    status: Status, mark: Mark | None, *, was_covered: bool, was_confirmed: bool
) -> InvoiceStatus:
    """Return the member `status` of an invoice, without its outputs."""
    if mark is not None:
        return _MARKED[mark]
    if status.is_covered:
        return _COVERED[status]
    is_expired = status is Status.EXPIRED
    if was_confirmed or (was_covered and is_expired):
        return InvoiceStatus.INVALID
    return InvoiceStatus.EXPIRED if is_expired else InvoiceStatus.NEW


def is_overpaid(facts: InvoiceFacts) -> bool:
    """Return whether the surplus has the minimum size. Ignore money that came after the confirmation."""
    until = facts.confirmed_at
    sats = sum(o.amount_sats for o in facts.live_outputs if until is None or o.first_seen_at <= until)
    return facts.status.is_covered and sats - facts.terms.amount_sats >= MIN_OVERPAID_SATS
