"""The price of one bitcoin, from what several sources say. Never old, never a guess."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from payments.money import EXACT, read_number

# No ISO currency's unit has ever been worth a bitcoin, so a price below 1 is a pair the wrong way round;
# the cheapest units stand near 10**10 a bitcoin.
LOWEST_PRICE = Decimal(1)
HIGHEST_PRICE = Decimal(10**15)
MOST_DIGITS = 50

# How far off a source may be: 5 %.
LARGEST_DEVIATION = Decimal("0.05")


@dataclass(frozen=True, slots=True)
class Quote:
    """What one source said that one bitcoin costs."""

    source: str
    currency: str
    price: Decimal
    fetched_at: datetime


@dataclass(frozen=True, slots=True)
class Price:
    """The price of one bitcoin; `sources` made it, `left_out` were too far off; both sorted.

    `fetched_at` is the oldest of the quotes used.
    """

    currency: str
    price: Decimal
    sources: tuple[str, ...]
    fetched_at: datetime
    left_out: tuple[str, ...]


def read_price(value: object) -> Decimal | None:
    """The price in a source's JSON (read with parse_float=Decimal), or None where that is no price."""
    price = value if isinstance(value, Decimal) and value.is_finite() else read_number(value)
    if price is None or not LOWEST_PRICE <= price <= HIGHEST_PRICE:
        return None
    return price if len(price.as_tuple().digits) <= MOST_DIGITS else None


def aggregate_quotes(quotes: Iterable[Quote], now: datetime, max_age: timedelta) -> Price | None:
    """What one bitcoin costs by these sources, or None where they name no price that can be trusted.

    `quotes` are of one currency, one from each source. Those older than `max_age`, or as far in the future,
    don't count. The price is the median of those within 5 % of the median of all; two or more sources need
    two that agree, one alone is believed.
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
        left_out=_sources(quote for quote in fresh if quote not in agreeing),
    )


def _agreeing(quotes: list[Quote]) -> list[Quote]:
    prices = [quote.price for quote in quotes]
    if len(prices) == 2:
        # Each is near the middle of the two long after they have ceased to agree with one another.
        return quotes if _are_near(max(prices), min(prices)) else []
    median = _median(prices)
    return [quote for quote in quotes if _are_near(quote.price, median)]


def _are_near(price: Decimal, reference: Decimal) -> bool:
    deviation = EXACT.abs(EXACT.subtract(price, reference))
    return deviation <= EXACT.multiply(reference, LARGEST_DEVIATION)


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
