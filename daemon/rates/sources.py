"""The response formats of the rate sources. docs/spec.md 4."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from config.rates import with_currency
from payments.money import is_currency, price_of_bitcoin_unit
from payments.price import read_price

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_MILLISECONDS = Decimal(10**11)
"""A time from this number on is in milliseconds, because in seconds it would be after the year 5000."""

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


class OldRates(NoRates):
    """The prices are too old by the source's own time."""


@dataclass(frozen=True, slots=True)
class Rates:
    """The prices of one bitcoin by currency. `as_of` is the time that the source gives them, if it does."""

    prices: Mapping[str, Decimal]
    as_of: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Form:
    """The form of a source's response. `read` returns the currency and the price of one of the `entries`.

    `stated_time` returns the source's own time of its prices, in seconds or milliseconds since 1970.
    """

    entries: Callable[[Any], Iterable[Any]]
    read: Callable[[Any], tuple[str, Any]]
    stated_time: Callable[[Any], Any] = lambda _document: None


def read_rates(source: str, answer: bytes) -> Rates:
    """Return the prices in a response of a public `source`. Raise NoRates.

    An entry with an unknown currency or an invalid price is left out. It does not affect the other entries.
    """
    return _read(_FORMS[source], answer, f"the response has another form than {source} uses")


def read_custom_rates(answer: bytes, path: Iterable[str], currencies: Iterable[str]) -> Rates:
    """Return the prices of `currencies` at the `path` of names and numbers in a response. Raise NoRates."""

    def entries(document: Any) -> Iterable[Any]:
        return [(document, code) for code in currencies]

    def read(entry: Any) -> tuple[str, Any]:
        document, code = entry
        return code, _value_at(document, [with_currency(step, code) for step in path])

    return _read(_Form(entries, read), answer, "the response is no JSON")


def _read(form: _Form, answer: bytes, problem: str) -> Rates:
    try:
        document = _document(answer.decode("utf-8", "replace"))
        entries = list(form.entries(document))
    except _ODD as error:
        raise NoRates(problem) from error
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
    return Rates(rates, _as_of(form, document))


def _as_of(form: _Form, document: Any) -> datetime | None:
    """Return the source's own time of its prices, or None where there is no valid time."""
    try:
        seconds = Decimal(form.stated_time(document))
        if seconds >= FIRST_MILLISECONDS:
            seconds /= 1000
        return EPOCH + timedelta(seconds=float(seconds))
    except _ODD:
        return None


def _value_at(document: Any, path: Iterable[str]) -> Any:
    for step in path:
        document = document[int(step) if isinstance(document, list) else step]
    return document


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


def _yadio_entries(document: Any) -> Iterable[Any]:
    if document.get("base", "BTC") != "BTC":
        raise ValueError("rates of another coin")
    return document["BTC"].items()  # type: ignore[no-any-return]


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
        # A currency whose price is unknown has the price -1.
        "mempool": _Form(lambda document: document.items(), lambda entry: entry, lambda d: d.get("time")),
        "yadio": _Form(_yadio_entries, lambda entry: entry, lambda document: document.get("timestamp")),
        "coingecko": _Form(lambda document: document["rates"].items(), _coingecko_price),
    }
)


def _is_priced(currency: object) -> bool:
    return isinstance(currency, str) and is_currency(currency) and price_of_bitcoin_unit(currency) is None
