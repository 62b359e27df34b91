"""What the public rate sources answer, and the prices in it. docs/spec.md 4."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, NoReturn

from payments.money import is_currency, price_of_bitcoin_unit
from payments.price import read_price

# The old names have Kraken's own X and Z before coin and currency.
_KRAKEN_PAIR = re.compile(r"(?:XXBTZ|XBT)([A-Z]{3})")


class NoRates(Exception):
    """An answer without a single price in it; the text says what is wrong, for the operator."""


def read_rates(source: str, answer: bytes) -> dict[str, Decimal]:
    """The prices of one bitcoin, by currency, in what `source` answered. Raises NoRates.

    A currency that is not known, or a price that is none, is left out.
    """
    try:
        document = json.loads(answer, parse_float=Decimal, parse_constant=_refuse)
        prices = {currency: read_price(value) for currency, value in _READERS[source](document)}
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise NoRates(f"an answer of another form than {source}'s") from error
    rates = {
        currency: price for currency, price in prices.items() if price is not None and _is_priced(currency)
    }
    if not rates:
        raise NoRates("an answer without prices")
    return rates


def _coinbase(document: Any) -> Iterable[tuple[str, Any]]:
    if document["data"]["currency"] != "BTC":
        raise ValueError("rates of another coin")
    yield from document["data"]["rates"].items()


def _kraken(document: Any) -> Iterable[tuple[str, Any]]:
    if document["error"]:
        raise NoRates(f"an error: {document['error']}")
    for pair, ticker in document["result"].items():
        name = _KRAKEN_PAIR.fullmatch(pair)
        if name is not None:
            yield name[1], ticker["c"][0]


def _bitpay(document: Any) -> Iterable[tuple[str, Any]]:
    for entry in document["data"]:
        yield entry["code"], entry["rate"]


def _coingecko(document: Any) -> Iterable[tuple[str, Any]]:
    for code, rate in document["rates"].items():
        if rate["type"] == "fiat":
            yield code.upper(), rate["value"]


_READERS: Mapping[str, Callable[[Any], Iterable[tuple[str, Any]]]] = MappingProxyType(
    {"coinbase": _coinbase, "kraken": _kraken, "bitpay": _bitpay, "coingecko": _coingecko}
)


def _is_priced(currency: str) -> bool:
    return is_currency(currency) and price_of_bitcoin_unit(currency) is None


def _refuse(constant: str) -> NoReturn:
    """Python's JSON reader takes NaN and Infinity."""
    raise ValueError(f"{constant} is not JSON")
