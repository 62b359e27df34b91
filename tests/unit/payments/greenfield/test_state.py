"""The states of an invoice: each row of the table in payments/greenfield/state.py."""

from dataclasses import replace
from typing import Any

import pytest

from payments.greenfield.facts import Mark
from payments.greenfield.marking import Marking, MarkingError, markable, read_marking
from payments.greenfield.speed import policy_of
from payments.greenfield.state import state_of
from payments.status import Status
from tests.support.facts import LATE, paid
from tests.support.invoice_history import example_facts

PART, FULL, OVER = paid(40), paid(100), paid(646)


def state(**values: Any) -> str:
    found = state_of(example_facts(**values))
    return f"{found.status}/{found.additional}"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"status": Status.NEW}, "New/None"),
        ({"status": Status.UNDERPAID, "outputs": (PART,)}, "New/PaidPartial"),
        ({"status": Status.RECEIVED, "outputs": (FULL,)}, "Processing/None"),
        ({"status": Status.RECEIVED, "outputs": (OVER,)}, "Processing/PaidOver"),
        ({"status": Status.CONFIRMING, "outputs": (FULL,)}, "Processing/None"),
        ({"status": Status.CONFIRMED, "outputs": (FULL,)}, "Settled/None"),
        ({"status": Status.CONFIRMED, "outputs": (OVER,)}, "Settled/PaidOver"),
        ({"status": Status.CONFIRMED, "outputs": (OVER,), "confirmed_at": LATE}, "Settled/PaidOver"),
        ({"status": Status.EXPIRED}, "Expired/None"),
        ({"status": Status.EXPIRED, "outputs": (PART,)}, "Expired/PaidPartial"),
        ({"status": Status.EXPIRED, "outputs": (paid(40, at=LATE),)}, "Expired/PaidPartial"),
        (
            {"status": Status.EXPIRED, "outputs": (paid(100, at=LATE),), "is_late": True},
            "Expired/PaidPartial",
        ),
        ({"status": Status.NEW, "was_covered": True}, "New/None"),
        ({"status": Status.UNDERPAID, "was_covered": True, "outputs": (PART,)}, "New/PaidPartial"),
        ({"status": Status.EXPIRED, "was_covered": True}, "Invalid/None"),
        ({"status": Status.EXPIRED, "was_covered": True, "outputs": (PART,)}, "Invalid/None"),
        ({"status": Status.NEW, "was_covered": True, "was_confirmed": True}, "Invalid/None"),
        ({"status": Status.RECEIVED, "was_confirmed": True, "outputs": (FULL,)}, "Processing/None"),
        ({"status": Status.NEW, "mark": Mark.SETTLED}, "Settled/Marked"),
        ({"status": Status.CONFIRMED, "mark": Mark.SETTLED, "outputs": (OVER,)}, "Settled/Marked"),
        ({"status": Status.CONFIRMED, "mark": Mark.INVALID, "outputs": (FULL,)}, "Invalid/Marked"),
    ],
)
def test_the_state_follows_the_table(values: dict[str, Any], expected: str) -> None:
    assert state(**values) == expected


def test_money_after_the_confirmation_does_not_make_an_invoice_overpaid() -> None:
    """Its additional status does not change."""
    facts = {"status": Status.CONFIRMED, "confirmed_at": paid().first_seen_at}
    assert state(outputs=(paid(), paid(9000, at=LATE, txid="b")), **facts) == "Settled/None"
    assert state(outputs=(paid(), paid(9000, txid="b")), **facts) == "Settled/PaidOver"


@pytest.mark.parametrize(
    ("facts", "allowed"),
    [
        ({"status": Status.NEW}, ["Settled", "Invalid"]),
        ({"status": Status.RECEIVED}, ["Settled", "Invalid"]),
        ({"status": Status.EXPIRED}, ["Settled", "Invalid"]),
        ({"status": Status.EXPIRED, "was_covered": True}, ["Settled"]),
        ({"status": Status.CONFIRMED}, []),
        ({"status": Status.NEW, "mark": Mark.SETTLED}, ["Invalid"]),
        ({"status": Status.NEW, "mark": Mark.INVALID}, ["Settled"]),
    ],
)
def test_an_invoice_can_be_marked_as_btcpay_allows(facts: dict[str, Any], allowed: list[str]) -> None:
    found = example_facts(**facts)
    assert [status.value for status in markable(state_of(found))] == allowed
    for name in ("Settled", "Invalid"):
        if name in allowed:
            assert read_marking(found, name.lower()) == Marking(Mark(name.lower()))
        else:
            with pytest.raises(MarkingError, match=allowed[0] if allowed else "nothing else"):
                read_marking(found, name)


@pytest.mark.parametrize("wanted", [None, "", "Complete", "New", 5, ["Settled"]])
def test_another_mark_is_refused(wanted: object) -> None:
    """The message has the allowed values. BTCPay no longer accepts its old names of statuses."""
    with pytest.raises(MarkingError, match="must be Settled or Invalid for an invoice that is New"):
        read_marking(example_facts(), wanted)


def test_late_money_that_covers_is_accepted_by_the_mark() -> None:
    late = example_facts(status=Status.EXPIRED, is_late=True)
    assert read_marking(late, "Settled") == Marking(None, accepts_late_money=True)
    assert read_marking(late, "Invalid") == Marking(Mark.INVALID)
    accepted = replace(late, status=Status.RECEIVED)
    assert read_marking(accepted, "Settled") == Marking(Mark.SETTLED)


def test_a_number_of_confirmations_has_a_speed_policy() -> None:
    """The response has one of BTCPay's four names."""
    names = [policy_of(confirmations).value for confirmations in (0, 1, 2, 3, 5, 6, 144)]
    assert names == ["HighSpeed", "MediumSpeed", *["LowMediumSpeed"] * 3, "LowSpeed", "LowSpeed"]
