"""The status of a payment request, computed from facts.

Theory of operation
===================

A payment request is for an amount at one address, due before it expires. No code sets the status directly.
`assess` computes the status from facts, each time from the start. The same facts return the same status, and
the order in which the daemon found them does not matter. So a reorg, a double-spend or a repeated message
needs no special code here, because each of them only changes facts. This module reads no clock, database or
network.

A fact is a term of the request, or a transaction output that pays its address. An output is *live* while
bitcoind has the output in its mempool or in the active chain. `first_seen_at` is the time at which Nodetill
first received the output. `present_since` is the start of the output's current presence without a gap. An
output is in time if its `present_since` is early enough. Live outputs that are in time *count*. They *cover*
the request if their sum is the amount less the tolerance, or more.

    new         no output is live, and there is time to pay
    underpaid   an output is live, nothing covers the request, and there is time to pay
    received    the request is covered, but an output that the cover needs is in no block
    confirming  blocks cover the request, but fewer than required
    confirmed   the request is covered, at the required depth
    expired     the time to pay is over, and nothing covers the request

The past matters in two places only. First, a confirmed request stays confirmed at any depth while its cover
is in the chain. Second, an event is the difference between two assessments, so `events_between` takes both.

The hard cases, for a request of 100 that expires at 12:00:

*Partial.* A pays 60 at 11:50. The request is underpaid and 40 are due. B pays 40 at 11:55, so the request is
received. Later A is 6 blocks deep and B is 2 blocks deep. The deepest outputs count first, so B completes the
cover, and the request is 2 deep.

*Late.* B pays at 12:05 instead. The request expired at 12:00 with 60 received. Now the whole amount is there,
but the quoted price is no longer valid. So the request is expired and `late`. The money counts when a person
accepts it. It counts at once if it came before the `late_accepted_until` of the terms. An acceptance ends
when the request is no longer covered.

*Fee bump.* A pays 100 at 11:50. B replaces A at 12:10 with a higher fee. B is a new output, but the money was
there all the time. So B inherits A's `present_since` (payments/replacement.py), and nothing changes. B may
even pay 101, because A alone covered the request. But if A paid 60 and B pays 61, then B is late. Otherwise a
small payment would keep the old price for the whole amount.

*Gap.* A pays 100 at 11:50, so the request is received. At 11:55 C spends the same coin as A, and another
coin. A is gone, and the request is reverted. D spends that other coin, replaces C, and is mined. Now A is
valid again. A customer could wait and send A at 13:00, if the price has fallen. Therefore A's `present_since`
is 13:00, and A is late. A gap begins when an assessment finds the output gone. Three things are no gaps: a
move between block and mempool, a restart, and an absence that ends before an assessment.

*Reorg.* A is in the block at the tip, and the request is confirmed at depth 1 of 1. Another chain replaces
this one. If A is in a block of the new chain, nothing changes. If A is in the mempool again, the request is
reverted and received. If the new chain spends A's coin in another transaction, A is gone. An assessment
always uses a whole chain, never the middle of a reorg, so only the end of a reorg counts.

*Coinbase.* The output of a coinbase transaction can be spent at 100 confirmations. Such an output confirms a
request no earlier.

`as_of` is the moment up to which the daemon has read bitcoind. It is not the time of day. A clock alone does
not expire a request, because a payment that came in time may still be unread.
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
        """Return whether live outputs cover the request."""
        return self in _COVERED


_COVERED = frozenset({Status.RECEIVED, Status.CONFIRMING, Status.CONFIRMED})


class EventType(StrEnum):
    """A change that is reported to the seller or to the operator."""

    UNDERPAID = "payment.underpaid"
    RECEIVED = "payment.received"
    CONFIRMED = "payment.confirmed"
    EXPIRED = "payment.expired"
    LATE = "payment.late"
    REVERTED = "payment.reverted"
    EXTRA = "payment.extra"


_REPORTS_OF_MONEY = frozenset({EventType.UNDERPAID, EventType.RECEIVED, EventType.LATE})


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms at the creation of the request, and a later acceptance of late money.

    Late money that comes until `late_accepted_until` counts as money in time. None means that it never does.
    `is_late_accepted` means that the seller or the operator accepted the late money. It has no deadline.
    `is_part` means that the request belongs to a payment link (payments/link.py). The money that came in time
    then counts for the link even if it does not cover the request.
    """

    amount_sats: int
    tolerance_sats: int
    confirmations_required: int
    expires_at: datetime
    monitored_until: datetime
    late_accepted_until: datetime | None = None
    is_late_accepted: bool = False
    is_part: bool = False

    @property
    def needed_sats(self) -> int:
        """Return the smallest sum that covers the request, in satoshis. No tolerance makes it nothing."""
        return max(self.amount_sats - self.tolerance_sats, 1)

    def accepts(self, output: "ReceivedOutput") -> bool:
        """Return whether an output is in time to pay for this request."""
        return self.is_late_accepted or output.present_since <= (self.late_accepted_until or self.expires_at)


