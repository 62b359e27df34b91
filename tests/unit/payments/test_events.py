"""Each change has one event, in order, and there is no event without a change."""

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


def test_a_new_request_has_no_event() -> None:
    """The answer to the POST reports it."""
    assert RequestHistory().now() == ()


def test_each_part_of_an_underpaid_request_is_underpaid() -> None:
    """The last part makes it received."""
    request = RequestHistory()
    assert request.now(paid(30)) == ("underpaid",)
    assert request.now(paid(30), paid(30, txid="b")) == ("underpaid",)
    assert request.now(paid(30), paid(30, txid="b"), paid(40, txid="c")) == ("received",)


def test_a_payment_is_received_and_then_confirmed() -> None:
    """The blocks between them have no events."""
    request = RequestHistory()
    assert request.now(paid()) == ("received",)
    for depth in range(1, 6):
        assert request.now(paid(depth=depth)) == ()
    assert request.now(paid(depth=6)) == ("confirmed",)
    assert request.now(paid(depth=7)) == ()


def test_a_payment_first_seen_deep_is_received_and_confirmed() -> None:
    assert RequestHistory().now(paid(depth=6)) == ("received", "confirmed")


def test_a_payment_that_needs_no_confirmation_is_received_and_confirmed() -> None:
    """Both happen as soon as it is in the mempool."""
    assert RequestHistory(replace(TERMS, confirmations_required=0)).now(paid()) == ("received", "confirmed")


def test_an_expiry_has_one_event() -> None:
    """The request may be unpaid or partly paid."""
    for outputs in [(), (paid(30),)]:
        request = RequestHistory()
        request.now(*outputs)
        assert request.now(*outputs, as_of=AFTER_EXPIRY) == ("expired",)
        assert request.now(*outputs, as_of=AFTER_EXPIRY) == ()


def test_late_money_that_would_cover_is_late() -> None:
    """The expiry has its event before."""
    request = RequestHistory()
    assert request.now(as_of=AFTER_EXPIRY) == ("expired",)
    assert request.now(paid(at=LATE), as_of=AFTER_EXPIRY) == ("late",)
    assert request.now(paid(at=LATE, depth=6), as_of=AFTER_EXPIRY) == ()


def test_an_expiry_found_with_late_money_comes_first() -> None:
    """The daemon may not have run for an hour."""
    assert RequestHistory().now(paid(at=LATE), as_of=AFTER_EXPIRY) == ("expired", "late")


def test_an_accepted_late_payment_is_received() -> None:
    """The money itself was reported before as late."""
    request = RequestHistory()
    request.now(paid(at=LATE), as_of=AFTER_EXPIRY)
    assert request.now(paid(at=LATE), as_of=AFTER_EXPIRY, accepted=True) == ("received",)
    assert request.now(paid(at=LATE, depth=6), as_of=AFTER_EXPIRY) == ("confirmed",)


def test_the_accepting_policy_makes_late_money_late_and_received() -> None:
    """The event `late` comes first, because it explains the others."""
    request = RequestHistory(ACCEPTING)
    request.now(as_of=AFTER_EXPIRY)
    assert request.now(paid(at=LATE, depth=6), as_of=AFTER_EXPIRY) == ("late", "received", "confirmed")


def test_a_double_spend_is_reverted() -> None:
    """After the expiry it has also expired."""
    request = RequestHistory()
    request.now(paid())
    assert request.now(gone(paid())) == ("reverted",)
    request = RequestHistory()
    request.now(paid())
    assert request.now(gone(paid()), as_of=AFTER_EXPIRY) == ("reverted", "expired")


def test_money_that_returns_to_a_closed_request_is_extra() -> None:
    """Money that returns to an open request is nothing new."""
    request, part = RequestHistory(), paid(30)
    assert request.now(part) == ("underpaid",)
    assert request.now(part, as_of=AFTER_EXPIRY) == ("expired",)
    assert request.now(gone(part), as_of=AFTER_EXPIRY) == ()
    assert request.now(replace(part, present_since=LATE), as_of=AFTER_EXPIRY) == ()
    assert request.now(gone(part), as_of=AFTER_MONITORING) == ()
    assert request.last_known_state.is_closed
    back = replace(part, present_since=TOO_LATE)
    assert request.now(back, as_of=AFTER_MONITORING) == ("extra",)
    assert request.now(replace(back, block_height=TIP), as_of=AFTER_MONITORING) == ()


def test_a_double_spend_of_a_part_is_reverted_and_underpaid() -> None:
    request = RequestHistory()
    request.now(paid(60), paid(40, txid="b"))
    assert request.now(paid(60), gone(paid(40, txid="b"))) == ("reverted", "underpaid")


def test_a_reverted_request_that_is_paid_again_is_received_again() -> None:
    """It is confirmed again, too."""
    request = RequestHistory()
    request.now(paid(depth=6))
    assert request.now(gone(paid())) == ("reverted",)
    assert request.now(gone(paid()), paid(txid="b")) == ("received",)
    assert request.now(gone(paid()), paid(txid="b", depth=6)) == ("confirmed",)


