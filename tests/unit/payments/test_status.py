"""The status is what docs/spec.md 3 says, whatever the facts and however they come."""

from dataclasses import fields, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from payments.status import CLOSING_DEPTH, Assessment, ReceivedOutput, Status, Terms
from tests.support import oracle
from tests.support.facts import (
    ACCEPTED,
    ACCEPTING,
    AFTER_EXPIRY,
    AFTER_MONITORING,
    BEFORE_EXPIRY,
    EXPIRES,
    LATE,
    MONITORED,
    TERMS,
    TIP,
    TOO_LATE,
    Facts,
    any_facts,
    gone,
    paid,
)

MICROSECOND = timedelta(microseconds=1)


def assessed(
    *receipts: ReceivedOutput,
    terms: Terms = TERMS,
    as_of: datetime = BEFORE_EXPIRY,
    was_confirmed: bool = False,
) -> Assessment:
    return Facts(terms, receipts, as_of=as_of).assess(was_confirmed)


def status(
    *receipts: ReceivedOutput,
    terms: Terms = TERMS,
    as_of: datetime = BEFORE_EXPIRY,
    was_confirmed: bool = False,
) -> str:
    return assessed(*receipts, terms=terms, as_of=as_of, was_confirmed=was_confirmed).status.value


def required(confirmations: int) -> Terms:
    return replace(TERMS, confirmations_required=confirmations)


# Against the oracle


@settings(max_examples=400)
@given(any_facts(), st.booleans())
def test_an_assessment_is_what_the_oracle_says(facts: Facts, was_confirmed: bool) -> None:
    """Every field that docs/spec.md 3 defines, for any facts."""
    found = facts.assess(was_confirmed)
    truth = oracle.truth(
        facts.terms,
        facts.receipts,
        tip_height=facts.tip_height,
        as_of=facts.as_of,
        was_confirmed=was_confirmed,
    )
    for field in fields(truth):
        if field.name != "txids":
            assert getattr(found, field.name) == getattr(truth, field.name), field.name
    assert {found.txid} <= (truth.txids or {None})


@given(any_facts(), st.booleans(), st.data())
def test_order_and_repetition_of_facts_never_matter(
    facts: Facts, was_confirmed: bool, data: st.DataObject
) -> None:
    """A message that comes twice, or after a later one, changes nothing."""
    repeated = data.draw(st.lists(st.sampled_from(facts.receipts))) if facts.receipts else []
    mixed = tuple(data.draw(st.permutations([*facts.receipts, *repeated])))
    assert replace(facts, receipts=mixed).assess(was_confirmed) == facts.assess(was_confirmed)


@given(any_facts(), st.booleans())
def test_never_covered_by_less_than_is_due(facts: Facts, was_confirmed: bool) -> None:
    """Nor by outputs that are replaced, dropped or late."""
    assume(facts.assess(was_confirmed).status.is_covered)
    terms = facts.terms
    last = (
        datetime.max.replace(tzinfo=EXPIRES.tzinfo) if terms.is_late_accepted else terms.late_accepted_until
    )
    good = [r for r in facts.receipts if r.is_live and r.present_since <= (last or terms.expires_at)]
    assert sum(r.amount_sats for r in good) >= terms.amount_sats - terms.tolerance_sats


@given(any_facts(), st.booleans())
def test_never_confirmed_without_the_depth(facts: Facts, was_confirmed: bool) -> None:
    """Unless it was confirmed before, and what covers it is in the active chain still."""
    assume(facts.assess(was_confirmed).status is Status.CONFIRMED)
    least = 1 if was_confirmed else facts.terms.confirmations_required
    least = min(least, facts.terms.confirmations_required)
    depths = [(r, oracle.depth(r, facts.tip_height)) for r in facts.receipts if r.is_live]
    deep = [r for r, d in depths if d >= least and (was_confirmed or not r.is_coinbase or d >= 100)]
    assert sum(r.amount_sats for r in deep) >= facts.terms.needed_sats


@given(any_facts(), st.booleans())
def test_what_is_missing_and_what_is_too_much_never_stand_together(facts: Facts, was_confirmed: bool) -> None:
    """And nothing is missing from a request that is covered."""
    found = facts.assess(was_confirmed)
    assert min(found.due_sats, found.overpaid_sats) == 0
    assert not (found.status.is_covered and found.due_sats)


# Sleeping until the next height or deadline


def outcome(found: Assessment) -> tuple[object, ...]:
    return found.status, found.is_late, found.is_closed


