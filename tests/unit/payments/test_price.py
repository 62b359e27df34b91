"""A price is the median of sources that agree, or None."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, localcontext

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from payments.price import Price, Quote, aggregate_quotes, read_price

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
MAX_AGE = timedelta(seconds=600)

values = st.decimals(1, 10**12, allow_nan=False, allow_infinity=False, places=2)
# These values are close to one another, so that some agree and some do not.
close_values = st.decimals(50_000, 60_000, allow_nan=False, allow_infinity=False, places=2)
several = st.lists(close_values | values, min_size=1, max_size=6)


def eur_quotes(prices: Sequence[Decimal | str | int]) -> list[Quote]:
    return [Quote(f"source{index}", "EUR", Decimal(price), NOW) for index, price in enumerate(prices)]


def aggregated(*prices: Decimal | str | int) -> Price | None:
    return aggregate_quotes(eur_quotes(prices), NOW, MAX_AGE)


def price_of(*prices: Decimal | str | int) -> str | None:
    price = aggregated(*prices)
    return None if price is None else str(price.price)


def test_one_source_alone_is_enough() -> None:
    assert aggregated("61142.30") == Price("EUR", Decimal("61142.30"), ("source0",), NOW, ())


def test_the_median_of_three_is_the_price() -> None:
    """It keeps its digits."""
    assert price_of("61150.2", "61142.30", "61140.10") == "61142.30"


def test_the_mean_of_the_middle_two_is_exact() -> None:
    """An even number of sources has two in the middle."""
    assert price_of("61140.10", "61142.31") == "61141.205"
    assert price_of("100", "101", "102", "103") == "101.5"


def test_two_sources_that_differ_by_five_percent_agree() -> None:
    """The limit is relative to the smaller price. One cent more is too much."""
    assert price_of("100.00", "105.00") == "102.50"
    assert price_of("100.00", "105.01") is None


def test_a_source_off_the_median_is_left_out_and_named() -> None:
    """The price is then the median of the rest."""
    price = aggregated("100", "102", "50000")
    assert price is not None
    assert price.price == Decimal(101)
    assert price.sources == ("source0", "source1")
    assert price.outliers == ("source2",)


@pytest.mark.parametrize(
    "prices", [("100", "200", "300"), ("100", "100", "200", "200"), ("1", "100", "200", "900")]
)
def test_three_or_more_sources_that_disagree_give_no_price(prices: tuple[str, ...]) -> None:
    assert price_of(*prices) is None


def test_no_source_gives_no_price() -> None:
    assert price_of() is None


def test_a_quote_that_is_too_old_or_in_the_future_is_ignored() -> None:
    """The limit itself is allowed, and one second more is not."""

    def price_at(age_seconds: int) -> Price | None:
        return aggregate_quotes(
            [Quote("kraken", "EUR", Decimal(1), NOW - timedelta(seconds=age_seconds))], NOW, MAX_AGE
        )

    assert price_at(600) is not None
    assert price_at(601) is None
    assert price_at(-600) is not None
    assert price_at(-601) is None


def test_a_price_is_as_old_as_its_oldest_source() -> None:
    """Sources that were left out, and old ones, do not count."""
    ages = {"a": ("100", 30), "b": ("101", 90), "wild": ("900", 300), "old": ("100", 9000)}
    quotes = [
        Quote(source, "EUR", Decimal(price), NOW - timedelta(seconds=age))
        for source, (price, age) in ages.items()
    ]
    price = aggregate_quotes(quotes, NOW, MAX_AGE)
    assert price is not None
    assert price.fetched_at == NOW - timedelta(seconds=90)
    assert price.outliers == ("wild",)


def test_quotes_that_cannot_be_mixed_are_refused() -> None:
    """Two currencies, or two quotes of one source, are an error of the program."""
    quote = Quote("kraken", "EUR", Decimal(1), NOW)
    with pytest.raises(ValueError, match="one currency"):
        aggregate_quotes([quote, Quote("bitpay", "USD", Decimal(1), NOW)], NOW, MAX_AGE)
    with pytest.raises(ValueError, match="one source"):
        aggregate_quotes([quote, quote], NOW, MAX_AGE)


@given(several)
def test_a_price_lies_between_its_sources(prices: list[Decimal]) -> None:
    """Each source is either used or left out."""
    price = aggregated(*prices)
    assume(price is not None)
    assert price is not None
    used = [quote.price for quote in eur_quotes(prices) if quote.source in price.sources]
    assert min(used) <= price.price <= max(used)
    assert len(price.sources) + len(price.outliers) == len(prices)
    assert len(used) >= min(2, len(prices))


@given(several.flatmap(lambda prices: st.tuples(st.just(prices), st.permutations(range(len(prices))))))
def test_the_order_of_the_sources_does_not_matter(case: tuple[list[Decimal], list[int]]) -> None:
    """The program's decimal context does not matter, either."""
    prices, order = case
    quotes = eur_quotes(prices)
    with localcontext(Context(prec=3)):
        shuffled = aggregate_quotes([quotes[index] for index in order], NOW, MAX_AGE)
    assert shuffled == aggregate_quotes(quotes, NOW, MAX_AGE)


