"""What a payment is: facts in, an assessment out.

Theory of operation
===================

A payment request asks for an amount at one address, until a moment. Nobody sets its status. `assess` works
it out from facts, anew each time. The same facts give the same status, in whatever order the daemon finds
them. So a reorg, a double-spend or a repeated message needs no code of its own here: it only changes facts.
Nothing here reads a clock, a database or the network.

A fact is a term of the request, or a transaction output that pays its address. An output is *live* while
bitcoind has it, in its mempool or in the active chain. `first_seen_at` is when Nodetill met it.
`present_since` is since when it has been there without a gap, and this moment decides if it came in time.
Live outputs that came in time *count*. They *cover* the request if they add up to the amount due.

    new         nothing is live, and there is time to pay
    underpaid   something is live, it does not cover, and there is time to pay
    received    covered, but a part that the cover needs is in no block
    confirming  covered by blocks, fewer of them than required
    confirmed   covered, as deep as required
    expired     the time to pay is over, and nothing covers the request

The past decides in two places only. A confirmed request stays confirmed at any depth while its cover is in
the chain. And an event is the difference between two assessments, so `events` takes the last one too.

The hard cases, for a request of 100 that expires at 12:00:

*Partial.* A brings 60 at 11:50: underpaid, 40 due. B brings 40 at 11:55: received. Later A is 6 blocks deep
and B is 2 deep. The deepest outputs come first: A, then B completes the cover. So the request is 2 deep.

*Late.* B comes at 12:05 instead. The request expired at 12:00 with 60 in it. Now all of it is there, but the
quoted price is no longer valid: expired and `late`. It counts once a person accepts it, or at once if the
terms have a `late_accepted_until`. An acceptance ends when the request is covered no more.

*Fee bump.* A brings 100 at 11:50. B replaces it at 12:10 with a higher fee. B is a new output, but the money
was there all the time: B inherits A's `present_since` (payments/replacement.py). Nothing changes. B may
even bring 101, since A covered the request by itself. But if A brought 60, and B brings 61, B is late: a
small part keeps the price for nobody.

*Gap.* A brings 100 at 11:50: received. At 11:55 C spends A's coin and another one: A is gone, reverted. D
spends that other coin, replaces C, and is mined. Now A is valid again, and the customer sends it at 13:00 if
the price has fallen. Therefore its `present_since` is 13:00: A is late. A gap begins when an assessment
finds the output gone. A move between block and mempool, a restart, or an absence too short to act on are
no gaps.

*Reorg.* A is in the block at the tip, and the request is confirmed at 1 of 1. Another chain takes over. If A
is in one of its blocks, nothing has changed. If A is in the mempool again, it is reverted and received. If
the new chain spends A's coin otherwise, A is gone. An assessment always takes a whole chain, never the
middle of a reorg, so only its end counts.

*Coinbase.* The output of a coinbase transaction can be spent at 100 confirmations. It confirms a request
no earlier.

`as_of` is the moment up to which bitcoind has been read, which is not the time of day. A request does not
expire by a clock alone: a payment that came in time may still be unread.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from math import isinf

CLOSING_DEPTH = 100
"""Confirmations at which a confirmed request closes, and at which a coinbase output counts as confirmed
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

    Until `late_accepted_until` late money counts as money in time. None stands for never.
    `is_late_accepted` is the seller's or operator's own word, and has no deadline.
    """

    amount_sats: int
    tolerance_sats: int
    confirmations_required: int
    expires_at: datetime
    monitored_until: datetime
    late_accepted_until: datetime | None = None
    is_late_accepted: bool = False

    @property
    def needed_sats(self) -> int:
        """The least that covers the request, in satoshis."""
        return self.amount_sats - self.tolerance_sats

    def accepts(self, output: "ReceivedOutput") -> bool:
        """Return whether an output came early enough to pay for this request."""
        return self.is_late_accepted or output.present_since <= (self.late_accepted_until or self.expires_at)


@dataclass(frozen=True, slots=True)
class ReceivedOutput:
    """A transaction output that pays the request's address.

    `block_height` is that of its block in the active chain, None while it is in none.
    """

    txid: str
    vout: int
    amount_sats: int
    first_seen_at: datetime
    present_since: datetime
    block_height: int | None = None
    is_live: bool = True
    is_coinbase: bool = False

    @property
    def first_seen_order(self) -> tuple[datetime, str, int]:
        """Order outputs by when they were first seen."""
        return self.first_seen_at, self.txid, self.vout

    @property
    def depth_order(self) -> float:
        """Order outputs deepest first, and those in the mempool last."""
        return float("inf") if self.block_height is None else self.block_height

    def confirmed_height(self, confirmations_required: int) -> float:
        """Return the tip height from which this output counts as confirmed: infinity if it is unknown."""
        if self.block_height is None:
            return float("inf") if confirmations_required else float("-inf")
        required = max(confirmations_required, CLOSING_DEPTH) if self.is_coinbase else confirmations_required
        return self.block_height + required - 1


@dataclass(frozen=True, slots=True)
class Assessment:
    """What the facts say of a request at one chain tip and one moment.

    `covered_height` is the height of the block that completed the cover: None while that part is in the
    mempool, or the request is not covered. `confirmations_required` is the depth at which this cover is
    confirmed, more than agreed if it needs a coinbase output. `reassess_at_height` and `reassess_at` are when
    the request must be assessed again though no fact of its own changes: None if only a fact changes it.
    """

    status: Status
    confirmations: int
    confirmations_required: int
    covered_height: int | None
    received_sats: int
    due_sats: int
    overpaid_sats: int
    is_late: bool
    is_closed: bool
    received_at: datetime | None
    txid: str | None
    reassess_at_height: int | None
    reassess_at: datetime | None


@dataclass(frozen=True, slots=True)
class LastKnownState:
    """What was last stored of a request: what its seller and the operator already know.

    `notified_sats` is the amount that the last event reported. Some of it may have gone since. A part that
    leaves the mempool and returns is not reported twice.
    """

    status: Status = Status.NEW
    is_late: bool = False
    is_closed: bool = False
    received_sats: int = 0
    notified_sats: int = 0

    def may_hide_new_output(self, after: Assessment) -> bool:
        """Whether more has come since, but no more than has been told of: it may be back, or be new."""
        return self.received_sats < after.received_sats <= self.notified_sats


def assess(
    terms: Terms, receipts: Iterable[ReceivedOutput], *, tip_height: int, as_of: datetime, was_confirmed: bool
) -> Assessment:
    """Work out a request's status from its facts. An output of 0 satoshis is no payment."""
    distinct = {(r.txid, r.vout): r for r in receipts if r.is_live and r.amount_sats}
    live = sorted(distinct.values(), key=lambda r: r.first_seen_order)
    counted = [r for r in live if terms.accepts(r)]
    received_sats = _total(live)
    is_covered = _total(counted) >= terms.needed_sats
    is_in_time = _total(r for r in live if r.present_since <= terms.expires_at) >= terms.needed_sats
    is_expired = as_of > terms.expires_at
    covered_height = _covered_height(counted, terms.needed_sats) if is_covered else None
    confirmed_height = _confirmed_height(counted, terms) if is_covered else float("inf")

    if not is_covered:
        status = _status_uncovered(is_expired, bool(live))
    else:
        status = _status_covered(tip_height, covered_height, confirmed_height, was_confirmed)
    is_closed = _is_closed(terms, status, live, tip_height, as_of)
    return Assessment(
        status=status,
        confirmations=0 if covered_height is None else max(tip_height - covered_height + 1, 0),
        confirmations_required=_required(terms, tip_height, covered_height, confirmed_height),
        covered_height=covered_height,
        received_sats=received_sats,
        due_sats=0 if is_covered else max(terms.amount_sats - received_sats, 0),
        overpaid_sats=max(received_sats - terms.amount_sats, 0),
        is_late=is_expired and not is_in_time and received_sats >= terms.needed_sats,
        is_closed=is_closed,
        received_at=_received_at(counted, terms.needed_sats) if is_covered else None,
        txid=live[0].txid if live else None,
        reassess_at_height=None if is_closed else _next_height(status, confirmed_height, live),
        reassess_at=None if is_closed else _next_deadline(terms, is_in_time, as_of),
    )


