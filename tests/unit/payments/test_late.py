"""The figures on late money are exact, and rounded once."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from payments.late import LateMoney, duration, late_money
from tests.support.facts import EXPIRES, IN_TIME, LATE, TERMS, gone, paid

LATE_MONEY = LateMoney(timedelta(minutes=42), 222_416, Decimal("135.99"), "EUR", Decimal("58988.5"))


def test_the_figures_on_late_money_are_sentences() -> None:
    """How late it came, its worth now, and the difference to the amount of the request."""
    assert LATE_MONEY.sentences() == (
        "Came 42 min late. Worth 131.20 EUR today (asked for: 135.99 EUR, 3.5 % less)."
    )
    assert "Worth 131.20 EUR on 2026-11-23 at 12:00 UTC (" in LATE_MONEY.sentences(
        "on 2026-11-23 at 12:00 UTC"
    )


@pytest.mark.parametrize(
    ("price", "worth", "percent", "words"),
    [
        ("61142.30", "135.99", "0.0", "the same"),
        ("61200", "136.12", "0.1", "0.1 % more"),
        ("122284.60", "271.98", "100.0", "100.0 % more"),
        ("1222846000", "2719805.16", "1999903.8", "1,999,903.8 % more"),
        ("1", "0.00", "-100.0", "100.0 % less"),
    ],
)
def test_the_worth_is_compared_with_the_amount_of_the_request(
    price: str, worth: str, percent: str, words: str
) -> None:
    late = replace(LATE_MONEY, price=Decimal(price))
    assert (late.worth, late.difference_percent) == (Decimal(worth), Decimal(percent))
    assert words in late.sentences()


@pytest.mark.parametrize(
    ("currency", "price", "worth"),
    [("JPY", "9000000", "20017"), ("EUR", "61142.30", "135.99"), ("KWD", "20000", "44.483")],
)
def test_the_worth_has_the_currencys_decimals(currency: str, price: str, worth: str) -> None:
    late = replace(LATE_MONEY, currency=currency, price=Decimal(price))
    assert str(late.worth) == worth


@pytest.mark.parametrize(
    ("sats", "worth"), [(500_000, "0.00"), (1_500_000, "0.02"), (1_500_001, "0.02"), (2_500_000, "0.02")]
)
def test_a_half_is_rounded_to_even(sats: int, worth: str) -> None:
    """The price in emails is rounded in the same way."""
    late = replace(LATE_MONEY, received_sats=sats, price=Decimal(1))
    assert str(late.worth) == worth


def test_an_unknown_price_is_named() -> None:
    text = replace(LATE_MONEY, price=None).sentences()
    assert text == ("Came 42 min late. Its worth today is unknown, because there is no fresh price for EUR.")


@pytest.mark.parametrize("currency", ["BTC", "SAT"])
def test_a_request_in_bitcoin_has_no_worth_to_compare(currency: str) -> None:
    late = replace(LATE_MONEY, currency=currency, price=Decimal(1))
    assert late.sentences() == "Came 42 min late."


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (119, "1 min"),
        (3600, "1 h"),
        (3660, "1 h 1 min"),
        (86400, "1 day"),
        (90_060, "1 day 1 h"),
        (86_460, "1 day"),
        (864_000, "10 days"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: float, words: str) -> None:
    assert duration(timedelta(seconds=seconds)) == words


def test_money_is_as_late_as_the_output_that_completes_it() -> None:
    """An output that is gone does not count, and an output that returned counts from its return."""
    parts = [paid(60, since=IN_TIME, txid="a"), paid(40, since=LATE, txid="b"), gone(paid(90, txid="c"))]
    late = late_money(TERMS, parts, Decimal(10), "EUR", None)
    assert late is not None
    assert (late.late_by, late.received_sats) == (LATE - EXPIRES, 100)


def test_money_in_time_or_too_little_is_not_late() -> None:
    for sats, since in ((100, IN_TIME), (99, LATE)):
        assert late_money(TERMS, [paid(sats, since=since)], Decimal(10), "EUR", None) is None