@given(several, st.sampled_from(["0.001", "0.5", "3", "1000"]))
def test_a_price_scales_with_its_sources(prices: list[Decimal], factor: str) -> None:
    """The rule uses ratios only, so it is the same for yen and for dinars."""
    scaled = aggregated(*(price * Decimal(factor) for price in prices))
    price = aggregated(*prices)
    assert (scaled is None) == (price is None)
    if scaled is not None and price is not None:
        assert scaled.price == price.price * Decimal(factor)
        assert scaled.outliers == price.outliers


@given(close_values, st.decimals(1, "1.05", allow_nan=False, allow_infinity=False, places=4), values)
def test_one_wild_source_among_three_never_moves_the_price_past_the_other_two(
    honest: Decimal, ratio: Decimal, wild: Decimal
) -> None:
    """If two sources agree, the price stays between them, whatever the third source returns."""
    other = honest * ratio
    price = aggregated(honest, other, wild)
    assert price is not None
    assert honest <= price.price <= other


@given(st.lists(close_values, min_size=1, max_size=6), st.integers(0, 5), st.decimals(0, 500, places=2))
def test_a_source_that_rises_never_lowers_the_price(prices: list[Decimal], index: int, rise: Decimal) -> None:
    """This holds as long as no source is left out."""
    higher = list(prices)
    higher[index % len(prices)] += rise
    before, after = aggregated(*prices), aggregated(*higher)
    assume(before is not None and after is not None and not before.outliers and not after.outliers)
    assert before is not None
    assert after is not None
    assert after.price >= before.price


@pytest.mark.parametrize(
    ("value", "price"),
    [("61142.3", "61142.3"), (61142, "61142"), (Decimal("61150.2"), "61150.2"), (Decimal("1E+5"), "1E+5")],
)
def test_a_price_may_be_text_or_a_number(value: object, price: str) -> None:
    """Sources differ in their format."""
    assert str(read_price(value)) == price


@pytest.mark.parametrize(
    "value",
    [
        0,
        -1,
        "0",
        "-5",
        "0.00",
        "",
        "abc",
        "NaN",
        "Infinity",
        "1e5",
        " 1",
        "1_000",
        "٣",
        None,
        True,
        [1],
        {},
        61142.3,
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        Decimal("-1"),
        Decimal("1E-400"),
    ],
)
def test_a_value_that_is_no_price_is_none(value: object) -> None:
    """Zero, negative numbers, other text, floats and infinite values are no price."""
    assert read_price(value) is None


@pytest.mark.parametrize("value", ["0.00001635", 10**16, Decimal("1E+999999"), "1." + "1" * 60])
def test_a_price_out_of_range_is_none(value: object) -> None:
    """An example is the price of a euro in bitcoin, which is the reversed pair."""
    assert read_price(value) is None


@given(st.text() | st.integers() | st.decimals() | st.floats() | st.booleans() | st.none())
def test_reading_a_price_never_raises(value: object) -> None:
    """Any answer of a source gives a positive number or None."""
    price = read_price(value)
    assert price is None or (price.is_finite() and price > 0)