def events_between(before: LastKnownState, after: Assessment, *, has_new_part: bool) -> tuple[EventType, ...]:
    """Return the events of a change from `before` to `after`, in their order.

    `has_new_part` is whether something live was in no event yet. It is an event though it is less than what
    has gone. It matters only if `before` hides `after`.
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

    is_back = before.is_closed and after.received_sats > before.received_sats
    has_more = (
        after.received_sats > before.notified_sats
        or is_back
        or (has_new_part and before.may_hide_new_output(after))
    )
    if after.status is Status.UNDERPAID and (has_more or before.status is not Status.UNDERPAID):
        told.append(EventType.UNDERPAID)
    is_settled = was_covered or before.status is Status.EXPIRED
    if has_more and is_settled and not _NEWS_OF_MONEY.intersection(told):
        told.append(EventType.EXTRA)
    return tuple(told)


def _total(receipts: Iterable[ReceivedOutput]) -> int:
    return sum(r.amount_sats for r in receipts)


def _last_needed(receipts: Iterable[ReceivedOutput], needed_sats: int) -> ReceivedOutput | None:
    """The receipt, in the order given, whose amount completes what is needed."""
    total = 0
    for receipt in receipts:
        total += receipt.amount_sats
        if total >= needed_sats:
            return receipt
    return None


def _covered_height(counted: list[ReceivedOutput], needed_sats: int) -> int | None:
    """DailyTotal the deepest first, the height at which the last part needed was mined."""
    last = _last_needed(sorted(counted, key=lambda r: r.depth_order), needed_sats)
    return last.block_height if last else None


def _confirmed_height(counted: list[ReceivedOutput], terms: Terms) -> float:
    """Return the tip height from which enough to cover the request counts as confirmed."""
    heights = sorted((r.confirmed_height(terms.confirmations_required), r.amount_sats) for r in counted)
    total = 0
    for height, amount_sats in heights:
        total += amount_sats
        if total >= terms.needed_sats:
            return height
    return float("inf")


def _required(terms: Terms, tip_height: int, covered_height: int | None, confirmed_height: float) -> int:
    """Return the depth at which the cover is confirmed: more than agreed if it needs a coinbase output."""
    if isinf(confirmed_height) or (covered_height is None and tip_height >= confirmed_height):
        return terms.confirmations_required
    if covered_height is None:
        return max(terms.confirmations_required, CLOSING_DEPTH)
    return int(confirmed_height) - covered_height + 1


def _received_at(counted: list[ReceivedOutput], needed_sats: int) -> datetime | None:
    """Return since when the last part needed has been there."""
    last = _last_needed(sorted(counted, key=lambda r: r.present_since), needed_sats)
    return last.present_since if last else None


def _status_uncovered(is_expired: bool, is_anything_live: bool) -> Status:
    if is_expired:
        return Status.EXPIRED
    return Status.UNDERPAID if is_anything_live else Status.NEW


def _status_covered(
    tip_height: int, covered_height: int | None, confirmed_height: float, was_confirmed: bool
) -> Status:
    if tip_height >= confirmed_height:
        return Status.CONFIRMED
    if covered_height is None:
        return Status.RECEIVED
    return Status.CONFIRMED if was_confirmed else Status.CONFIRMING


def _is_closed(
    terms: Terms, status: Status, live: list[ReceivedOutput], tip_height: int, as_of: datetime
) -> bool:
    if status not in (Status.CONFIRMED, Status.EXPIRED) or any(r.block_height is None for r in live):
        return False
    if as_of > terms.monitored_until:
        return True
    return status is Status.CONFIRMED and tip_height >= _closing_height(live)


def _closing_height(live: list[ReceivedOutput]) -> int:
    """The tip height at which everything received is buried deep enough to close the request."""
    return max(r.block_height for r in live if r.block_height is not None) + CLOSING_DEPTH - 1


def _next_height(status: Status, confirmed_height: float, live: list[ReceivedOutput]) -> int | None:
    if status in (Status.RECEIVED, Status.CONFIRMING):
        return None if isinf(confirmed_height) else int(confirmed_height)
    if status is Status.CONFIRMED and all(r.block_height is not None for r in live):
        return _closing_height(live)
    return None


def _next_deadline(terms: Terms, is_in_time: bool, as_of: datetime) -> datetime | None:
    """The next moment that can change the status by itself: expiry, then the end of monitoring."""
    if as_of <= terms.expires_at and not is_in_time:
        return terms.expires_at
    return terms.monitored_until if as_of <= terms.monitored_until else None
