"""The present price of bitcoin, from the stored rates. These functions use no network."""

from datetime import datetime
from itertools import groupby

from config import Settings
from models.queries.pricing import offered_price
from models.rate import quotes
from payments.money import price_of_bitcoin_unit
from payments.price import Price
from web.http.responses import FieldError, Problem, invalid, unavailable


def price_now(currency: str, settings: Settings, now: datetime) -> Price:
    """Return the price for a new request in `currency`: the sources' price, less the spread.

    Raise Problem 503 without a fresh price, and 422 if no source has this currency.
    """
    unit = price_of_bitcoin_unit(currency)
    if unit is not None:
        return Price(currency, unit, sources=("bitcoin",), fetched_at=now, outliers=())
    named = quotes(currency)
    price = offered_price(named, now, settings.rate_max_age, settings.rate_spread)
    if price is None:
        raise _no_price(currency, settings, now, is_named=bool(named))
    return price


def prices_now(settings: Settings, now: datetime) -> list[Price]:
    """Return all present prices, in the order of the currencies' codes."""
    by_currency = groupby(quotes(), key=lambda quote: quote.currency)
    prices = (
        offered_price(named, now, settings.rate_max_age, settings.rate_spread) for _, named in by_currency
    )
    return [price for price in prices if price is not None]


def _no_price(currency: str, settings: Settings, now: datetime, *, is_named: bool) -> Problem:
    priced = [] if is_named else [price.currency for price in prices_now(settings, now)]
    if priced:
        allowed = ", ".join([*priced, "BTC", "SAT"])
        return invalid([FieldError("currency", f"no rate source has {currency}; allowed are {allowed}")])
    return unavailable("no-price", f"there is no fresh price for {currency}; nothing was used up, try again")
