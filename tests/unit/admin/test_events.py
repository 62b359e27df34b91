"""What is told: each change once, in order, and nothing where nothing changed."""

from dataclasses import replace
from datetime import datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.status import EventType, ReceivedOutput, Status
from tests.support.facts import (
    ACCEPTING,
    AFTER_EXPIRY,
    AFTER_MONITORING,
    LATE,
    TERMS,
    TIP,
    TOO_LATE,
    Facts,
    RequestHistory,
    any_receipts,
    any_terms,
    gone,
    moments,
    paid,
)

# Each row of the table


def test_nothing_is_told_of_a_new_request() -> None:
    """It tells of itself by the answer to the POST."""
    assert RequestHistory().now() == ()


def test_underpaid_is_told_with_each_further_part() -> None:
    """Until it is covered."""
    story = RequestHistory()
    assert story.now(paid(30)) == ("underpaid",)
    assert story.now(paid(30), paid(30, txid="b")) == ("underpaid",)
    assert story.now(paid(30), paid(30, txid="b"), paid(40, txid="c")) == ("received",)


def test_received_then_confirmed() -> None:
    """The two that every payment has; nothing is told of the blocks between."""
    story = RequestHistory()
    assert story.now(paid()) == ("received",)
    for depth in range(1, 6):
        assert story.now(paid(depth=depth)) == ()
    assert story.now(paid(depth=6)) == ("confirmed",)
    assert story.now(paid(depth=7)) == ()


def test_a_payment_first_seen_deep_is_received_and_confirmed() -> None:
    """Both, in this order."""
    assert RequestHistory().now(paid(depth=6)) == ("received", "confirmed")


def test_a_payment_that_needs_no_confirmation_is_received_and_confirmed() -> None:
    """As soon as it is in the mempool."""
    assert RequestHistory(replace(TERMS, confirmations_required=0)).now(paid()) == ("received", "confirmed")


def test_expired_is_told_once() -> None:
    """Of an empty request, and of one with money stuck in it."""
    for receipts in [(), (paid(30),)]:
        story = RequestHistory()
        story.now(*receipts)
        assert story.now(*receipts, as_of=AFTER_EXPIRY) == ("expired",)
        assert story.now(*receipts, as_of=AFTER_EXPIRY) == ()


def test_late_money_that_would_cover_is_told_as_late() -> None:
    """After the expiry, which was told before it."""
    story = RequestHistory()
    assert story.now(as_of=AFTER_EXPIRY) == ("expired",)
    assert story.now(paid(at=LATE), as_of=AFTER_EXPIRY) == ("late",)
    assert story.now(paid(at=LATE, depth=6), as_of=AFTER_EXPIRY) == ()


def test_expiry_and_late_money_found_together_are_told_in_this_order() -> None:
    """As after an hour in which the daemon was down."""
    assert RequestHistory().now(paid(at=LATE), as_of=AFTER_EXPIRY) == ("expired", "late")


def test_an_accepted_late_payment_is_received_then() -> None:
    """Its money was told of already, as late."""
    story = RequestHistory()
    story.now(paid(at=LATE), as_of=AFTER_EXPIRY)
    assert story.now(paid(at=LATE), as_of=AFTER_EXPIRY, accepted=True) == ("received",)
    assert story.now(paid(at=LATE, depth=6), as_of=AFTER_EXPIRY) == ("confirmed",)


def test_by_the_accepting_policy_late_money_is_late_and_received() -> None:
    """Late is told first: it says what is odd about the rest."""
    story = RequestHistory(ACCEPTING)
    story.now(as_of=AFTER_EXPIRY)
    assert story.now(paid(at=LATE, depth=6), as_of=AFTER_EXPIRY) == ("late", "received", "confirmed")


def test_a_double_spend_is_reverted() -> None:
    """Urgent; and where the time is over, it has expired as well."""
    story = RequestHistory()
    story.now(paid())
    assert story.now(gone(paid())) == ("reverted",)
    story = RequestHistory()
    story.now(paid())
    assert story.now(gone(paid()), as_of=AFTER_EXPIRY) == ("reverted", "expired")