@given(any_facts(), st.booleans())
@example(Facts(ACCEPTING, (paid(at=LATE),), as_of=BEFORE_EXPIRY), False)
@example(Facts(TERMS, (paid(depth=1),)), False)
@example(Facts(TERMS, (paid(depth=99),)), True)
def test_nothing_changes_by_itself_before_the_next_height_and_deadline(
    facts: Facts, was_confirmed: bool
) -> None:
    """So a request may be left alone until then: walked block by block, and past each moment that counts."""
    found = facts.assess(was_confirmed)
    assume(not found.is_closed)
    is_confirmed = found.status is Status.CONFIRMED
    last_tip = facts.tip_height + 200 if found.reassess_at_height is None else found.reassess_at_height - 1
    last_moment = found.reassess_at or AFTER_MONITORING + 10 * MONITORED
    borders = {
        b + off
        for b in (EXPIRES, EXPIRES + MONITORED)
        for off in (-MICROSECOND, 0 * MICROSECOND, MICROSECOND)
    }
    waking = sorted({facts.as_of, last_moment} | {b for b in borders if facts.as_of < b < last_moment})
    for tip in range(facts.tip_height, last_tip + 1):
        for as_of in waking if tip in (facts.tip_height, last_tip) else (waking[0], waking[-1]):
            later = replace(facts, tip_height=tip, as_of=as_of)
            assert outcome(later.assess(is_confirmed)) == outcome(found)


@given(any_facts(), st.booleans())
def test_an_assessed_request_is_not_due_at_once_again(facts: Facts, was_confirmed: bool) -> None:
    """Its next height is above the tip and its next deadline not yet past, or the daemon would spin."""
    found = facts.assess(was_confirmed)
    assert found.reassess_at_height is None or found.reassess_at_height > facts.tip_height
    assert found.reassess_at is None or found.reassess_at >= facts.as_of


@given(any_facts(), st.booleans(), st.integers(0, 300), st.integers(0, 10**6))
def test_a_closed_request_stays_as_it_is_with_no_work(
    facts: Facts, was_confirmed: bool, blocks: int, seconds: int
) -> None:
    """Neither blocks nor time change it."""
    facts = replace(facts, as_of=max(facts.as_of, AFTER_MONITORING)) if seconds % 2 else facts.sunk(100)
    found = facts.assess(was_confirmed)
    assume(found.is_closed)
    assert (found.reassess_at_height, found.reassess_at) == (None, None)
    later = replace(
        facts, tip_height=facts.tip_height + blocks, as_of=facts.as_of + timedelta(seconds=seconds)
    ).assess(found.status is Status.CONFIRMED)
    assert (later.status, later.is_closed) == (found.status, True)


# The table of statuses, row by row


def test_nothing_live_is_new() -> None:
    """Nor do outputs that are gone count as something."""
    assert status() == "new"
    assert status(gone(paid())) == "new"


def test_less_than_the_amount_is_underpaid() -> None:
    """By one satoshi already."""
    found = assessed(paid(99))
    assert (found.status, found.due_sats, found.received_sats) == ("underpaid", 1, 99)


def test_the_tolerance_may_be_missing() -> None:
    """To the satoshi; and then nothing is due."""
    terms = replace(TERMS, tolerance_sats=5)
    assert status(paid(94), terms=terms) == "underpaid"
    assert status(paid(95), terms=terms) == "received"
    assert assessed(paid(95), terms=terms).due_sats == 0


def test_what_was_underpaid_is_due_to_the_whole_amount() -> None:
    """The tolerance forgives; it isn't asked for."""
    assert assessed(paid(90), terms=replace(TERMS, tolerance_sats=5)).due_sats == 10


def test_the_amount_in_the_mempool_is_received() -> None:
    """Whether by one output or by several."""
    assert status(paid()) == "received"
    assert status(paid(60), replace(paid(40), vout=1)) == "received"
    assert status(paid(60), paid(40, txid="b")) == "received"


@pytest.mark.parametrize(("depth", "expected"), [(1, "confirming"), (5, "confirming"), (6, "confirmed")])
def test_depth_makes_confirming_and_then_confirmed(depth: int, expected: str) -> None:
    """At exactly as many confirmations as are required."""
    found = assessed(paid(depth=depth))
    assert (found.status, found.confirmations) == (expected, depth)


@pytest.mark.parametrize(
    ("confirmations", "expected"), [(0, "confirmed"), (1, "received"), (144, "received")]
)
def test_only_a_request_for_no_confirmations_is_confirmed_in_the_mempool(
    confirmations: int, expected: str
) -> None:
    """0 required are there as soon as the money is."""
    assert status(paid(), terms=required(confirmations)) == expected


