"""The rules of payment links: the worth of the money, the amount that remains, and the status.

A link has no price. Each press of "Pay" makes a payment request, with a price of its own. Anybody can pay a
reusable link, any number of times, so this module only adds up the link's money.

Several requests may pay a single-use link in parts, at different prices. So the parts add up in the link's
currency. The worth of a request is its counted satoshis at its own price, rounded down, and at most its
amount. An output counts if it is live, and if it came in time or was accepted. A covered request settles its
whole amount, even if the tolerance allows a little less.

    open        an amount remains
    processing  nothing remains, or less than the network relays, but not all of the money is confirmed
    paid        confirmed money covers the link
    overdue     as open, after `due_at`; it can still be paid
    closed      its seller has closed it while an amount remained

Each status is computed from the facts, as in payments/status.py. The past matters in one place only: a paid
link stays paid at any depth, while the outputs that cover it are in the chain.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum

from payments.money import DUST_LIMIT_SATS, exact_fiat, fiat_to_sats, from_units, round_down
from payments.status import ReceivedOutput, Status, Terms

MAX_WAITING = 30
"""The maximum number of a reusable link's requests that wait for money at the same time."""

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class LinkStatus(StrEnum):
    OPEN = "open"
    PROCESSING = "processing"
    PAID = "paid"
    OVERDUE = "overdue"
    CLOSED = "closed"


class LinkEvent(StrEnum):
    """A change of a single-use link that is reported to the seller and to the operator."""

    PAID = "link.paid"
    REVERTED = "link.reverted"


@dataclass(frozen=True, slots=True)
class LinkPart:
    """One request of a link: its amount, its price, and its counted satoshis.

    `is_covered` means that these satoshis are at least the amount, less the tolerance. `chosen_before` is the
    amount of the link that the payer chose in an earlier request, or None. `counted_since` is the time at
    which the first of the counted satoshis came.
    """

    asked: Decimal
    currency: str
    price: Decimal
    counted_sats: int
    is_covered: bool
    chosen_before: Decimal | None = None
    counted_since: datetime | None = None

    @property
    def worth(self) -> Decimal:
        """Return the worth of the counted satoshis at the price of the request, at most its amount."""
        return min(self.asked, round_down(exact_fiat(self.counted_sats, self.price), self.currency))

    @property
    def covered_amount(self) -> Decimal:
        """Return the part of the link's amount that this request covers."""
        return self.asked if self.is_covered else self.worth

    @property
    def chosen(self) -> Decimal:
        """Return the amount of the link that the payer chose, in this request or before."""
        return self.asked if self.chosen_before is None else self.chosen_before


@dataclass(frozen=True, slots=True)
class LinkBalance:
    """The money of a link, in its currency.

    `amount` is the whole amount. `amount` and `remaining` are None for a reusable link, and while nobody has
    chosen the amount.
    """

    paid: Decimal
    remaining: Decimal | None
    is_covered: bool
    amount: Decimal | None = None


def balance(
    amount: Decimal | None, currency: str, parts: Iterable[LinkPart], *, is_reusable: bool
) -> LinkBalance:
    """Return the balance of a link. `parts` are its requests, oldest first."""
    counted = [part for part in parts if part.counted_sats]
    paid = sum((part.worth for part in counted), from_units(0, currency))
    wanted = link_amount(amount, counted)
    if is_reusable or wanted is None:
        return LinkBalance(paid, None, is_covered=False)
    covered = sum((part.covered_amount for part in counted), Decimal(0))
    remaining = round_down(max(wanted - covered, Decimal(0)), currency)
    is_small = bool(counted and remaining) and fiat_to_sats(remaining, counted[-1].price) < DUST_LIMIT_SATS
    return LinkBalance(paid, remaining, is_covered=not remaining or is_small, amount=wanted)


def link_amount(amount: Decimal | None, parts: Iterable[LinkPart]) -> Decimal | None:
    """Return the amount of a single-use link, or None while nobody has chosen it. `parts` are its requests.

    The payer chooses the amount of a link that has none. The request to which money came first decides. A
    request for the rest is no choice, and keeps the amount that was chosen before.
    """
    if amount is not None:
        return amount
    counted = [part for part in parts if part.counted_sats]
    first = min(counted, key=lambda part: part.counted_since or _LONG_AGO, default=None)
    return None if first is None else first.chosen