def test_what_comes_back_to_a_closed_request_is_extra() -> None:
    """Though as much had been told of before it went; to an open one it is nothing new."""
    story, part = RequestHistory(), paid(30)
    assert story.now(part) == ("underpaid",)
    assert story.now(part, as_of=AFTER_EXPIRY) == ("expired",)
    assert story.now(gone(part), as_of=AFTER_EXPIRY) == ()
    assert story.now(replace(part, present_since=LATE), as_of=AFTER_EXPIRY) == ()
    assert story.now(gone(part), as_of=AFTER_MONITORING) == ()
    assert story.standing.is_closed
    back = replace(part, present_since=TOO_LATE)
    assert story.now(back, as_of=AFTER_MONITORING) == ("extra",)
    assert story.now(replace(back, block_height=TIP), as_of=AFTER_MONITORING) == ()


def test_a_double_spend_of_a_part_is_reverted_and_underpaid() -> None:
    """What is left is told, too."""
    story = RequestHistory()
    story.now(paid(60), paid(40, txid="b"))
    assert story.now(paid(60), gone(paid(40, txid="b"))) == ("reverted", "underpaid")


def test_reverted_then_paid_again_is_received_again() -> None:
    """And confirmed again, where it had been."""
    story = RequestHistory()
    story.now(paid(depth=6))
    assert story.now(gone(paid())) == ("reverted",)
    assert story.now(gone(paid()), paid(txid="b")) == ("received",)
    assert story.now(gone(paid()), paid(txid="b", depth=6)) == ("confirmed",)


def test_confirmed_outputs_that_leave_the_chain_are_reverted() -> None:
    """Though they are in the mempool, so that the request stays covered: received isn't told again."""
    story = RequestHistory()
    story.now(paid(depth=6))
    assert story.now(paid()) == ("reverted",)
    assert story.now(paid(depth=1)) == ()
    assert story.now(paid(depth=6)) == ("confirmed",)


def test_more_money_to_a_covered_request_is_extra_once() -> None:
    """Received, confirming or confirmed."""
    for depth in (0, 1, 6):
        story = RequestHistory()
        story.now(paid(depth=depth))
        assert story.now(paid(depth=depth), paid(1, txid="b")) == ("extra",)
        assert story.now(paid(depth=depth), paid(1, txid="b")) == ()
        assert story.now(paid(depth=depth), paid(1, txid="b", depth=1)) == ()


def test_more_money_found_with_the_last_confirmation_is_told_as_well() -> None:
    """The confirmation doesn't speak for it."""
    story = RequestHistory()
    story.now(paid(depth=5))
    assert story.now(paid(depth=6), paid(50, txid="b", depth=1)) == ("confirmed", "extra")


def test_an_overpayment_at_once_is_received_and_no_extra() -> None:
    """Its document says how much is too much."""
    assert RequestHistory().now(paid(150)) == ("received",)


def test_money_to_a_closed_request_is_extra() -> None:
    """Years later, and though it would have covered the request: late is what an open one can be."""
    story = RequestHistory()
    story.now(as_of=AFTER_MONITORING)
    assert story.standing.is_closed
    assert story.now(paid(at=TOO_LATE), as_of=AFTER_MONITORING) == ("extra",)
    assert story.now(paid(at=TOO_LATE, depth=1), as_of=AFTER_MONITORING) == ()

    story = RequestHistory()
    story.now(paid(depth=100))
    assert story.standing.is_closed
    assert story.now(paid(depth=100), paid(1, txid="b", depth=1)) == ("extra",)


def test_a_part_that_is_found_at_the_expiry_is_no_extra() -> None:
    """The email of the expiry has it in it: the daemon was down when the part came."""
    assert RequestHistory().now(paid(50), as_of=AFTER_EXPIRY) == ("expired",)


