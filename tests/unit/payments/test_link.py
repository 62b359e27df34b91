"""The rules of payment links, for any parts, prices and depths."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from payments.link import (
    LinkBalance,
    LinkEvent,
    LinkPart,
    LinkStatus,
    PartFacts,
    amount_to_request,
    asks_too_much,
    balance,
    is_paid,
    late_sats,
    link_event,
    link_status,
    min_amount,
)
from payments.money import DUST_LIMIT_SATS, currency_exponent, exact_fiat, fiat_to_sats
from payments.status import ReceivedOutput, Status, Terms, assess
from tests.support.facts import (
    AFTER_EXPIRY,
    AFTER_MONITORING,
    BEFORE_EXPIRY,
    EXPIRES,
    LATE,
    TERMS,
    TIP,
    gone,
    paid,
)

PRICE = Decimal("50000")
SATS = 200_000
"""The satoshis of 100.00 EUR at PRICE."""

currencies = st.sampled_from(["EUR", "JPY", "KWD", "BTC", "SAT"])
prices = st.decimals(min_value=1, max_value=10**7, places=4)
PART = replace(TERMS, amount_sats=SATS, is_part=True)


def part(sats: int = 0, *, asked: str = "100.00", price: Decimal = PRICE, covered: bool = False) -> LinkPart:
    return LinkPart(Decimal(asked), "EUR", price, sats, covered)


def single(*parts: LinkPart, amount: str | None = "100.00") -> LinkBalance:
    return balance(None if amount is None else Decimal(amount), "EUR", parts, is_reusable=False)


@st.composite
def any_part(draw: st.DrawFn, currency: str) -> LinkPart:
    unit = Decimal(1).scaleb(-currency_exponent(currency))
    asked = draw(st.integers(1, 10**7)) * unit
    price = draw(prices)
    amount_sats = fiat_to_sats(asked, price)
    sats = draw(st.integers(0, 2 * amount_sats))
    return LinkPart(asked, currency, price, sats, is_covered=sats >= amount_sats)


@st.composite
def any_parts(draw: st.DrawFn) -> tuple[str, list[LinkPart]]:
    currency = draw(currencies)
    return currency, draw(st.lists(any_part(currency), max_size=5))


# Money


@given(any_parts())
def test_parts_add_up_to_no_more_and_no_less_than_came(drawn: tuple[str, list[LinkPart]]) -> None:
    """Each part loses less than one unit by rounding, and only a surplus is cut off."""
    currency, parts = drawn
    unit = Decimal(1).scaleb(-currency_exponent(currency))
    for each in parts:
        exact = exact_fiat(each.counted_sats, each.price)
        assert each.worth <= exact
        assert each.worth > exact - unit or each.worth == each.asked
        assert each.worth == each.covered_amount, "without a tolerance, a part covers exactly what came"
    found = balance(None, currency, parts, is_reusable=True)
    assert found.paid == sum(each.worth for each in parts)
    assert (found.remaining, found.is_covered) == (None, False)


@given(any_parts(), st.integers(1, 10**8))
def test_paid_and_remaining_add_up_to_the_amount(drawn: tuple[str, list[LinkPart]], units: int) -> None:
    """If more than the amount came, nothing remains."""
    currency, parts = drawn
    amount = units * Decimal(1).scaleb(-currency_exponent(currency))
    found = balance(amount, currency, parts, is_reusable=False)
    assert found.remaining == max(amount - found.paid, 0)
    if not found.remaining:
        assert found.is_covered
    elif found.is_covered:
        assert fiat_to_sats(found.remaining, parts[-1].price) < DUST_LIMIT_SATS or not parts[-1].counted_sats
    elif not found.paid:
        assert found.remaining == amount


@given(currencies, prices, st.integers(1, 10**8))
def test_the_next_request_covers_the_remaining_amount(currency: str, price: Decimal, units: int) -> None:
    """The network relays its amount, and its payment pays the link, at any price."""
    remaining = units * Decimal(1).scaleb(-currency_exponent(currency))
    asked = amount_to_request(remaining, currency, price)
    sats = fiat_to_sats(asked, price)
    assert sats >= DUST_LIMIT_SATS
    assert asked in (remaining, min_amount(currency, price))
    assert LinkPart(asked, currency, price, sats, is_covered=True).worth == asked >= remaining


def test_two_halves_at_different_prices_pay_a_link() -> None:
    """The price has doubled, so the second half has half as many satoshis as the first."""
    first = part(SATS // 2)
    assert single(first) == LinkBalance(
        Decimal("50.00"), Decimal("50.00"), is_covered=False, amount=Decimal("100.00")
    )
    second = part(SATS // 4, asked="50.00", price=2 * PRICE, covered=True)
    assert single(first, second) == LinkBalance(
        Decimal("100.00"), Decimal("0.00"), is_covered=True, amount=Decimal("100.00")
    )


def test_the_surplus_of_a_request_pays_no_other_part() -> None:
    found = single(part(3 * SATS, asked="60.00", covered=True))
    assert found == LinkBalance(
        Decimal("60.00"), Decimal("40.00"), is_covered=False, amount=Decimal("100.00")
    )


def test_a_covered_request_settles_its_whole_amount() -> None:
    """`paid` is the money that came. Nothing remains, because the tolerance allows a little less."""
    found = single(part(SATS - 1000, covered=True))
    assert found == LinkBalance(Decimal("99.50"), Decimal("0.00"), is_covered=True, amount=Decimal("100.00"))


@pytest.mark.parametrize(("missing_sats", "is_covered"), [(545, True), (547, False)])
def test_a_remainder_below_the_dust_limit_is_not_due(missing_sats: int, is_covered: bool) -> None:
    """545 sats are 0.2725 EUR, so 0.28 EUR remain, which are 560 sats. With SAT there is no rounding."""
    counted = LinkPart(Decimal(10_000), "SAT", Decimal(10**8), 10_000 - missing_sats, is_covered=False)
    assert balance(Decimal(10_000), "SAT", [counted], is_reusable=False).is_covered is is_covered


def test_a_small_link_that_nobody_paid_is_not_covered() -> None:
    """The price of bitcoin has risen since the link was made."""
    assert not single(amount="0.01").is_covered
    assert not single(part(0, asked="0.01"), amount="0.01").is_covered


def test_the_first_payer_chooses_the_amount_of_a_link_without_one() -> None:
    """A request to which no money came decides nothing."""
    assert single(part(0, asked="70.00"), amount=None).remaining is None
    found = single(part(0, asked="70.00"), part(SATS // 4, asked="60.00"), amount=None)
    assert (found.paid, found.remaining) == (Decimal("25.00"), Decimal("35.00"))


def test_the_money_that_came_first_chooses_the_amount() -> None:
    """It may be of a later request, if the money of an earlier one was late and is accepted."""
    older = facts(
        paid(SATS // 4, at=LATE, depth=6), asked="70.00", terms=replace(PART, is_late_accepted=True)
    )
    newer = facts(paid(SATS // 4, depth=6, txid="b"), asked="50.00")
    found = single(older.all(), newer.all(), amount=None)
    assert (found.paid, found.remaining) == (Decimal("50.00"), Decimal("0.00"))
    assert is_paid(None, "EUR", [older, newer], tip_height=TIP, was_paid=False)


@pytest.mark.parametrize(
    ("asked", "paid_sats", "is_too_much"),
    [("50.00", SATS // 2, False), ("50.01", SATS // 2, True), ("0.28", SATS - 600, False)],
)
def test_a_request_may_ask_for_what_remains_and_for_the_dust_limit(
    asked: str, paid_sats: int, is_too_much: bool
) -> None:
    """600 sats are 0.30 EUR. At twice the price, the dust limit is 0.55 EUR."""
    found = single(part(paid_sats))
    assert asks_too_much(part(asked=asked), found) is is_too_much
    assert not asks_too_much(part(asked="0.55", price=2 * PRICE), single(part(SATS - 600)))
    assert asks_too_much(part(asked="0.28"), single(part(SATS, covered=True)))
    assert not asks_too_much(part(asked=asked), single(amount=None))


def test_a_request_for_the_rest_chooses_no_amount() -> None:
    """It keeps the amount that the payer chose before, even if the earlier part is gone."""
    rest = replace(facts(paid(SATS // 2, depth=6), asked="50.00"), chosen_before=Decimal("100.00"))
    found = single(rest.all(), amount=None)
    assert (found.paid, found.remaining) == (Decimal("50.00"), Decimal("50.00"))
    assert not is_paid(None, "EUR", [rest], tip_height=TIP, was_paid=False)


# Paid and no longer paid


def facts(*outputs: ReceivedOutput, asked: str = "100.00", terms: Terms = PART) -> PartFacts:
    return PartFacts(Decimal(asked), "EUR", PRICE, terms, outputs)


def paid_by(*each: PartFacts, was_paid: bool = False, tip: int = TIP) -> bool:
    return is_paid(Decimal("100.00"), "EUR", each, tip_height=tip, was_paid=was_paid)


def half(depth: int, txid: str = "a", **more: object) -> PartFacts:
    return facts(paid(SATS // 2, depth=depth, txid=txid), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("depths", "is_paid_then"), [((6, 6), True), ((6, 5), False), ((6, 0), False), ((100, 6), True)]
)
def test_a_link_is_paid_when_all_its_parts_are_confirmed(depths: tuple[int, int], is_paid_then: bool) -> None:
    assert paid_by(half(depths[0]), half(depths[1], "b")) is is_paid_then


def test_a_paid_link_stays_paid_after_a_reorg_of_one_block() -> None:
    """Its parts must be in the chain, at any depth. A part in the mempool is not enough."""
    assert paid_by(half(1), half(5, "b"), was_paid=True)
    assert not paid_by(half(0), half(5, "b"), was_paid=True)


def test_a_confirmed_request_stays_confirmed_after_a_reorg() -> None:
    """The daemon assesses it again only when it closes. The other part is confirmed before that."""
    confirmed = replace(half(5), is_confirmed=True)
    assert paid_by(confirmed, half(6, "b"))
    assert not paid_by(replace(half(0), is_confirmed=True), half(6, "b"))


def test_a_double_spend_of_one_part_reopens_the_link() -> None:
    lost = facts(gone(paid(SATS // 2, depth=6)))
    assert not paid_by(lost, half(6, "b"), was_paid=True)
    assert single(lost.all(), half(6, "b").all()).remaining == Decimal("50.00")


def test_late_money_counts_after_it_is_accepted() -> None:
    late = facts(paid(SATS, depth=6, at=LATE))
    assert not paid_by(late)
    assert single(late.all()).paid == 0
    accepted = replace(late, terms=replace(PART, is_late_accepted=True))
    assert paid_by(accepted)


def test_a_surplus_that_is_not_confirmed_changes_nothing() -> None:
    assert paid_by(facts(paid(SATS, depth=6)), half(0, "b"))


@given(st.lists(st.tuples(st.integers(0, SATS), st.integers(0, 8), st.booleans()), max_size=4), st.booleans())
def test_a_paid_link_has_its_amount_in_the_chain(
    drawn: Sequence[tuple[int, int, bool]], was_paid: bool
) -> None:
    """The confirmed money is never more than the counted money, and money that is gone pays nothing."""
    each = []
    for number, (sats, depth, is_gone) in enumerate(drawn):
        output = paid(sats, depth=depth, txid=str(number))
        each.append(facts(gone(output) if is_gone else output))
    in_chain = sum(sats for sats, depth, is_gone in drawn if depth and not is_gone)
    if paid_by(*each, was_paid=was_paid):
        assert in_chain > SATS - DUST_LIMIT_SATS - 10 * len(drawn)
        assert single(*(one.all() for one in each)).is_covered
    elif paid_by(*each, was_paid=True):
        assert not was_paid


@given(st.booleans(), st.booleans())
def test_an_event_is_a_change(was: bool, now: bool) -> None:
    expected = {(False, True): LinkEvent.PAID, (True, False): LinkEvent.REVERTED}
    assert link_event(was_paid=was, is_paid=now) == expected.get((was, now))


# Status


@pytest.mark.parametrize(
    ("is_covered", "is_paid_then", "is_closed", "is_due", "status"),
    [
        (False, False, False, False, LinkStatus.OPEN),
        (False, False, False, True, LinkStatus.OVERDUE),
        (False, False, True, True, LinkStatus.CLOSED),
        (True, False, True, True, LinkStatus.PROCESSING),
        (True, True, True, True, LinkStatus.PAID),
    ],
)
def test_a_link_with_enough_money_is_not_closed_or_overdue(
    is_covered: bool, is_paid_then: bool, is_closed: bool, is_due: bool, status: LinkStatus
) -> None:
    due_at = EXPIRES if is_due else EXPIRES + timedelta(days=1)
    now = EXPIRES + timedelta(seconds=1)
    found = link_status(
        is_covered=is_covered, is_paid=is_paid_then, is_closed=is_closed, due_at=due_at, now=now
    )
    assert found is status


def test_late_money_waits_for_a_decision() -> None:
    """The decision of the operator must be on exactly this amount."""
    assert late_sats(Status.EXPIRED, 100, 60, None) == 40
    assert late_sats(Status.EXPIRED, 100, 60, 90) == 40
    assert late_sats(Status.EXPIRED, 100, 60, 100) == 0
    assert late_sats(Status.UNDERPAID, 60, 60, None) == 0
    assert late_sats(Status.CONFIRMED, 100, 60, None) == 0


# The assessment of a part


def test_an_expired_request_is_assessed_when_its_money_is_confirmed() -> None:
    """It stays open until then, even after the end of its monitoring."""
    output = paid(SATS // 2, depth=2)
    for terms, height, is_closed in ((PART, TIP + 4, False), (replace(PART, is_part=False), None, True)):
        found = assess(terms, [output], tip_height=TIP, as_of=AFTER_MONITORING, was_confirmed=False)
        assert (found.status, found.counted_sats) == (Status.EXPIRED, SATS // 2)
        assert (found.reassess_at_height, found.is_closed) == (height, is_closed)
    at_last = assess(PART, [output], tip_height=TIP + 4, as_of=AFTER_MONITORING, was_confirmed=False)
    assert (at_last.reassess_at_height, at_last.is_closed) == (None, True)


@given(
    st.lists(st.tuples(st.integers(1, SATS), st.integers(0, 12), st.booleans()), max_size=4),
    st.sampled_from([BEFORE_EXPIRY, AFTER_EXPIRY, AFTER_MONITORING]),
    st.integers(0, 7),
    st.integers(1, 10),
)
@example([(SATS // 2, 5, False), (SATS // 2, 0, False)], BEFORE_EXPIRY, 6, 1)
def test_no_part_changes_its_link_between_two_assessments(
    drawn: Sequence[tuple[int, int, bool]], as_of: object, required: int, blocks: int
) -> None:
    """No block below the height that the assessment returned confirms money of the part."""
    terms = replace(PART, confirmations_required=required)
    outputs = tuple(
        paid(sats, depth=depth, txid=str(n), at=LATE if is_late else BEFORE_EXPIRY)
        for n, (sats, depth, is_late) in enumerate(drawn)
    )
    found = assess(terms, outputs, tip_height=TIP, as_of=as_of, was_confirmed=False)  # type: ignore[arg-type]
    each = facts(*outputs, terms=terms)
    later = TIP + blocks
    if found.reassess_at_height is None or later < found.reassess_at_height:
        before, after = each.confirmed(TIP), each.confirmed(later)
        assert before.covered_amount == after.covered_amount
