"""What a payment is: facts in, an assessment out.

Nothing here reads a clock, a database or the network. The same facts give the same assessment, however
often and in whatever order they were found; a reorg, a double-spend or a duplicate only changes the facts.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

CLOSING_DEPTH = 100
"""Confirmations at which a confirmed request closes: the depth of Bitcoin's own coinbase maturity
(COINBASE_MATURITY in Bitcoin Core's consensus.h)."""


class Status(StrEnum):
    """The status of a payment request, as merchants see it."""

    NEW = "new"
    UNDERPAID = "underpaid"
    RECEIVED = "received"
    CONFIRMING = "confirming"
    CONFIRMED = "confirmed"
    EXPIRED = "expired"

    @property
    def is_covered(self) -> bool:
        """Whether the amount due is there."""
        return self in _COVERED


_COVERED = frozenset({Status.RECEIVED, Status.CONFIRMING, Status.CONFIRMED})


class EventType(StrEnum):
    """What a seller or the operator is told of."""

    UNDERPAID = "payment.underpaid"
    RECEIVED = "payment.received"
    CONFIRMED = "payment.confirmed"
    EXPIRED = "payment.expired"
    LATE = "payment.late"
    REVERTED = "payment.reverted"
    EXTRA = "payment.extra"


_NEWS_OF_MONEY = frozenset({EventType.UNDERPAID, EventType.RECEIVED, EventType.LATE})


@dataclass(frozen=True, slots=True)
class Terms:
    """What was agreed when the request was made, and whether late money was accepted since.

    `late_deadline` is the moment up to which late money counts as money in time: None where it never does.
    `is_late_accepted` is the seller's or operator's own word, and has no deadline.
    """

    amount_sats: int
    tolerance_sats: int
    confirmations_required: int
    expires_at: datetime
    monitored_until: datetime
    late_deadline: datetime | None = None
    is_late_accepted: bool = False

    @property
    def needed_sats(self) -> int:
        """The least that covers the request, in satoshis."""
        return self.amount_sats - self.tolerance_sats

    def counts(self, output: "Receipt") -> bool:
        """Whether an output was seen early enough to pay for this request."""
        return self.is_late_accepted or output.first_seen_at <= (self.late_deadline or self.expires_at)


@dataclass(frozen=True, slots=True)
class Receipt:
    """A transaction output that pays the request's address.

    `block_height` is that of the block of the active chain it is in, None while it is in none. It is live
    while bitcoind has it, in its mempool or in the active chain: neither replaced nor dropped.
    """

    txid: str
    vout: int
    amount_sats: int
    first_seen_at: datetime
    block_height: int | None = None
    is_live: bool = True

    @property
    def age_key(self) -> tuple[datetime, str, int]:
        """Orders outputs by when they were first seen."""
        return self.first_seen_at, self.txid, self.vout

    @property
    def depth_key(self) -> float:
        """Orders outputs deepest first, those in the mempool last."""
        return float("inf") if self.block_height is None else self.block_height


@dataclass(frozen=True, slots=True)
class Assessment:
    """What the facts say of a request at one chain tip and one moment.

    `covered_height` is the height of the block that completed the cover: None while that part is in the
    mempool, or the request is not covered. `next_height` and `next_deadline` name when it must be looked at
    again though no fact of its own changes: None where only a new fact can change it.
    """

    status: Status
    confirmations: int
    covered_height: int | None
    received_sats: int
    due_sats: int
    overpaid_sats: int
    is_late: bool
    is_closed: bool
    received_at: datetime | None
    txid: str | None
    next_height: int | None
    next_deadline: datetime | None


@dataclass(frozen=True, slots=True)
class Standing:
    """What was last stored of a request: what its seller and the operator already know.

    `told_sats` is what had been received when an event last told of it, though some may have gone since: a
    part that drops out of the mempool and returns is not money that came twice.
    """

    status: Status = Status.NEW
    is_late: bool = False
    is_closed: bool = False
    received_sats: int = 0
    told_sats: int = 0

    def hides(self, after: Assessment) -> bool:
        """Whether more has come since, but no more than has been told of: it may be back, or be new."""
        return self.received_sats < after.received_sats <= self.told_sats


def assess(
    terms: Terms, receipts: Iterable[Receipt], *, tip_height: int, as_of: datetime, was_confirmed: bool
) -> Assessment:
    """Work out a request's status from its facts.

    `as_of` is the moment up to which the node's chain and mempool are known, not simply the time of day: a
    request is not expired by a clock while a payment that came in time may still be unread.
    """
    live = sorted({(r.txid, r.vout): r for r in receipts if r.is_live}.values(), key=lambda r: r.age_key)
    counted = [r for r in live if terms.counts(r)]
    received_sats = _total(live)
    is_covered = _total(counted) >= terms.needed_sats
    is_in_time = _total(r for r in live if r.first_seen_at <= terms.expires_at) >= terms.needed_sats
    is_expired = as_of > terms.expires_at
    covered_height = _covered_height(counted, terms.needed_sats) if is_covered else None
    confirmations = 0 if covered_height is None else max(tip_height - covered_height + 1, 0)

    status = _status(terms, is_covered, is_expired, covered_height, confirmations, was_confirmed, bool(live))
    is_closed = _is_closed(terms, status, live, tip_height, as_of)
    return Assessment(
        status=status,
        confirmations=confirmations,
        covered_height=covered_height,
        received_sats=received_sats,
        due_sats=0 if is_covered else max(terms.amount_sats - received_sats, 0),
        overpaid_sats=max(received_sats - terms.amount_sats, 0),
        is_late=is_expired and not is_in_time and received_sats >= terms.needed_sats,
        is_closed=is_closed,
        received_at=_received_at(counted, terms.needed_sats) if is_covered else None,
        txid=live[0].txid if live else None,
        next_height=None if is_closed else _next_height(terms, status, covered_height, live),
        next_deadline=None if is_closed else _next_deadline(terms, is_in_time, as_of),
    )


def replaced_since(added_sats: int, replaced: Collection[Receipt]) -> datetime | None:
    """Since when the money has been there that a payment of `added_sats` takes the place of: a fee bump is as
    old as that. `replaced` are the parts of the same request that were there until then.

    None where it brings more than they did: else a small part would keep the price for the whole, for as long
    as the customer likes.
    """
    if not replaced or _total(replaced) < added_sats:
        return None
    return min(receipt.first_seen_at for receipt in replaced)


def events(before: Standing, after: Assessment, *, has_new_part: bool) -> tuple[EventType, ...]:
    """Name what has to be told when a request goes from `before` to `after`, in the order of telling.

    `has_new_part` where something live was in no event yet: it is told of though it is less than what has
    gone. Asked for only where `before` hides `after`.
    """
    told: list[EventType] = []
    was_covered, is_covered = before.status.is_covered, after.status.is_covered
    is_confirmed = after.status is Status.CONFIRMED

    if (was_covered and not is_covered) or (before.status is Status.CONFIRMED and not is_confirmed):
        told.append(EventType.REVERTED)
    if after.status is Status.EXPIRED and before.status is not Status.EXPIRED:
        told.append(EventType.EXPIRED)
    if after.is_late and not before.is_late and not before.is_closed:
        told.append(EventType.LATE)
    if is_covered and not was_covered:
        told.append(EventType.RECEIVED)
    if is_confirmed and before.status is not Status.CONFIRMED:
        told.append(EventType.CONFIRMED)

    has_more = after.received_sats > before.told_sats or (has_new_part and before.hides(after))
    if after.status is Status.UNDERPAID and (has_more or before.status is not Status.UNDERPAID):
        told.append(EventType.UNDERPAID)
    is_settled = was_covered or before.status is Status.EXPIRED
    if has_more and is_settled and not _NEWS_OF_MONEY.intersection(told):
        told.append(EventType.EXTRA)
    return tuple(told)


def _total(receipts: Iterable[Receipt]) -> int:
    return sum(r.amount_sats for r in receipts)


def _last_needed(receipts: Iterable[Receipt], needed_sats: int) -> Receipt | None:
    """The receipt, in the order given, whose amount completes what is needed."""
    total = 0
    for receipt in receipts:
        total += receipt.amount_sats
        if total >= needed_sats:
            return receipt
    return None


def _covered_height(counted: list[Receipt], needed_sats: int) -> int | None:
    """Taking the deepest first, the height at which the last part needed was mined."""
    last = _last_needed(sorted(counted, key=lambda r: r.depth_key), needed_sats)
    return last.block_height if last else None


def _received_at(counted: list[Receipt], needed_sats: int) -> datetime | None:
    """When the last part needed was first seen."""
    last = _last_needed(counted, needed_sats)
    return last.first_seen_at if last else None


def _status(
    terms: Terms,
    is_covered: bool,
    is_expired: bool,
    covered_height: int | None,
    confirmations: int,
    was_confirmed: bool,
    is_anything_live: bool,
) -> Status:
    if not is_covered:
        if is_expired:
            return Status.EXPIRED
        return Status.UNDERPAID if is_anything_live else Status.NEW
    if confirmations >= terms.confirmations_required:
        return Status.CONFIRMED
    if covered_height is None:
        return Status.RECEIVED
    return Status.CONFIRMED if was_confirmed else Status.CONFIRMING


def _is_closed(terms: Terms, status: Status, live: list[Receipt], tip_height: int, as_of: datetime) -> bool:
    if status not in (Status.CONFIRMED, Status.EXPIRED) or any(r.block_height is None for r in live):
        return False
    if as_of > terms.monitored_until:
        return True
    return status is Status.CONFIRMED and tip_height >= _closing_height(live)


def _closing_height(live: list[Receipt]) -> int:
    """The tip height at which everything received is buried deep enough to close the request."""
    return max(r.block_height for r in live if r.block_height is not None) + CLOSING_DEPTH - 1


def _next_height(terms: Terms, status: Status, covered_height: int | None, live: list[Receipt]) -> int | None:
    if status is Status.CONFIRMING and covered_height is not None:
        return covered_height + terms.confirmations_required - 1
    if status is Status.CONFIRMED and all(r.block_height is not None for r in live):
        return _closing_height(live)
    return None


def _next_deadline(terms: Terms, is_in_time: bool, as_of: datetime) -> datetime | None:
    """The next moment that can change the status by itself: expiry, then the end of monitoring."""
    if as_of <= terms.expires_at and not is_in_time:
        return terms.expires_at
    return terms.monitored_until if as_of <= terms.monitored_until else None
