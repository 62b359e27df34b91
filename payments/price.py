"""The price of one bitcoin, computed from the quotes of several sources. Never old, never a guess."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from payments.money import EXACT, read_number

# One unit of an ISO currency was never worth one bitcoin, so a price below 1 means a reversed pair. One
# bitcoin costs about 10**10 of the cheapest units.
MIN_PRICE = Decimal(1)
MAX_PRICE = Decimal(10**15)
MAX_DIGITS = 50

# A quote may differ from the median by 5 %.
MAX_DEVIATION = Decimal("0.05")


@dataclass(frozen=True, slots=True)
class Quote:
    """The price of one bitcoin at one source."""

    source: str
    currency: str
    price: Decimal
    fetched_at: datetime


@dataclass(frozen=True, slots=True)
class Price:
    """The price of one bitcoin, from the quotes of `sources`.

    The quotes of `outliers` differed too much. Both tuples are sorted. `fetched_at` is the time of the oldest
    quote that was used.
    """

    currency: str
    price: Decimal
    sources: tuple[str, ...]
    fetched_at: datetime
    outliers: tuple[str, ...]


def read_price(value: object) -> Decimal | None:
    """Return the price in a source's JSON (read with parse_float=Decimal), or None if it is no price."""
    price = value if isinstance(value, Decimal) and value.is_finite() else read_number(value)
    if price is None or not MIN_PRICE <= price <= MAX_PRICE:
        return None
    return price if len(price.as_tuple().digits) <= MAX_DIGITS else None


def aggregate_quotes(quotes: Iterable[Quote], now: datetime, max_age: timedelta) -> Price | None:
    """Return the price of one bitcoin by these quotes, or None if they give no price to trust.

    `quotes` are of one currency, one quote from each source. A quote that is more than `max_age` in the past
    or in the future does not count. The price is the median of the quotes within 5 % of the median of all. A
    single source is trusted. Two of several sources must agree. Raise ValueError for quotes of several
    currencies, or for two quotes of one source.
    """
    fresh = [quote for quote in quotes if abs(now - quote.fetched_at) <= max_age]
    if not fresh:
        return None
    _check_one_currency(fresh)
    agreeing = _agreeing(fresh)
    if len(agreeing) < min(len(fresh), 2):
        return None
    return Price(
        currency=fresh[0].currency,
        price=_median([quote.price for quote in agreeing]),
        sources=_sources(agreeing),
        fetched_at=min(quote.fetched_at for quote in agreeing),
        outliers=_sources(quote for quote in fresh if quote not in agreeing),
    )


def _agreeing(quotes: list[Quote]) -> list[Quote]:
    prices = [quote.price for quote in quotes]
    if len(prices) == 2:
        # Two prices can both be near their median and still be far from each other.
        return quotes if _are_near(max(prices), min(prices)) else []
    median = _median(prices)
    return [quote for quote in quotes if _are_near(quote.price, median)]


def _are_near(price: Decimal, reference: Decimal) -> bool:
    deviation = EXACT.abs(EXACT.subtract(price, reference))
    return deviation <= EXACT.multiply(reference, MAX_DEVIATION)


def _median(prices: Collection[Decimal]) -> Decimal:
    ordered = sorted(prices)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return EXACT.divide(EXACT.add(ordered[middle - 1], ordered[middle]), Decimal(2))


def _sources(quotes: Iterable[Quote]) -> tuple[str, ...]:
    return tuple(sorted(quote.source for quote in quotes))


def _check_one_currency(quotes: list[Quote]) -> None:
    if len({quote.currency for quote in quotes}) > 1:
        raise ValueError("quotes of more than one currency")
    if len({quote.source for quote in quotes}) < len(quotes):
        raise ValueError("two quotes of one source")
