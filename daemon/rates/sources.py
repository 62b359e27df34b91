"""The response formats of the public rate sources. docs/spec.md 4."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from payments.money import is_currency, price_of_bitcoin_unit
from payments.price import read_price

MAX_DEPTH = 8
"""The maximum levels of objects and arrays in a response. No source needs more than five."""

# The old names of Kraken have an X before the coin and a Z before the currency.
_KRAKEN_PAIR = re.compile(r"(?:XXBTZ|XBT)([A-Z]{3})")
# A string without an end continues to the end of the text, so each character is read exactly once.
_PIECE = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[\[{}\]]|[^"\[{}\]]+', re.DOTALL)

# The exceptions that an unexpected value can raise.
_ODD = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class NoRates(Exception):
    """The response contains no price. The text is for the operator, and contains no part of the response."""


class UnknownPair(NoRates):
    """The source refuses all pairs in its address, because it does not support one of them."""


@dataclass(frozen=True, slots=True)
class _Form:
    """The form of a source's response. `read` returns the currency and the price of one of the `entries`."""

    entries: Callable[[Any], Iterable[Any]]
    read: Callable[[Any], tuple[str, Any]]


def read_rates(source: str, answer: bytes) -> dict[str, Decimal]:
    """Return the prices of one bitcoin by currency, in a response of `source`. Raise NoRates.

    An entry with an unknown currency or an invalid price is left out. It does not affect the other entries.
    """
    form = _FORMS[source]
    try:
        entries = list(form.entries(_document(answer.decode("utf-8", "replace"))))
    except _ODD as error:
        raise NoRates(f"the response has another form than {source} uses") from error
    rates: dict[str, Decimal] = {}
    for entry in entries:
        try:
            currency, value = form.read(entry)
            price = read_price(value)
        except _ODD:
            continue
        if price is not None and _is_priced(currency):
            rates[currency] = price
    if not rates:
        raise NoRates("the response contains no prices")
    return rates


def addresses_by_pair(url: str) -> list[str]:
    """Return one address for each pair in an address of Kraken."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    pairs = query.get("pair", "").split(",")
    return [parts._replace(query=urlencode({**query, "pair": pair})).geturl() for pair in pairs]


def _document(text: str) -> Any:
    try:
        return _parsed(text)
    except RecursionError:
        return _parsed(_shallow(text))


def _parsed(text: str) -> Any:
    return json.loads(
        text, parse_float=_number, parse_int=_number, parse_constant=lambda _: None, strict=False
    )


def _number(text: str) -> Decimal | None:
    """Return the number, or None if it is out of the range of Decimal."""
    try:
        return Decimal(text)
    except ArithmeticError:
        return None


def _shallow(text: str) -> str:
    """Return the JSON text with null for values that are nested too deeply for Python's parser."""
    kept, depth = [], 0
    for piece in _PIECE.findall(text):
        depth += piece in "[{"
        if depth <= MAX_DEPTH:
            kept.append(piece)
        elif depth == MAX_DEPTH + 1 and piece in "[{":
            kept.append("null")
        depth -= piece in "]}"
    return "".join(kept)


def _coinbase_entries(document: Any) -> Iterable[Any]:
    if document["data"]["currency"] != "BTC":
        raise ValueError("rates of another coin")
    return document["data"]["rates"].items()  # type: ignore[no-any-return]


def _kraken_entries(document: Any) -> Iterable[Any]:
    """Return the tickers. In Kraken's `error`, a text with E is an error, and a text with W is a warning."""
    texts = document.get("error") or []
    errors = [text for text in texts if isinstance(text, str) and not text.startswith("W")]
    if any("unknown asset pair" in text.lower() for text in errors):
        raise UnknownPair("the source does not support one of the pairs in its address")
    if errors:
        raise NoRates("the source returned an error")
    return document["result"].items()  # type: ignore[no-any-return]


def _kraken_price(entry: Any) -> tuple[str, Any]:
    pair, ticker = entry
    name = _KRAKEN_PAIR.fullmatch(pair)
    if name is None:
        raise ValueError("no price of bitcoin")
    return name[1], ticker["c"][0]


def _coingecko_price(entry: Any) -> tuple[str, Any]:
    code, rate = entry
    if rate["type"] != "fiat":
        raise ValueError("no money")
    return code.upper(), rate["value"]


_FORMS: Mapping[str, _Form] = MappingProxyType(
    {
        "coinbase": _Form(_coinbase_entries, lambda entry: entry),
        "kraken": _Form(_kraken_entries, _kraken_price),
        "bitpay": _Form(lambda document: document["data"], lambda entry: (entry["code"], entry["rate"])),
        "coingecko": _Form(lambda document: document["rates"].items(), _coingecko_price),
    }
)


def _is_priced(currency: object) -> bool:
    return isinstance(currency, str) and is_currency(currency) and price_of_bitcoin_unit(currency) is None