def test_a_hundred_and_forty_four_confirmations_can_be_required() -> None:
    """More than the depth at which a request closes: it closes when it is confirmed."""
    waiting = assessed(paid(depth=143), terms=required(144))
    assert (waiting.status, waiting.is_closed, waiting.reassess_at_height) == ("confirming", False, TIP + 1)
    done = assessed(paid(depth=144), terms=required(144))
    assert (done.status, done.is_closed) == ("confirmed", True)


def test_confirmations_count_from_the_last_part_needed() -> None:
    """Deepest first: what comes on top of the amount doesn't hold it up."""
    parts = paid(60, depth=9), paid(40, depth=2, txid="b"), paid(40, txid="c")
    assert assessed(*parts).confirmations == 2
    assert assessed(*parts, paid(40, depth=7, txid="d")).confirmations == 7
    assert assessed(parts[0], parts[2]).confirmations == 0


def test_confirmed_stays_so_at_any_depth_in_the_active_chain() -> None:
    """A one-block reorg at the tip doesn't take it back."""
    assert status(paid(depth=5), was_confirmed=True) == "confirmed"
    assert status(paid(depth=1), was_confirmed=True) == "confirmed"


def test_confirmed_ends_when_its_outputs_leave_the_chain() -> None:
    """In the mempool again it is received; gone, it is new or expired."""
    assert status(paid(), was_confirmed=True) == "received"
    assert status(gone(paid()), was_confirmed=True) == "new"
    assert status(gone(paid()), was_confirmed=True, as_of=AFTER_EXPIRY) == "expired"


def test_not_covered_in_time_is_expired() -> None:
    """With nothing, with too little, and with money that came later."""
    for receipts in [(), (paid(99),), (paid(at=LATE),), (paid(50), paid(50, at=LATE, txid="b"))]:
        assert status(*receipts, as_of=AFTER_EXPIRY) == "expired"


def test_covered_in_time_never_expires() -> None:
    """Though it is mined long after."""
    assert status(paid(), as_of=AFTER_EXPIRY) == "received"
    assert status(paid(depth=6), as_of=AFTER_MONITORING) == "confirmed"


def test_the_moment_of_expiry_is_still_in_time() -> None:
    """A microsecond later isn't."""
    assert status(as_of=EXPIRES) == "new"
    assert status(as_of=EXPIRES + MICROSECOND) == "expired"
    assert status(paid(at=EXPIRES), as_of=AFTER_EXPIRY) == "received"
    assert status(paid(at=EXPIRES + MICROSECOND), as_of=AFTER_EXPIRY) == "expired"


# Late money


def test_late_money_is_told_and_does_not_count_by_itself() -> None:
    """`LATE_PAYMENTS=review`: even a hundred blocks deep."""
    found = assessed(paid(at=LATE, depth=100), as_of=AFTER_EXPIRY)
    assert (found.status, found.is_late, found.confirmations, found.due_sats) == ("expired", True, 0, 0)
    assert found.received_at is None


def test_too_little_late_money_is_not_late() -> None:
    """The flag says that the request would be covered."""
    found = assessed(paid(99, at=LATE), as_of=AFTER_EXPIRY)
    assert (found.is_late, found.due_sats, found.received_sats) == (False, 1, 99)


def test_accepted_late_money_counts_and_stays_late() -> None:
    """Whenever it came."""
    found = assessed(paid(at=TOO_LATE, depth=6), as_of=AFTER_MONITORING, terms=ACCEPTED)
    assert (found.status, found.is_late, found.received_at) == ("confirmed", True, TOO_LATE)


def test_by_the_accepting_policy_late_money_counts_within_the_monitoring_period() -> None:
    """And not after it."""
    in_period = assessed(paid(at=LATE), as_of=AFTER_EXPIRY, terms=ACCEPTING)
    assert (in_period.status, in_period.is_late) == ("received", True)
    after = assessed(paid(at=TOO_LATE), as_of=AFTER_MONITORING, terms=ACCEPTING)
    assert (after.status, after.is_late) == ("expired", True)


def test_more_money_after_expiry_makes_no_covered_request_late() -> None:
    """It is covered by what came in time."""
    found = assessed(paid(), paid(50, at=LATE, txid="b"), as_of=AFTER_EXPIRY)
    assert (found.status, found.is_late, found.overpaid_sats) == ("received", False, 50)


# A gap


def test_money_is_as_old_as_its_presence_without_a_gap() -> None:
    """It was first seen in time, went, and came back late; or it took the place of money in time."""
    back = paid(since=LATE)
    found = assessed(back, as_of=AFTER_EXPIRY)
    assert (found.status, found.is_late, found.received_at) == ("expired", True, None)
    bump = paid(at=LATE, since=EXPIRES)
    found = assessed(bump, as_of=AFTER_EXPIRY)
    assert (found.status, found.is_late, found.received_at) == ("received", False, EXPIRES)