def test_late_money_that_is_not_enough_is_extra() -> None:
    """Each part of it, until they would cover: that is late."""
    story = RequestHistory()
    story.now(as_of=AFTER_EXPIRY)
    parts = [paid(40, at=LATE, txid=txid) for txid in "abcd"]
    assert story.now(*parts[:1], as_of=AFTER_EXPIRY) == ("extra",)
    assert story.now(*parts[:2], as_of=AFTER_EXPIRY) == ("extra",)
    assert story.now(*parts[:3], as_of=AFTER_EXPIRY) == ("late",)
    assert story.now(*parts, as_of=AFTER_EXPIRY) == ("extra",)


# What must not be told


@pytest.mark.parametrize("receipts", [(), (paid(30),), (paid(),), (paid(depth=6),), (paid(130, depth=100),)])
@pytest.mark.parametrize("as_of", [LATE, AFTER_EXPIRY, AFTER_MONITORING])
def test_the_same_facts_again_tell_nothing(receipts: tuple[ReceivedOutput, ...], as_of: datetime) -> None:
    """However often."""
    story = RequestHistory()
    story.now(*receipts)
    story.now(*receipts, as_of=as_of)
    assert story.now(*receipts, as_of=as_of) == ()


def test_a_part_that_is_dropped_and_returns_is_not_told_again() -> None:
    """Whether it was a part of too little or came on top."""
    first, second = paid(30), paid(20, txid="b")
    story = RequestHistory()
    story.now(first, second)
    assert story.now(first, gone(second)) == ()
    assert story.now(first, second) == ()

    story = RequestHistory()
    story.now(paid())
    assert story.now(paid(), second) == ("extra",)
    assert story.now(paid(), gone(second)) == ()
    assert story.now(paid(), second) == ()


def test_less_in_the_place_of_what_has_gone_is_told() -> None:
    """It is money that nobody was told of, though more had been there before."""
    first, second, third = paid(30), paid(20, txid="b"), paid(10, txid="c")
    story = RequestHistory()
    assert story.now(first, second) == ("underpaid",)
    assert story.now(first, gone(second)) == ()
    assert story.now(first, gone(second), third) == ("underpaid",)

    story = RequestHistory()
    story.now(paid())
    assert story.now(paid(), second) == ("extra",)
    assert story.now(paid(), gone(second)) == ()
    assert story.now(paid(), gone(second), third) == ("extra",)
    assert story.now(paid(), gone(second), gone(third)) == ()
    assert story.now(paid(), gone(second), third) == ()

    late = paid(at=LATE)
    story = RequestHistory()
    story.now(as_of=AFTER_EXPIRY)
    assert story.now(late, as_of=AFTER_EXPIRY) == ("late",)
    assert story.now(gone(late), as_of=AFTER_EXPIRY) == ()
    assert story.now(gone(late), paid(99, at=LATE, txid="b"), as_of=AFTER_EXPIRY) == ("extra",)


def test_a_payment_that_is_dropped_and_returns_is_reverted_and_received() -> None:
    """In between nobody could know that it would."""
    story = RequestHistory()
    story.now(paid())
    assert [story.now(gone(paid())), story.now(paid())] == [("reverted",), ("received",)]


def test_a_fee_bump_tells_nothing() -> None:
    """The money is another transaction's now, and never was away."""
    story = RequestHistory()
    story.now(paid())
    assert story.now(gone(paid()), paid(txid="b")) == ()
    assert story.now(gone(paid()), paid(txid="b", depth=1)) == ()
    assert story.standing.status is Status.CONFIRMING


def test_a_reorg_that_ends_as_deep_as_before_tells_nothing() -> None:
    """Nor one that leaves a confirmed payment less deep, but in the chain."""
    story = RequestHistory()
    story.now(paid(depth=6))
    assert story.now(paid(depth=6)) == ()
    assert story.now(paid(depth=2)) == ()
    assert story.now(paid(depth=7)) == ()


def test_a_payment_that_leaves_the_chain_before_it_was_confirmed_tells_nothing() -> None:
    """It is still received."""
    story = RequestHistory()
    story.now(paid(depth=3))
    assert story.now(paid()) == ()
    assert story.standing.status is Status.RECEIVED