@dataclass(frozen=True, slots=True)
class PartFacts:
    """A request of a single-use link, with the facts that decide how much of its money counts.

    `is_confirmed` means that the request is confirmed. It stays so at any depth (payments/status.py).
    `chosen_before` is as in LinkPart.
    """

    asked: Decimal
    currency: str
    price: Decimal
    terms: Terms
    outputs: tuple[ReceivedOutput, ...]
    is_confirmed: bool = False
    chosen_before: Decimal | None = None

    def all(self) -> LinkPart:
        """Return the part with all money that counts."""
        return self._part(self._counted())

    def in_chain(self) -> LinkPart:
        """Return the part with the money that counts and is in a block, at any depth."""
        return self._part([output for output in self._counted() if output.block_height is not None])

    def confirmed(self, tip_height: int) -> LinkPart:
        """Return the part with the money that counts and has the required confirmations.

        A confirmed request stays confirmed after a reorg, so its money needs a block at any depth.
        """
        required = self.terms.confirmations_required
        return self._part(
            [
                output
                for output in self._counted()
                if output.confirmed_height(required) <= tip_height
                or (self.is_confirmed and output.block_height is not None)
            ]
        )

    def _counted(self) -> list[ReceivedOutput]:
        distinct = {(r.txid, r.vout): r for r in self.outputs if r.is_live and r.amount_sats}
        return [output for output in distinct.values() if self.terms.accepts(output)]

    def _part(self, outputs: Sequence[ReceivedOutput]) -> LinkPart:
        sats = sum(output.amount_sats for output in outputs)
        is_covered = sats >= self.terms.needed_sats
        since = min((output.present_since for output in outputs), default=None)
        return LinkPart(
            self.asked, self.currency, self.price, sats, is_covered, self.chosen_before, counted_since=since
        )


def is_paid(
    amount: Decimal | None, currency: str, facts: Sequence[PartFacts], *, tip_height: int, was_paid: bool
) -> bool:
    """Return whether confirmed money covers a single-use link. `facts` are its requests, oldest first.

    A link that was paid stays paid while money in the chain covers it, so a reorg at the tip changes nothing.
    """
    amount = link_amount(amount, (each.all() for each in facts))
    if amount is None:
        return False

    def covers(parts: Iterable[LinkPart]) -> bool:
        return balance(amount, currency, parts, is_reusable=False).is_covered

    return covers(each.confirmed(tip_height) for each in facts) or (
        was_paid and covers(each.in_chain() for each in facts)
    )


def link_event(*, was_paid: bool, is_paid: bool) -> LinkEvent | None:
    """Return the event of a change, or None without a change."""
    if was_paid == is_paid:
        return None
    return LinkEvent.PAID if is_paid else LinkEvent.REVERTED


def link_status(
    *, is_covered: bool, is_paid: bool, is_closed: bool, due_at: datetime | None, now: datetime
) -> LinkStatus:
    """Return the status. A link with enough money is not "closed", because a close returns no money."""
    if is_paid:
        return LinkStatus.PAID
    if is_covered:
        return LinkStatus.PROCESSING
    if is_closed:
        return LinkStatus.CLOSED
    return LinkStatus.OVERDUE if due_at is not None and now > due_at else LinkStatus.OPEN


def late_sats(status: Status, received_sats: int, counted_sats: int, acknowledged_sats: int | None) -> int:
    """Return the money of a request that came too late to count and waits for the seller's decision.

    `acknowledged_sats` is the amount at the operator's last decision.
    """
    if status is not Status.EXPIRED or received_sats == acknowledged_sats:
        return 0
    return max(received_sats - counted_sats, 0)


def min_amount(currency: str, price: Decimal) -> Decimal:
    """Return the smallest amount that the network relays, at this price, rounded up in the currency."""
    exact = exact_fiat(DUST_LIMIT_SATS, price)
    rounded = round_down(exact, currency)
    return rounded if rounded == exact else rounded + from_units(1, currency)


def amount_to_request(remaining: Decimal, currency: str, price: Decimal) -> Decimal:
    """Return the amount of the next request: the remaining amount, but at least what the network relays."""
    return max(remaining, min_amount(currency, price))


def asks_too_much(waiting: LinkPart, found: LinkBalance) -> bool:
    """Return whether a request to which nothing came asks for more than its link still needs.

    A request may ask for the least that the network relays, at its own price.
    """
    if found.remaining is None:
        return False
    needed = amount_to_request(found.remaining, waiting.currency, waiting.price)
    return found.is_covered or waiting.asked > needed
