"""An oracle: computes the status of a request from docs/spec.md 3, in the simplest way that can be right.

It reads the facts from the same classes as payments/status.py, but shares no rule with it. It tries sums one
depth, one moment and one satoshi at a time. It checks every row of the table of statuses, and exactly one row
must hold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from payments.status import ReceivedOutput, Terms


@dataclass(frozen=True, slots=True)
class ExpectedStatus:
    """The values that a request must have.

    `txids` has the outputs first seen, or several that were seen at once.
    """

    status: str
    confirmations: int
    received_sats: int
    due_sats: int
    overpaid_sats: int
    is_late: bool
    is_closed: bool
    received_at: datetime | None
    txids: frozenset[str]


def expected_status(
    terms: Terms, outputs: Sequence[ReceivedOutput], *, tip_height: int, as_of: datetime, was_confirmed: bool
) -> ExpectedStatus:
    """Return the status of a request and the fields that belong to it."""
    live = _distinct_live(outputs)
    counted = [r for r in live if _counts(terms, r)]
    covered = _pays(terms, counted)
    confirmations = _confirmations(terms, counted, tip_height)
    is_deep = _pays(terms, [r for r in counted if _is_mature(terms, r, tip_height)])
    status = _only_row_that_holds(terms, live, covered, confirmations, is_deep, as_of, was_confirmed)
    received = _sum(live)
    return ExpectedStatus(
        status=status,
        confirmations=confirmations,
        received_sats=received,
        due_sats=0 if covered else _shortfall(received, terms.amount_sats),
        overpaid_sats=_shortfall(terms.amount_sats, received),
        is_late=_is_late(terms, live, as_of),
        is_closed=_is_closed(terms, live, status, tip_height, as_of),
        received_at=_covered_since(terms, counted),
        txids=_first_seen(live),
    )


def depth(output: ReceivedOutput, tip_height: int) -> int:
    """Return the confirmations: 1 in the block at the tip, 0 in the mempool."""
    if output.block_height is None:
        return 0
    confirmations = 0
    for height in range(output.block_height, tip_height + 1):
        assert height <= tip_height
        confirmations += 1
    return confirmations


def _distinct_live(outputs: Sequence[ReceivedOutput]) -> list[ReceivedOutput]:
    distinct: list[ReceivedOutput] = []
    for output in outputs:
        if output.is_live and output.amount_sats > 0 and output not in distinct:
            distinct.append(output)
    return distinct


def _counts(terms: Terms, output: ReceivedOutput) -> bool:
    in_time = output.present_since <= terms.expires_at
    in_time_by_policy = (
        terms.late_accepted_until is not None and output.present_since <= terms.late_accepted_until
    )
    return in_time or in_time_by_policy or terms.is_late_accepted


def _sum(outputs: Sequence[ReceivedOutput]) -> int:
    total = 0
    for output in outputs:
        total = total + output.amount_sats
    return total


def _pays(terms: Terms, outputs: Sequence[ReceivedOutput]) -> bool:
    sats = _sum(outputs)
    return sats > 0 and sats + terms.tolerance_sats >= terms.amount_sats


def _shortfall(have: int, want: int) -> int:
    missing = 0
    while have + missing < want:
        missing += 1
    return missing


def _confirmations(terms: Terms, counted: Sequence[ReceivedOutput], tip_height: int) -> int:
    """Return the greatest depth at which the outputs that are at least so deep pay; 0 if there is none."""
    answer = 0
    for candidate in range(1, 1 + max((depth(r, tip_height) for r in counted), default=0)):
        if _pays(terms, [r for r in counted if depth(r, tip_height) >= candidate]):
            answer = candidate
    return answer


def _is_mature(terms: Terms, output: ReceivedOutput, tip_height: int) -> bool:
    """Return whether an output counts as confirmed at this tip; a coinbase output needs a depth of 100."""
    confirmations = depth(output, tip_height)
    return confirmations >= terms.confirmations_required and (not output.is_coinbase or confirmations >= 100)


def _only_row_that_holds(
    terms: Terms,
    live: Sequence[ReceivedOutput],
    covered: bool,
    confirmations: int,
    is_deep_enough: bool,
    as_of: datetime,
    was_confirmed: bool,
) -> str:
    expired = as_of > terms.expires_at
    is_still_confirmed = was_confirmed and confirmations > 0
    rows = {
        "new": not covered and not expired and len(live) == 0,
        "underpaid": not covered and not expired and len(live) > 0,
        "expired": not covered and expired,
        "confirmed": covered and (is_deep_enough or is_still_confirmed),
        "confirming": covered and not is_deep_enough and not is_still_confirmed and confirmations > 0,
        "received": covered and not is_deep_enough and confirmations == 0,
    }
    [status] = [row for row, holds in rows.items() if holds]
    return status


def _is_late(terms: Terms, live: Sequence[ReceivedOutput], as_of: datetime) -> bool:
    if as_of <= terms.expires_at:
        return False
    in_time = [r for r in live if r.present_since <= terms.expires_at]
    return _pays(terms, live) and not _pays(terms, in_time)


def _is_closed(
    terms: Terms, live: Sequence[ReceivedOutput], status: str, tip_height: int, as_of: datetime
) -> bool:
    if status == "confirmed" and all(depth(r, tip_height) >= 100 for r in live):
        return True
    is_over = as_of > terms.monitored_until
    is_any_unconfirmed = status in ("received", "confirming") or any(depth(r, tip_height) == 0 for r in live)
    return is_over and not is_any_unconfirmed


def _covered_since(terms: Terms, counted: Sequence[ReceivedOutput]) -> datetime | None:
    for moment in sorted(r.present_since for r in counted):
        if _pays(terms, [r for r in counted if r.present_since <= moment]):
            return moment
    return None


def _first_seen(live: Sequence[ReceivedOutput]) -> frozenset[str]:
    return frozenset(r.txid for r in live if all(r.first_seen_at <= other.first_seen_at for other in live))
