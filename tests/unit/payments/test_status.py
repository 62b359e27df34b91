"""The status is the one of docs/spec.md 3, for any facts in any order."""

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
from tests.support.needs import examples

MICROSECOND = timedelta(microseconds=1)


def assessed(
    *outputs: ReceivedOutput,
    terms: Terms = TERMS,
    as_of: datetime = BEFORE_EXPIRY,
    was_confirmed: bool = False,
) -> Assessment:
    return Facts(terms, outputs, as_of=as_of).assess(was_confirmed)


def status(
    *outputs: ReceivedOutput,
    terms: Terms = TERMS,
    as_of: datetime = BEFORE_EXPIRY,
    was_confirmed: bool = False,
) -> str:
    return assessed(*outputs, terms=terms, as_of=as_of, was_confirmed=was_confirmed).status.value


def required(confirmations: int) -> Terms:
    return replace(TERMS, confirmations_required=confirmations)


# Against the oracle


@settings(max_examples=examples(400))
@given(any_facts(), st.booleans())
def test_an_assessment_agrees_with_the_oracle(facts: Facts, was_confirmed: bool) -> None:
    """Each field that docs/spec.md 3 defines is compared, for arbitrary facts."""
    found = facts.assess(was_confirmed)
    expected = oracle.expected_status(
        facts.terms,
        facts.outputs,
        tip_height=facts.tip_height,
        as_of=facts.as_of,
        was_confirmed=was_confirmed,
    )
    for field in fields(expected):
        if field.name != "txids":
            assert getattr(found, field.name) == getattr(expected, field.name), field.name
    assert {found.txid} <= (expected.txids or {None})


@given(any_facts(), st.booleans(), st.data())
def test_order_and_repetition_of_facts_never_matter(
    facts: Facts, was_confirmed: bool, data: st.DataObject
) -> None:
    """A message that comes twice, or after a later one, must not change a status."""
    repeated = data.draw(st.lists(st.sampled_from(facts.outputs))) if facts.outputs else []
    mixed = tuple(data.draw(st.permutations([*facts.outputs, *repeated])))
    assert replace(facts, outputs=mixed).assess(was_confirmed) == facts.assess(was_confirmed)


@given(any_facts(), st.booleans())
def test_a_request_is_never_covered_by_less_than_its_amount(facts: Facts, was_confirmed: bool) -> None:
    """Replaced, dropped and late outputs do not count."""
    assume(facts.assess(was_confirmed).status.is_covered)
    terms = facts.terms
    last = (
        datetime.max.replace(tzinfo=EXPIRES.tzinfo) if terms.is_late_accepted else terms.late_accepted_until
    )
    good = [r for r in facts.outputs if r.is_live and r.present_since <= (last or terms.expires_at)]
    assert sum(r.amount_sats for r in good) >= terms.amount_sats - terms.tolerance_sats


@given(any_facts(), st.booleans())
def test_a_request_is_never_confirmed_below_its_required_depth(facts: Facts, was_confirmed: bool) -> None:
    """A request that was confirmed before is an exception while its outputs are in the active chain."""
    assume(facts.assess(was_confirmed).status is Status.CONFIRMED)
    least = 1 if was_confirmed else facts.terms.confirmations_required
    least = min(least, facts.terms.confirmations_required)
    depths = [(r, oracle.depth(r, facts.tip_height)) for r in facts.outputs if r.is_live]
    deep = [r for r, d in depths if d >= least and (was_confirmed or not r.is_coinbase or d >= 100)]
    assert sum(r.amount_sats for r in deep) >= facts.terms.needed_sats


@given(any_facts(), st.booleans())
def test_due_and_overpaid_are_never_both_positive(facts: Facts, was_confirmed: bool) -> None:
    """A covered request has nothing due."""
    found = facts.assess(was_confirmed)
    assert min(found.due_sats, found.overpaid_sats) == 0
    assert not (found.status.is_covered and found.due_sats)


# The next height and deadline


def status_fields(found: Assessment) -> tuple[object, ...]:
    return found.status, found.is_late, found.is_closed