# Any life


@st.composite
def lives(draw: st.DrawFn) -> list[Facts]:
    """Facts of one request, one after the other: outputs come, go, are mined; time doesn't go back."""
    terms = draw(any_terms())
    known = draw(any_receipts())
    times = sorted(draw(st.lists(moments, min_size=1, max_size=8)))
    facts = []
    for moment in times:
        fates = draw(
            st.lists(st.sampled_from(["as it was", "absent", "gone", "unmined"]), min_size=5, max_size=5)
        )
        receipts = tuple(_met(r, fate) for r, fate in zip(known, fates, strict=False) if fate != "absent")
        is_accepted = terms.is_late_accepted and moment > terms.expires_at
        facts.append(
            Facts(
                replace(terms, is_late_accepted=is_accepted),
                receipts,
                draw(st.integers(TIP, TIP + 8)),
                moment,
            )
        )
    return facts


def _met(receipt: ReceivedOutput, fate: str) -> ReceivedOutput:
    match fate:
        case "gone":
            return gone(receipt)
        case "unmined":
            return replace(receipt, block_height=None, is_live=True)
    return receipt


@given(lives())
def test_received_and_reverted_tell_when_coverage_begins_and_ends(life: list[Facts]) -> None:
    """Exactly then; reverted also where a confirmed one has left the chain and is covered still."""
    story = RequestHistory()
    for facts in life:
        before = story.standing.status
        told = story.live_through(facts)
        after = story.standing.status
        begins = after.is_covered and not before.is_covered
        ends = before.is_covered and not after.is_covered
        has_lost_depth = before is Status.CONFIRMED and after.is_covered and after is not Status.CONFIRMED
        assert (EventType.RECEIVED in told) == begins
        assert (EventType.REVERTED in told) == (ends or has_lost_depth)
        assert (EventType.CONFIRMED in told) == (after is Status.CONFIRMED and before is not after)
        assert (EventType.EXPIRED in told) == (after is Status.EXPIRED and before is not after)


@given(lives())
def test_between_two_received_there_is_always_a_reverted(life: list[Facts]) -> None:
    """And between two confirmed; and confirmed never comes before received."""
    story = RequestHistory()
    for facts in life:
        story.live_through(facts)
    for event in (EventType.RECEIVED, EventType.CONFIRMED):
        since = [EventType.REVERTED, *(e for e in story.told if e in (event, EventType.REVERTED))]
        assert all(pair != (event, event) for pair in pairwise(since))
    if EventType.CONFIRMED in story.told:
        assert story.told.index(EventType.RECEIVED) < story.told.index(EventType.CONFIRMED)


@given(lives())
def test_no_event_is_told_twice_for_the_same_facts(life: list[Facts]) -> None:
    """Assessing again, for whatever reason, is silent."""
    story = RequestHistory()
    for facts in life:
        told = story.live_through(facts)
        assert len(set(told)) == len(told)
        assert story.live_through(facts) == ()


@given(lives())
def test_more_money_than_was_told_never_goes_untold(life: list[Facts]) -> None:
    """What the last event told of is never less than what is there."""
    story = RequestHistory()
    for facts in life:
        is_told = bool(story.live_through(facts))
        received = facts.assess().received_sats
        assert story.standing.notified_sats >= received
        assert not is_told or story.standing.notified_sats == received


@given(lives())
def test_money_that_was_never_seen_before_never_goes_untold(life: list[Facts]) -> None:
    """Whatever has come and gone before it."""
    story = RequestHistory()
    seen: set[tuple[str, int]] = set()
    for facts in life:
        before = story.standing.received_sats
        is_told = bool(story.live_through(facts))
        live = {(receipt.txid, receipt.vout) for receipt in facts.receipts if receipt.is_live}
        assert is_told or live <= seen or story.standing.received_sats <= before
        seen.update((receipt.txid, receipt.vout) for receipt in facts.receipts)