@dataclass(frozen=True, slots=True)
class ReceivedOutput:
    """A transaction output that pays the request's address.

    `block_height` is the height of its block in the active chain. It is None while the output is in no block.
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
        """Return a sort key: outputs that were first seen earlier come first."""
        return self.first_seen_at, self.txid, self.vout

    @property
    def depth_order(self) -> float:
        """Return a sort key: the deepest outputs come first, and outputs in the mempool come last."""
        return float("inf") if self.block_height is None else self.block_height

    def confirmed_height(self, confirmations_required: int) -> float:
        """Return the tip height from which this output counts as confirmed, or infinity if it is unknown."""
        if self.block_height is None:
            return float("inf") if confirmations_required else float("-inf")
        required = max(confirmations_required, CLOSING_DEPTH) if self.is_coinbase else confirmations_required
        return self.block_height + required - 1


@dataclass(frozen=True, slots=True)
class Assessment:
    """The state of a request at one chain tip and one moment.

    `covered_height` is the height of the block that completed the cover. It is None while the request is not
    covered, or while the cover needs an output in the mempool. `confirmations_required` is the depth at which
    this cover is confirmed. This depth is larger than agreed if the cover needs a coinbase output.
    `counted_sats` is the live money that is in time, or accepted. The first of it came at `counted_since`.
    The request must be assessed again at the height `reassess_at_height` and at the time `reassess_at`, even
    if its facts stay the same. Both are None if only a change of the facts can change the state.
    """

    status: Status
    confirmations: int
    confirmations_required: int
    covered_height: int | None
    received_sats: int
    counted_sats: int
    counted_since: datetime | None
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
    """The stored state of a request, which its seller and the operator have already received.

    `notified_sats` is the amount that the last event reported. Some of this amount may be gone since then. It
    prevents a second report of an output that leaves the mempool and returns.
    """

    status: Status = Status.NEW
    is_late: bool = False
    is_closed: bool = False
    received_sats: int = 0
    notified_sats: int = 0

    def may_hide_new_output(self, after: Assessment) -> bool:
        """Return whether more money has come, but no more than the last event reported.

        Such money may be a reported output that returned, or a new output.
        """
        return self.received_sats < after.received_sats <= self.notified_sats


def assess(
    terms: Terms, outputs: Iterable[ReceivedOutput], *, tip_height: int, as_of: datetime, was_confirmed: bool
) -> Assessment:
    """Return the assessment of a request from its facts. An output of 0 satoshis is no payment."""
    distinct = {(o.txid, o.vout): o for o in outputs if o.is_live and o.amount_sats}
    live = sorted(distinct.values(), key=lambda o: o.first_seen_order)
    counted = [o for o in live if terms.accepts(o)]
    received_sats = _total(live)
    is_covered = _total(counted) >= terms.needed_sats
    is_in_time = _total(o for o in live if o.present_since <= terms.expires_at) >= terms.needed_sats
    is_expired = as_of > terms.expires_at
    covered_height = _covered_height(counted, terms.needed_sats) if is_covered else None
    confirmed_height = _confirmed_height(counted, terms) if is_covered else float("inf")

    if not is_covered:
        status = _status_uncovered(is_expired, bool(live))
    else:
        status = _status_covered(tip_height, covered_height, confirmed_height, was_confirmed)
    next_part_height = (
        _next_part_height(counted, terms, tip_height) if status is not Status.CONFIRMED else None
    )
    is_closed = next_part_height is None and _is_closed(terms, status, live, tip_height, as_of)
    next_height = next_part_height or _next_height(status, confirmed_height, live)
    return Assessment(
        status=status,
        confirmations=0 if covered_height is None else max(tip_height - covered_height + 1, 0),
        confirmations_required=_required(terms, tip_height, covered_height, confirmed_height),
        covered_height=covered_height,
        received_sats=received_sats,
        counted_sats=_total(counted),
        counted_since=min((o.present_since for o in counted), default=None),
        due_sats=0 if is_covered else max(terms.amount_sats - received_sats, 0),
        overpaid_sats=max(received_sats - terms.amount_sats, 0),
        is_late=is_expired and not is_in_time and received_sats >= terms.needed_sats,
        is_closed=is_closed,
        received_at=covered_since(counted, terms.needed_sats) if is_covered else None,
        txid=live[0].txid if live else None,
        reassess_at_height=None if is_closed else next_height,
        reassess_at=None if is_closed else _next_deadline(terms, is_in_time, as_of),
    )


def events_between(
    before: LastKnownState, after: Assessment, *, has_unreported_output: bool
) -> tuple[EventType, ...]:
    """Return the events of a change from `before` to `after`, in their order.

    `has_unreported_output` means that a live output was in no event yet. Such an output is an event even if
    it is smaller than the outputs that are gone. It matters only if `before.may_hide_new_output(after)`.
    """
    events: list[EventType] = []
    was_covered, is_covered = before.status.is_covered, after.status.is_covered
    is_confirmed = after.status is Status.CONFIRMED

    if (was_covered and not is_covered) or (before.status is Status.CONFIRMED and not is_confirmed):
        events.append(EventType.REVERTED)
    if after.status is Status.EXPIRED and before.status is not Status.EXPIRED:
        events.append(EventType.EXPIRED)
    if after.is_late and not before.is_late and not before.is_closed:
        events.append(EventType.LATE)
    if is_covered and not was_covered:
        events.append(EventType.RECEIVED)
    if is_confirmed and before.status is not Status.CONFIRMED:
        events.append(EventType.CONFIRMED)

    is_back = before.is_closed and after.received_sats > before.received_sats
    has_more = (
        after.received_sats > before.notified_sats
        or is_back
        or (has_unreported_output and before.may_hide_new_output(after))
    )
    if after.status is Status.UNDERPAID and (has_more or before.status is not Status.UNDERPAID):
        events.append(EventType.UNDERPAID)
    needed_nothing = was_covered or before.status is Status.EXPIRED
    if has_more and needed_nothing and not _REPORTS_OF_MONEY.intersection(events):
        events.append(EventType.EXTRA)
    return tuple(events)


def covered_since(outputs: Iterable[ReceivedOutput], needed_sats: int) -> datetime | None:
    """Return the time from which live outputs have covered the request without a gap, or None."""
    last = _last_needed(sorted(outputs, key=lambda o: o.present_since), needed_sats)
    return last.present_since if last else None


def _total(outputs: Iterable[ReceivedOutput]) -> int:
    return sum(o.amount_sats for o in outputs)


def _last_needed(outputs: Iterable[ReceivedOutput], needed_sats: int) -> ReceivedOutput | None:
    """Return the first output, in the given order, whose amount completes the cover."""
    total = 0
    for output in outputs:
        total += output.amount_sats
        if total >= needed_sats:
            return output
    return None


def _covered_height(counted: list[ReceivedOutput], needed_sats: int) -> int | None:
    """Return the block height of the output that completes the cover, if the deepest outputs count first."""
    last = _last_needed(sorted(counted, key=lambda o: o.depth_order), needed_sats)
    return last.block_height if last else None


def _confirmed_height(counted: list[ReceivedOutput], terms: Terms) -> float:
    """Return the tip height from which confirmed outputs cover the request."""
    heights = sorted((o.confirmed_height(terms.confirmations_required), o.amount_sats) for o in counted)
    total = 0
    for height, amount_sats in heights:
        total += amount_sats
        if total >= terms.needed_sats:
            return height
    return float("inf")


def _required(terms: Terms, tip_height: int, covered_height: int | None, confirmed_height: float) -> int:
    """Return the depth at which the cover is confirmed. A coinbase output makes this depth larger."""
    if isinf(confirmed_height) or (covered_height is None and tip_height >= confirmed_height):
        return terms.confirmations_required
    if covered_height is None:
        return max(terms.confirmations_required, CLOSING_DEPTH)
    # With zero confirmations required, an unconfirmed output may make a deeper block enough.
    return max(int(confirmed_height) - covered_height + 1, terms.confirmations_required)


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
    if status not in (Status.CONFIRMED, Status.EXPIRED) or any(o.block_height is None for o in live):
        return False
    if as_of > terms.monitored_until:
        return True
    return status is Status.CONFIRMED and tip_height >= _closing_height(live)


def _closing_height(live: list[ReceivedOutput]) -> int:
    """Return the tip height at which each live output is deep enough to close the request."""
    return max(o.block_height for o in live if o.block_height is not None) + CLOSING_DEPTH - 1


def _next_height(status: Status, confirmed_height: float, live: list[ReceivedOutput]) -> int | None:
    if status in (Status.RECEIVED, Status.CONFIRMING):
        return None if isinf(confirmed_height) else int(confirmed_height)
    if status is Status.CONFIRMED and all(o.block_height is not None for o in live):
        return _closing_height(live)
    return None


def _next_part_height(counted: list[ReceivedOutput], terms: Terms, tip_height: int) -> int | None:
    """Return the next tip height at which more money of a part of a link is confirmed, or None."""
    if not terms.is_part:
        return None
    heights = (output.confirmed_height(terms.confirmations_required) for output in counted)
    return min((int(height) for height in heights if tip_height < height < float("inf")), default=None)


def _next_deadline(terms: Terms, is_in_time: bool, as_of: datetime) -> datetime | None:
    """Return the next time at which time alone can change the status: expiry, then the end of monitoring."""
    if as_of <= terms.expires_at and not is_in_time:
        return terms.expires_at
    return terms.monitored_until if as_of <= terms.monitored_until else None