@given(any_facts(), st.booleans())
@example(Facts(ACCEPTING, (paid(at=LATE),), as_of=BEFORE_EXPIRY), False)
@example(Facts(TERMS, (paid(depth=1),)), False)
@example(Facts(TERMS, (paid(depth=99),)), True)
def test_no_status_changes_before_the_next_height_and_deadline(facts: Facts, was_confirmed: bool) -> None:
    """The daemon may skip a request until then. The test tries each block, and each time that matters."""
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
            assert status_fields(later.assess(is_confirmed)) == status_fields(found)


@given(any_facts(), st.booleans())
def test_an_assessed_request_is_not_due_again_at_once(facts: Facts, was_confirmed: bool) -> None:
    """Otherwise the daemon would assess it without end."""
    found = facts.assess(was_confirmed)
    assert found.reassess_at_height is None or found.reassess_at_height > facts.tip_height
    assert found.reassess_at is None or found.reassess_at >= facts.as_of


@given(any_facts(), st.booleans(), st.integers(0, 300), st.integers(0, 10**6))
def test_blocks_and_time_do_not_change_a_closed_request(
    facts: Facts, was_confirmed: bool, blocks: int, seconds: int
) -> None:
    facts = replace(facts, as_of=max(facts.as_of, AFTER_MONITORING)) if seconds % 2 else facts.sunk(100)
    found = facts.assess(was_confirmed)
    assume(found.is_closed)
    assert (found.reassess_at_height, found.reassess_at) == (None, None)
    later = replace(
        facts, tip_height=facts.tip_height + blocks, as_of=facts.as_of + timedelta(seconds=seconds)
    ).assess(found.status is Status.CONFIRMED)
    assert (later.status, later.is_closed) == (found.status, True)


# The table of statuses, row by row


def test_a_request_without_live_outputs_is_new() -> None:
    """Replaced and dropped outputs do not count."""
    assert status() == "new"
    assert status(gone(paid())) == "new"


def test_less_than_the_amount_is_underpaid() -> None:
    """One missing satoshi is enough."""
    found = assessed(paid(99))
    assert (found.status, found.due_sats, found.received_sats) == ("underpaid", 1, 99)


def test_a_shortfall_within_the_tolerance_is_received() -> None:
    """It is exact to the satoshi, and nothing is then due."""
    terms = replace(TERMS, tolerance_sats=5)
    assert status(paid(94), terms=terms) == "underpaid"
    assert status(paid(95), terms=terms) == "received"
    assert assessed(paid(95), terms=terms).due_sats == 0


def test_an_underpaid_request_has_its_full_rest_due() -> None:
    """The tolerance does not reduce the amount that the customer is asked for."""
    assert assessed(paid(90), terms=replace(TERMS, tolerance_sats=5)).due_sats == 10


def test_the_amount_in_the_mempool_is_received() -> None:
    """One output or several may bring it."""
    assert status(paid()) == "received"
    assert status(paid(60), replace(paid(40), vout=1)) == "received"
    assert status(paid(60), paid(40, txid="b")) == "received"


@pytest.mark.parametrize(("depth", "expected"), [(1, "confirming"), (5, "confirming"), (6, "confirmed")])
def test_a_mined_payment_is_confirming_until_the_required_depth(depth: int, expected: str) -> None:
    found = assessed(paid(depth=depth))
    assert (found.status, found.confirmations) == (expected, depth)


@pytest.mark.parametrize(
    ("confirmations", "expected"), [(0, "confirmed"), (1, "received"), (144, "received")]
)
def test_only_a_request_with_zero_confirmations_is_confirmed_in_the_mempool(
    confirmations: int, expected: str
) -> None:
    assert status(paid(), terms=required(confirmations)) == expected


def test_a_hundred_and_forty_four_confirmations_can_be_required() -> None:
    """They are more than the depth at which a request closes, so it closes when it is confirmed."""
    waiting = assessed(paid(depth=143), terms=required(144))
    assert (waiting.status, waiting.is_closed, waiting.reassess_at_height) == ("confirming", False, TIP + 1)
    done = assessed(paid(depth=144), terms=required(144))
    assert (done.status, done.is_closed) == ("confirmed", True)


def test_confirmations_are_those_of_the_least_deep_needed_output() -> None:
    """The deepest outputs count first, so extra money does not delay the confirmation."""
    parts = paid(60, depth=9), paid(40, depth=2, txid="b"), paid(40, txid="c")
    assert assessed(*parts).confirmations == 2
    assert assessed(*parts, paid(40, depth=7, txid="d")).confirmations == 7
    assert assessed(parts[0], parts[2]).confirmations == 0


