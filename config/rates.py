"""The settings of the rate sources: addresses, headers, and a source of the operator's own."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from config.addresses import http_url
from config.types import CUSTOM_SOURCE, PUBLIC_SOURCES, InvalidValue, Secret, SettingType
from payments.money import currency_codes

CURRENCY, CURRENCY_LOWER = "{currency}", "{currency_lower}"
MAX_CURRENCIES = 20
"""Each currency is a request of its own."""

_KRAKEN_PAIRS = "XXBTZEUR,XXBTZUSD,XXBTZGBP,XXBTZCAD,XXBTZJPY,XBTAUD,XBTCHF"
_ADDRESSES: Mapping[str, str] = MappingProxyType(
    {
        "coinbase": "https://api.coinbase.com/v2/exchange-rates?currency=BTC",
        "kraken": f"https://api.kraken.com/0/public/Ticker?pair={_KRAKEN_PAIRS}",
        "bitpay": "https://bitpay.com/rates",
        "mempool": "https://mempool.space/api/v1/prices",
        "yadio": "https://api.yadio.io/exrates/BTC",
        "coingecko": "https://api.coingecko.com/api/v3/exchange_rates",
    }
)
assert tuple(_ADDRESSES) == PUBLIC_SOURCES

# RFC 9110 5.6.2. Nodetill itself sets the forbidden headers, because they belong to its own requests.
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_OWN_HEADERS = frozenset(
    "host user-agent accept-encoding connection content-length transfer-encoding te upgrade expect".split()
)


@dataclass(frozen=True, slots=True)
class Header:
    """A header that a source wants, such as an API key."""

    name: str
    value: Secret


def address(source: str) -> tuple[str, SettingType[str], str]:
    """Return the default, the type and the meaning of the setting for the address of a source."""
    if source == CUSTOM_SOURCE:
        meaning = "The address of prices of your own choice, with {currency} if each currency has an address"
        return "", _address_template(), meaning
    return _ADDRESSES[source], http_url(), f"The address of {source}'s prices"


def header(source: str) -> tuple[str, SettingType[Header], str]:
    """Return the default, the type and the meaning of the setting for the header of a source."""
    return "", _header(), f"A header for {source}, such as an API key, as NAME: VALUE"


def price_path() -> SettingType[tuple[str, ...]]:
    """Return the type of the names and numbers that lead to a price in a JSON document."""

    def read(text: str) -> tuple[str, ...]:
        steps = tuple(text.split("."))
        if "" in steps or text != text.strip():
            raise InvalidValue("has an empty name, a dot at an end, or a space before or after it")
        _check_braces(text)
        return steps

    return SettingType(
        read,
        "names and numbers with dots between them, and {currency} for a currency's code",
        "data.{currency}.last",
    )


def currency_list() -> SettingType[tuple[str, ...]]:
    def read(text: str) -> tuple[str, ...]:
        codes = tuple(code.strip() for code in text.split(","))
        if "" in codes:
            raise InvalidValue("has an extra comma")
        if set(codes) - (currency_codes() - {"BTC", "SAT"}):
            raise InvalidValue("has an entry that is no currency's code of ISO 4217 in capital letters")
        if len(set(codes)) < len(codes):
            raise InvalidValue("has a currency twice")
        if len(codes) > MAX_CURRENCIES:
            raise InvalidValue("has too many currencies, and each is a request of its own")
        return codes

    return SettingType(
        read, f"up to {MAX_CURRENCIES} codes of currencies with commas between them", "EUR,USD"
    )


def has_currency(text: str) -> bool:
    """Return whether an address or a path has a place for a currency's code."""
    return CURRENCY in text or CURRENCY_LOWER in text


def with_currency(text: str, code: str) -> str:
    return text.replace(CURRENCY, code).replace(CURRENCY_LOWER, code.lower())


def _address_template() -> SettingType[str]:
    plain = http_url()

    def read(text: str) -> str:
        _check_braces(text)
        plain.read(with_currency(text, "EUR"))
        return text

    return SettingType(read, plain.allowed, "https://rates.example.com/btc/{currency}")


def _check_braces(text: str) -> None:
    if re.search(r"[{}]", with_currency(text, "")):
        raise InvalidValue("has braces other than those of {currency} (EUR) and {currency_lower} (eur)")


def _header() -> SettingType[Header]:
    def read(text: str) -> Header:
        name, colon, value = text.partition(":")
        value = value.strip()
        if not colon or not value:
            raise InvalidValue("has no name, no colon or no value")
        if not _HEADER_NAME.fullmatch(name):
            raise InvalidValue("has a name with characters that no header's name has")
        if name.lower() in _OWN_HEADERS:
            raise InvalidValue("has the name of a header that Nodetill sets itself")
        if not value.isascii():
            raise InvalidValue("has a value that is not ASCII")
        return Header(name, Secret(value))

    return SettingType(read, "NAME: VALUE", "x-cg-demo-api-key: YOUR-KEY")