def test_confirmed_outputs_that_leave_the_chain_are_reverted() -> None:
    """They are in the mempool, so the request stays covered and is not received again."""
    request = RequestHistory()
    request.now(paid(depth=6))
    assert request.now(paid()) == ("reverted",)
    assert request.now(paid(depth=1)) == ()
    assert request.now(paid(depth=6)) == ("confirmed",)


def test_more_money_to_a_covered_request_is_extra_once() -> None:
    for depth in (0, 1, 6):
        request = RequestHistory()
        request.now(paid(depth=depth))
        assert request.now(paid(depth=depth), paid(1, txid="b")) == ("extra",)
        assert request.now(paid(depth=depth), paid(1, txid="b")) == ()
        assert request.now(paid(depth=depth), paid(1, txid="b", depth=1)) == ()


def test_extra_money_found_with_the_confirmation_has_its_own_event() -> None:
    request = RequestHistory()
    request.now(paid(depth=5))
    assert request.now(paid(depth=6), paid(50, txid="b", depth=1)) == ("confirmed", "extra")


def test_an_overpayment_in_one_transaction_is_not_extra() -> None:
    """Its document has the overpaid amount."""
    assert RequestHistory().now(paid(150)) == ("received",)


def test_money_to_a_closed_request_is_extra() -> None:
    """It is not late, because only an open request can be late."""
    request = RequestHistory()
    request.now(as_of=AFTER_MONITORING)
    assert request.last_known_state.is_closed
    assert request.now(paid(at=TOO_LATE), as_of=AFTER_MONITORING) == ("extra",)
    assert request.now(paid(at=TOO_LATE, depth=1), as_of=AFTER_MONITORING) == ()

    request = RequestHistory()
    request.now(paid(depth=100))
    assert request.last_known_state.is_closed
    assert request.now(paid(depth=100), paid(1, txid="b", depth=1)) == ("extra",)


def test_a_part_found_at_the_expiry_is_not_extra() -> None:
    """The email about the expiry has the part."""
    assert RequestHistory().now(paid(50), as_of=AFTER_EXPIRY) == ("expired",)


def test_late_money_that_is_not_enough_is_extra() -> None:
    """Each part is extra until the sum would cover the request, which is late."""
    request = RequestHistory()
    request.now(as_of=AFTER_EXPIRY)
    parts = [paid(40, at=LATE, txid=txid) for txid in "abcd"]
    assert request.now(*parts[:1], as_of=AFTER_EXPIRY) == ("extra",)
    assert request.now(*parts[:2], as_of=AFTER_EXPIRY) == ("extra",)
    assert request.now(*parts[:3], as_of=AFTER_EXPIRY) == ("late",)
    assert request.now(*parts, as_of=AFTER_EXPIRY) == ("extra",)


# Facts without an event


@pytest.mark.parametrize("outputs", [(), (paid(30),), (paid(),), (paid(depth=6),), (paid(130, depth=100),)])
@pytest.mark.parametrize("as_of", [LATE, AFTER_EXPIRY, AFTER_MONITORING])
def test_the_same_facts_again_have_no_event(outputs: tuple[ReceivedOutput, ...], as_of: datetime) -> None:
    request = RequestHistory()
    request.now(*outputs)
    request.now(*outputs, as_of=as_of)
    assert request.now(*outputs, as_of=as_of) == ()


def test_a_part_that_is_dropped_and_returns_has_no_second_event() -> None:
    """It may be a part of too little, or extra money."""
    first, second = paid(30), paid(20, txid="b")
    request = RequestHistory()
    request.now(first, second)
    assert request.now(first, gone(second)) == ()
    assert request.now(first, second) == ()

    request = RequestHistory()
    request.now(paid())
    assert request.now(paid(), second) == ("extra",)
    assert request.now(paid(), gone(second)) == ()
    assert request.now(paid(), second) == ()


def test_a_smaller_part_after_a_dropped_one_has_an_event() -> None:
    """No earlier event reported this money, though more had been there before."""
    first, second, third = paid(30), paid(20, txid="b"), paid(10, txid="c")
    request = RequestHistory()
    assert request.now(first, second) == ("underpaid",)
    assert request.now(first, gone(second)) == ()
    assert request.now(first, gone(second), third) == ("underpaid",)

    request = RequestHistory()
    request.now(paid())
    assert request.now(paid(), second) == ("extra",)
    assert request.now(paid(), gone(second)) == ()
    assert request.now(paid(), gone(second), third) == ("extra",)
    assert request.now(paid(), gone(second), gone(third)) == ()
    assert request.now(paid(), gone(second), third) == ()

    late = paid(at=LATE)
    request = RequestHistory()
    request.now(as_of=AFTER_EXPIRY)
    assert request.now(late, as_of=AFTER_EXPIRY) == ("late",)
    assert request.now(gone(late), as_of=AFTER_EXPIRY) == ()
    assert request.now(gone(late), paid(99, at=LATE, txid="b"), as_of=AFTER_EXPIRY) == ("extra",)