def test_a_confirmed_request_stays_confirmed_in_the_active_chain() -> None:
    """A reorg of one block at the tip must not revert it."""
    assert status(paid(depth=5), was_confirmed=True) == "confirmed"
    assert status(paid(depth=1), was_confirmed=True) == "confirmed"


def test_a_confirmed_request_is_reverted_when_its_outputs_leave_the_chain() -> None:
    assert status(paid(), was_confirmed=True) == "received"
    assert status(gone(paid()), was_confirmed=True) == "new"
    assert status(gone(paid()), was_confirmed=True, as_of=AFTER_EXPIRY) == "expired"


def test_a_request_that_is_not_covered_in_time_is_expired() -> None:
    for outputs in [(), (paid(99),), (paid(at=LATE),), (paid(50), paid(50, at=LATE, txid="b"))]:
        assert status(*outputs, as_of=AFTER_EXPIRY) == "expired"


def test_a_request_that_is_covered_in_time_never_expires() -> None:
    """It may be mined long after."""
    assert status(paid(), as_of=AFTER_EXPIRY) == "received"
    assert status(paid(depth=6), as_of=AFTER_MONITORING) == "confirmed"


def test_the_moment_of_expiry_is_still_in_time() -> None:
    assert status(as_of=EXPIRES) == "new"
    assert status(as_of=EXPIRES + MICROSECOND) == "expired"
    assert status(paid(at=EXPIRES), as_of=AFTER_EXPIRY) == "received"
    assert status(paid(at=EXPIRES + MICROSECOND), as_of=AFTER_EXPIRY) == "expired"


# Late money


def test_late_money_is_flagged_and_does_not_count_by_itself() -> None:
    """With `LATE_PAYMENTS=review` this holds even a hundred blocks deep."""
    found = assessed(paid(at=LATE, depth=100), as_of=AFTER_EXPIRY)
    assert (found.status, found.is_late, found.confirmations, found.due_sats) == ("expired", True, 0, 0)
    assert found.received_at is None


def test_too_little_late_money_is_not_late() -> None:
    """The flag means that the money would cover the request."""
    found = assessed(paid(99, at=LATE), as_of=AFTER_EXPIRY)
    assert (found.is_late, found.due_sats, found.received_sats) == (False, 1, 99)


def test_accepted_late_money_counts_and_stays_late() -> None:
    found = assessed(paid(at=TOO_LATE, depth=6), as_of=AFTER_MONITORING, terms=ACCEPTED)
    assert (found.status, found.is_late, found.received_at) == ("confirmed", True, TOO_LATE)


def test_the_accepting_policy_counts_late_money_of_the_monitoring_period() -> None:
    in_period = assessed(paid(at=LATE), as_of=AFTER_EXPIRY, terms=ACCEPTING)
    assert (in_period.status, in_period.is_late) == ("received", True)
    after = assessed(paid(at=TOO_LATE), as_of=AFTER_MONITORING, terms=ACCEPTING)
    assert (after.status, after.is_late) == ("expired", True)


def test_extra_money_after_expiry_makes_no_covered_request_late() -> None:
    found = assessed(paid(), paid(50, at=LATE, txid="b"), as_of=AFTER_EXPIRY)
    assert (found.status, found.is_late, found.overpaid_sats) == ("received", False, 50)


# A gap


def test_money_is_as_old_as_its_presence_without_a_gap() -> None:
    """Money that went away and came back late is late. A replacement of timely money is timely."""
    back = paid(since=LATE)
    found = assessed(back, as_of=AFTER_EXPIRY)
    assert (found.status, found.is_late, found.received_at) == ("expired", True, None)
    bump = paid(at=LATE, since=EXPIRES)
    found = assessed(bump, as_of=AFTER_EXPIRY)
    assert (found.status, found.is_late, found.received_at) == ("received", False, EXPIRES)


# Outputs of zero satoshis, and coinbase outputs


def test_an_output_of_zero_satoshis_is_no_payment() -> None:
    """It makes no request underpaid, names no transaction, and keeps no request open."""
    found = assessed(paid(0))
    assert (found.status, found.txid, found.received_sats) == ("new", None, 0)
    assert assessed(paid(depth=100), paid(0, txid="b")).is_closed


