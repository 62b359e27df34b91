"""The types of settings, with their readers. addresses.py has the types of addresses.

A reader's error never quotes the text, because the text may be a secret. config/reader.py adds the text where
it is no secret.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Generic, Literal, TypeVar

from payments.money import currency_codes

T = TypeVar("T")

MAX_NUMBER_DIGITS = 15
"""In digits."""

PUBLIC_SOURCES = ("coinbase", "kraken", "bitpay", "mempool", "yadio", "coingecko")
DEFAULT_SOURCES = ("coinbase", "kraken", "bitpay", "mempool", "yadio")
"""CoinGecko by now refuses requests without an API key."""
CUSTOM_SOURCE = "custom"
SOURCES = (*PUBLIC_SOURCES, CUSTOM_SOURCE)


class InvalidValue(ValueError):
    """An error in a value, as text that follows the variable's name. It never holds the value."""


@dataclass(frozen=True, slots=True)
class Secret:
    """Text that neither repr, str, format nor a log record shows. `reveal` returns it."""

    _text: str = field(repr=False)

    def reveal(self) -> str:
        return self._text


@dataclass(frozen=True, slots=True)
class SmtpServer:
    host: str
    port: int
    username: str | None
    password: Secret | None
    security: Literal["starttls", "tls", "none"]


@dataclass(frozen=True, slots=True)
class Maildir:
    path: Path


@dataclass(frozen=True, slots=True)
class RateSources:
    """Names of sources, or ("fixed",) with the price of one bitcoin by currency."""

    names: tuple[str, ...]
    fixed: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class SettingType(Generic[T]):
    """A type of values. `read` returns the value or raises InvalidValue. `allowed` describes the values.

    `example` is a value that works, for a setting whose default does not help.
    """

    read: Callable[[str], T]
    allowed: str
    example: str = ""


def whole_number(lowest: int, highest: int, of: str = "") -> SettingType[int]:
    def read(text: str) -> int:
        _refuse_spaces(text)
        if not re.fullmatch(r"-?[0-9]+", text):
            raise InvalidValue("is not a whole number")
        # Python takes long to read a number with thousands of digits.
        if len(text) > MAX_NUMBER_DIGITS or int(text) > highest:
            raise InvalidValue("is too large")
        if int(text) < lowest:
            raise InvalidValue("is too small")
        return int(text)

    return SettingType(read, f"a whole number{of} from {lowest} to {highest}")


def percent(highest: Decimal, *, highest_allowed: bool) -> SettingType[Decimal]:
    def read(text: str) -> Decimal:
        _refuse_spaces(text)
        number = _decimal(text)
        if number is None:
            raise InvalidValue("is not a plain number: digits, with or without a point")
        if number > highest or (number == highest and not highest_allowed):
            raise InvalidValue("is too large")
        return number

    limit = f"to {highest}" if highest_allowed else f"to less than {highest}"
    return SettingType(read, f"a percentage from 0 {limit}, without the % sign", "0.5")


def choice(*names: str) -> SettingType[str]:
    def read(text: str) -> str:
        _refuse_spaces(text)
        if text.lower() in names and text not in names:
            raise InvalidValue("is not in lower case")
        if text not in names:
            raise InvalidValue("is none of the choices")
        return text

    return SettingType(read, " or ".join((", ".join(names[:-1]), names[-1])))


def boolean() -> SettingType[bool]:
    on_or_off = choice("on", "off")
    return SettingType(lambda text: on_or_off.read(text) == "on", on_or_off.allowed, "on")


def plain_text(allowed: str) -> SettingType[str]:
    return SettingType(lambda text: text, allowed)


def secret_text(allowed: str, example: str) -> SettingType[Secret]:
    return SettingType(Secret, allowed, example)


def bearer_token() -> SettingType[Secret]:
    """Return the type of a token for the Authorization header (RFC 6750)."""

    def read(text: str) -> Secret:
        if not re.fullmatch(r"[!-~]+", text):
            raise InvalidValue("has a space, or a character that is not ASCII")
        return Secret(text)

    return SettingType(
        read,
        "letters, digits and other ASCII signs, without spaces",
        "the-output-of-openssl-rand-hex-32",
    )


def file_path(example: str) -> SettingType[Path]:
    return SettingType(path_from, "the path of a file", example)


def rate_sources() -> SettingType[RateSources]:
    def read(text: str) -> RateSources:
        if text.startswith("fixed:"):
            return RateSources(("fixed",), _fixed_rates(text.removeprefix("fixed:")))
        names = tuple(name.strip() for name in text.split(","))
        if "" in names:
            raise InvalidValue("has an extra comma")
        if set(names) - set(SOURCES):
            raise InvalidValue("names an unknown source")
        if len(set(names)) < len(names):
            raise InvalidValue("names a source twice")
        return RateSources(names, MappingProxyType({}))

    return SettingType(read, f"some of {', '.join(SOURCES)}; or fixed:EUR=50000,USD=54000", "kraken,bitpay")


def path_from(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise InvalidValue("names the home directory of an unknown user") from None


def _fixed_rates(text: str) -> Mapping[str, Decimal]:
    rates: dict[str, Decimal] = {}
    for entry in text.split(","):
        currency, _, price = entry.strip().partition("=")
        if not re.fullmatch(r"[A-Z]{3}", currency):
            raise InvalidValue("has a currency that is not three capital letters, such as EUR")
        if currency not in currency_codes():
            raise InvalidValue("has a currency that is no code of ISO 4217")
        if currency in rates:
            raise InvalidValue("has a currency twice")
        if currency in ("BTC", "SAT"):
            raise InvalidValue("has a rate for BTC or SAT, which need none")
        rate = _decimal(price)
        if not rate:
            raise InvalidValue("has a currency without a price above zero, such as 50000 or 61142.30")
        rates[currency] = rate
    return MappingProxyType(rates)


def _decimal(text: str) -> Decimal | None:
    """Return the number, or None. Decimal() itself accepts 1_000, Infinity and digits of other scripts."""
    return Decimal(text) if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,12})?", text) else None


def _refuse_spaces(text: str) -> None:
    if text != text.strip():
        raise InvalidValue("has a space before or after it")