def test_a_payment_that_is_dropped_and_returns_is_reverted_and_received() -> None:
    """The return was not certain in between."""
    request = RequestHistory()
    request.now(paid())
    assert [request.now(gone(paid())), request.now(paid())] == [("reverted",), ("received",)]


def test_a_fee_bump_has_no_event() -> None:
    """The money was never away."""
    request = RequestHistory()
    request.now(paid())
    assert request.now(gone(paid()), paid(txid="b")) == ()
    assert request.now(gone(paid()), paid(txid="b", depth=1)) == ()
    assert request.last_known_state.status is Status.CONFIRMING


def test_a_reorg_that_keeps_the_payment_in_the_chain_has_no_event() -> None:
    """A confirmed payment may be less deep afterwards."""
    request = RequestHistory()
    request.now(paid(depth=6))
    assert request.now(paid(depth=6)) == ()
    assert request.now(paid(depth=2)) == ()
    assert request.now(paid(depth=7)) == ()


def test_an_unconfirmed_payment_that_leaves_the_chain_has_no_event() -> None:
    """It is still received."""
    request = RequestHistory()
    request.now(paid(depth=3))
    assert request.now(paid()) == ()
    assert request.last_known_state.status is Status.RECEIVED


# Any history


@st.composite
def histories(draw: st.DrawFn) -> list[Facts]:
    """Draw the facts of one request over time: outputs come, go and are mined, and time never goes back."""
    terms = draw(any_terms())
    known = draw(any_receipts())
    times = sorted(draw(st.lists(moments, min_size=1, max_size=8)))
    facts = []
    for moment in times:
        changes = draw(
            st.lists(st.sampled_from(["unchanged", "absent", "gone", "unmined"]), min_size=5, max_size=5)
        )
        outputs = tuple(_changed(r, how) for r, how in zip(known, changes, strict=False) if how != "absent")
        is_accepted = terms.is_late_accepted and moment > terms.expires_at
        facts.append(
            Facts(
                replace(terms, is_late_accepted=is_accepted),
                outputs,
                draw(st.integers(TIP, TIP + 8)),
                moment,
            )
        )
    return facts


def _changed(output: ReceivedOutput, how: str) -> ReceivedOutput:
    match how:
        case "gone":
            return gone(output)
        case "unmined":
            return replace(output, block_height=None, is_live=True)
    return output


@given(histories())
def test_received_and_reverted_mark_the_begin_and_end_of_the_cover(history: list[Facts]) -> None:
    """A confirmed payment that left the chain is reverted, too, though it still covers the request."""
    request = RequestHistory()
    for facts in history:
        before = request.last_known_state.status
        events = request.assess_next(facts)
        after = request.last_known_state.status
        begins = after.is_covered and not before.is_covered
        ends = before.is_covered and not after.is_covered
        has_lost_depth = before is Status.CONFIRMED and after.is_covered and after is not Status.CONFIRMED
        assert (EventType.RECEIVED in events) == begins
        assert (EventType.REVERTED in events) == (ends or has_lost_depth)
        assert (EventType.CONFIRMED in events) == (after is Status.CONFIRMED and before is not after)
        assert (EventType.EXPIRED in events) == (after is Status.EXPIRED and before is not after)


@given(histories())
def test_a_reverted_precedes_a_second_received_or_confirmed(history: list[Facts]) -> None:
    """The event `confirmed` never comes before `received`."""
    request = RequestHistory()
    for facts in history:
        request.assess_next(facts)
    for event in (EventType.RECEIVED, EventType.CONFIRMED):
        since = [EventType.REVERTED, *(e for e in request.events if e in (event, EventType.REVERTED))]
        assert all(pair != (event, event) for pair in pairwise(since))
    if EventType.CONFIRMED in request.events:
        assert request.events.index(EventType.RECEIVED) < request.events.index(EventType.CONFIRMED)


@given(histories())
def test_a_second_assessment_of_the_same_facts_has_no_event(history: list[Facts]) -> None:
    request = RequestHistory()
    for facts in history:
        events = request.assess_next(facts)
        assert len(set(events)) == len(events)
        assert request.assess_next(facts) == ()


@given(histories())
def test_more_money_than_reported_always_has_an_event(history: list[Facts]) -> None:
    """The last event's sum is never less than the present sum."""
    request = RequestHistory()
    for facts in history:
        has_event = bool(request.assess_next(facts))
        received = facts.assess().received_sats
        assert request.last_known_state.notified_sats >= received
        assert not has_event or request.last_known_state.notified_sats == received


@given(histories())
def test_money_of_a_new_output_always_has_an_event(history: list[Facts]) -> None:
    """Earlier outputs that came and went do not matter."""
    request = RequestHistory()
    seen: set[tuple[str, int]] = set()
    for facts in history:
        before = request.last_known_state.received_sats
        has_event = bool(request.assess_next(facts))
        live = {(output.txid, output.vout) for output in facts.outputs if output.is_live}
        assert has_event or live <= seen or request.last_known_state.received_sats <= before
        seen.update((output.txid, output.vout) for output in facts.outputs)