@pytest.mark.parametrize("confirmations", [0, 1, 6, 100])
def test_a_coinbase_output_is_confirmed_at_a_depth_of_100(confirmations: int) -> None:
    """The request shows this requirement, and is reassessed at that depth."""
    early = assessed(paid(depth=99, is_coinbase=True), terms=required(confirmations))
    assert (early.status, early.confirmations, early.confirmations_required) == ("confirming", 99, 100)
    assert early.reassess_at_height == TIP + 1
    ripe = assessed(paid(depth=100, is_coinbase=True), terms=required(confirmations))
    assert (ripe.status, ripe.is_closed, ripe.confirmations_required) == ("confirmed", True, 100)


def test_a_coinbase_output_that_is_not_needed_delays_nothing() -> None:
    """The other outputs cover the request."""
    parts = paid(depth=6), paid(depth=3, txid="b", is_coinbase=True)
    assert status(*parts) == "confirmed"
    assert status(paid(60, depth=6), paid(40, depth=99, txid="b", is_coinbase=True)) == "confirming"
    waiting = assessed(paid(50), paid(50, depth=9, txid="b", is_coinbase=True), terms=required(0))
    assert (waiting.status, waiting.confirmations_required) == ("received", 100)
    assert waiting.reassess_at_height == TIP + 91


def test_no_shown_confirmations_required_are_below_zero() -> None:
    """The outputs in blocks cover the request. With an unconfirmed output, a deeper block is enough."""
    found = assessed(
        paid(90, depth=2, txid="a"), paid(10, depth=1, txid="b"), paid(10, txid="c"), terms=required(0)
    )
    assert (found.status, found.confirmations, found.confirmations_required) == ("confirmed", 1, 0)


@given(any_facts())
def test_the_shown_confirmations_required_are_reached_exactly_at_the_confirmation(facts: Facts) -> None:
    """Without a coinbase output they are those of the request's terms."""
    found = facts.assess()
    assume(found.status.is_covered)
    assert (found.confirmations >= found.confirmations_required) == (found.status is Status.CONFIRMED)
    assert found.confirmations_required >= facts.terms.confirmations_required
    if not any(r.is_coinbase for r in facts.outputs):
        assert found.confirmations_required == facts.terms.confirmations_required


# Fields besides the status


def test_txid_is_the_live_transaction_seen_first() -> None:
    early, later = paid(10, at=EXPIRES - 3 * MONITORED, txid="z"), paid(10, txid="a")
    assert assessed(later, early).txid == "z"
    assert assessed(later, gone(early)).txid == "a"
    assert assessed(gone(early)).txid is None


def test_received_at_is_when_the_last_needed_output_was_seen() -> None:
    at = [EXPIRES - timedelta(seconds=seconds) for seconds in (30, 20, 10)]
    parts = [paid(50, at=moment, txid=txid) for moment, txid in zip(at, "abc", strict=True)]
    assert assessed(*parts).received_at == at[1]


# Closing


def test_a_confirmed_request_closes_when_all_its_outputs_are_a_hundred_deep() -> None:
    """Extra money counts, too."""
    assert not assessed(paid(depth=CLOSING_DEPTH - 1)).is_closed
    assert assessed(paid(depth=CLOSING_DEPTH)).is_closed
    assert not assessed(paid(depth=CLOSING_DEPTH), paid(1, depth=99, txid="b")).is_closed
    assert not assessed(paid(depth=CLOSING_DEPTH), paid(1, txid="b")).is_closed


def test_a_request_closes_after_monitoring_unless_a_payment_is_unconfirmed() -> None:
    assert not assessed(as_of=EXPIRES + MONITORED).is_closed
    assert assessed(as_of=AFTER_MONITORING).is_closed
    assert assessed(paid(at=LATE, depth=1), as_of=AFTER_MONITORING).is_closed
    assert assessed(paid(depth=6), as_of=AFTER_MONITORING).is_closed
    assert not assessed(paid(at=LATE), as_of=AFTER_MONITORING).is_closed
    assert not assessed(paid(depth=1), as_of=AFTER_MONITORING).is_closed


def test_money_in_the_mempool_or_a_reorg_opens_a_closed_request_again() -> None:
    """The facts decide, not that the request was closed."""
    assert not assessed(paid(depth=100), paid(1, txid="b"), was_confirmed=True).is_closed
    assert not assessed(paid(depth=3), was_confirmed=True).is_closed