# Nothing, and coinbase outputs


def test_an_output_of_nothing_is_no_payment() -> None:
    """It makes a request neither underpaid, nor names a transaction, nor keeps it open."""
    found = assessed(paid(0))
    assert (found.status, found.txid, found.received_sats) == ("new", None, 0)
    assert assessed(paid(depth=100), paid(0, txid="b")).is_closed


@pytest.mark.parametrize("confirmations", [0, 1, 6, 100])
def test_a_coinbase_output_is_confirmed_at_a_hundred(confirmations: int) -> None:
    """However few are required; it is looked at again then, and shown what is required of it."""
    early = assessed(paid(depth=99, is_coinbase=True), terms=required(confirmations))
    assert (early.status, early.confirmations, early.confirmations_required) == ("confirming", 99, 100)
    assert early.reassess_at_height == TIP + 1
    ripe = assessed(paid(depth=100, is_coinbase=True), terms=required(confirmations))
    assert (ripe.status, ripe.is_closed, ripe.confirmations_required) == ("confirmed", True, 100)


def test_a_coinbase_output_that_is_not_needed_holds_nothing_up() -> None:
    """What else is there covers the request by itself."""
    parts = paid(depth=6), paid(depth=3, txid="b", is_coinbase=True)
    assert status(*parts) == "confirmed"
    assert status(paid(60, depth=6), paid(40, depth=99, txid="b", is_coinbase=True)) == "confirming"
    waiting = assessed(paid(50), paid(50, depth=9, txid="b", is_coinbase=True), terms=required(0))
    assert (waiting.status, waiting.confirmations_required) == ("received", 100)
    assert waiting.reassess_at_height == TIP + 91


@given(any_facts())
def test_what_is_shown_as_required_is_reached_with_the_confirmation(facts: Facts) -> None:
    """Neither before nor after; and it is what was agreed where no coinbase output is needed."""
    found = facts.assess()
    assume(found.status.is_covered)
    assert (found.confirmations >= found.confirmations_required) == (found.status is Status.CONFIRMED)
    assert found.confirmations_required >= facts.terms.confirmations_required
    if not any(r.is_coinbase for r in facts.receipts):
        assert found.confirmations_required == facts.terms.confirmations_required


# What stands beside the status


def test_the_transaction_named_is_the_live_one_seen_first() -> None:
    """A replaced one isn't named."""
    early, later = paid(10, at=EXPIRES - 3 * MONITORED, txid="z"), paid(10, txid="a")
    assert assessed(later, early).txid == "z"
    assert assessed(later, gone(early)).txid == "a"
    assert assessed(gone(early)).txid is None


def test_a_request_was_received_when_its_last_needed_part_was_seen() -> None:
    """Not when the first came, nor the one on top."""
    at = [EXPIRES - timedelta(seconds=seconds) for seconds in (30, 20, 10)]
    parts = [paid(50, at=moment, txid=txid) for moment, txid in zip(at, "abc", strict=True)]
    assert assessed(*parts).received_at == at[1]


# Closing


def test_a_confirmed_request_closes_when_all_it_has_is_a_hundred_deep() -> None:
    """Also what is more than was due."""
    assert not assessed(paid(depth=CLOSING_DEPTH - 1)).is_closed
    assert assessed(paid(depth=CLOSING_DEPTH)).is_closed
    assert not assessed(paid(depth=CLOSING_DEPTH), paid(1, depth=99, txid="b")).is_closed
    assert not assessed(paid(depth=CLOSING_DEPTH), paid(1, txid="b")).is_closed


def test_a_request_closes_after_monitoring_unless_something_is_on_its_way() -> None:
    """In the mempool, or in the chain and not yet confirmed."""
    assert not assessed(as_of=EXPIRES + MONITORED).is_closed
    assert assessed(as_of=AFTER_MONITORING).is_closed
    assert assessed(paid(at=LATE, depth=1), as_of=AFTER_MONITORING).is_closed
    assert assessed(paid(depth=6), as_of=AFTER_MONITORING).is_closed
    assert not assessed(paid(at=LATE), as_of=AFTER_MONITORING).is_closed
    assert not assessed(paid(depth=1), as_of=AFTER_MONITORING).is_closed


def test_money_in_the_mempool_or_a_reorg_opens_a_closed_request_again() -> None:
    """What counts is the facts, not that it was closed once."""
    assert not assessed(paid(depth=100), paid(1, txid="b"), was_confirmed=True).is_closed
    assert not assessed(paid(depth=3), was_confirmed=True).is_closed
