"""The kinds of value a setting can have, and how each is read from text.

A reader never quotes the text it was given: it may be a secret. config/settings.py adds it where it is none.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Generic, Literal, TypeVar
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

T = TypeVar("T")

LONGEST_NUMBER = 15
"""Digits."""

LONGEST_SOCKET = 100
"""Bytes; unix(7) allows a few more."""

ENCODE = "a special character that is not percent-encoded (@ as %40, / as %2F, : as %3A, # as %23, % as %25)"

PUBLIC_SOURCES = ("coinbase", "kraken", "bitpay", "coingecko")

_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
# What HTML's <input type=email> takes: narrower than RFC 5322, and nothing that a header could trip over.
_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")


class WrongValue(ValueError):
    """What is wrong with a value, to be read after the name of its variable. Never holds the value."""


@dataclass(frozen=True, slots=True)
class Secret:
    """Text that neither repr, str, format nor a log record shows. `reveal` gives it to whom it is for."""

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
    """Names of public sources; or ("fixed",), and the price of one bitcoin by currency."""

    names: tuple[str, ...]
    fixed: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """`read` gives the value or raises WrongValue; `allowed` says to the operator what it takes.

    `example` is a value that works, where a setting's default is none that helps.
    """

    read: Callable[[str], T]
    allowed: str
    example: str = ""


def whole_number(lowest: int, highest: int, of: str = "") -> Kind[int]:
    def read(text: str) -> int:
        _refuse_spaces(text)
        if not re.fullmatch(r"-?[0-9]+", text):
            raise WrongValue("is not a whole number")
        # Python would take long to read a number of thousands of digits.
        if len(text) > LONGEST_NUMBER or int(text) > highest:
            raise WrongValue("is too large")
        if int(text) < lowest:
            raise WrongValue("is too small")
        return int(text)

    return Kind(read, f"a whole number{of} from {lowest} to {highest}")


def percent(highest: Decimal, *, highest_allowed: bool) -> Kind[Decimal]:
    def read(text: str) -> Decimal:
        _refuse_spaces(text)
        number = _decimal(text)
        if number is None:
            raise WrongValue("is not a plain number: digits, and a point if you like")
        if number > highest or (number == highest and not highest_allowed):
            raise WrongValue("is too large")
        return number

    limit = f"to {highest}" if highest_allowed else f"to less than {highest}"
    return Kind(read, f"a percentage from 0 {limit}, without the % sign", "0.5")


def choice(*names: str) -> Kind[str]:
    def read(text: str) -> str:
        _refuse_spaces(text)
        if text.lower() in names and text not in names:
            raise WrongValue("is not in small letters")
        if text not in names:
            raise WrongValue("is none of the choices")
        return text

    return Kind(read, " or ".join((", ".join(names[:-1]), names[-1])))


def switch() -> Kind[bool]:
    on_or_off = choice("on", "off")
    return Kind(lambda text: on_or_off.read(text) == "on", on_or_off.allowed, "on")


def plain_text(allowed: str) -> Kind[str]:
    return Kind(lambda text: text, allowed)


def secret_text(allowed: str, example: str) -> Kind[Secret]:
    return Kind(Secret, allowed, example)


def bearer_token() -> Kind[Secret]:
    """Read what can stand in a header behind Bearer."""

    def read(text: str) -> Secret:
        if not re.fullmatch(r"[!-~]+", text):
            raise WrongValue("has a space, or a character that is not ASCII")
        return Secret(text)

    return Kind(
        read, "letters, digits and signs of ASCII, without spaces", "the-output-of-openssl-rand-hex-32"
    )


def file_path(example: str) -> Kind[Path]:
    return Kind(_path, "the path of a file", example)


def email_address() -> Kind[str]:
    def read(text: str) -> str:
        if len(text) > 254 or not _EMAIL.fullmatch(text):
            raise WrongValue("is not an email address")
        return text

    return Kind(read, "one email address in ASCII, without a name", "till@example.com")


def host_name() -> Kind[str]:
    def read(text: str) -> str:
        if not is_host(text):
            raise WrongValue("is neither a host name nor an IP address")
        return text

    return Kind(read, "a host name or an IP address, without a port or brackets")


def database_url() -> Kind[Secret]:
    def read(text: str) -> Secret:
        if text.startswith("sqlite:"):
            if not text.startswith("sqlite:///"):
                raise WrongValue(
                    "has too few slashes: sqlite:///till.db is in the directory where Nodetill runs"
                )
            if text.removeprefix("sqlite:///").strip("/") in ("", ":memory:"):
                raise WrongValue("names no file")
            return Secret(text)
        parts = _split(text, {"postgresql": None}, "sqlite:///")
        if not parts.path.strip("/"):
            raise WrongValue("names no database")
        return Secret(text)

    return Kind(read, "sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME")


def rpc_url() -> Kind[Secret]:
    def read(text: str) -> Secret:
        parts = _split(text, {"http": 8332, "https": 443})
        if parts.path.strip("/") or parts.query or parts.fragment:
            raise WrongValue("has something after the port (a wallet is named by BITCOIND_WALLET)")
        username, password = credentials(parts)
        if (username is None) != (password is None):
            raise WrongValue("has a user without a password")
        if ":" in (username or ""):
            raise WrongValue("has a colon in the user's name, which bitcoind does not take")
        return Secret(text)

    allowed = "http://HOST:PORT or http://USER:PASSWORD@HOST:PORT"
    return Kind(read, allowed, "http://nodetill:PASSWORD@127.0.0.1:8332")


def zmq_address() -> Kind[str]:
    def read(text: str) -> str:
        if text.startswith("ipc://"):
            if text == "ipc://":
                raise WrongValue("names no path")
            if len(text.encode()) > LONGEST_SOCKET:
                raise WrongValue("has a path that is too long for a socket")
            return text
        if text.startswith("tcp://*"):
            raise WrongValue("has a * where the host must be that is to be connected to")
        parts = _split(text, {"tcp": None}, "ipc://")
        if parts.port is None:
            raise WrongValue("has no port")
        if parts.path or parts.query or parts.fragment or parts.username:
            raise WrongValue("has more than a host and a port")
        return text

    return Kind(read, "tcp://HOST:PORT or ipc://PATH, as bitcoin.conf has it")


def http_url() -> Kind[str]:
    """An address that is asked as it stands."""

    def read(text: str) -> str:
        parts = _split(text, {"http": 80, "https": 443})
        if " " in text or parts.fragment:
            raise WrongValue("has a space or a # in it")
        return text

    return Kind(read, "an address that starts with http:// or https://", "https://rates.example.com/btc")


def base_url() -> Kind[str]:
    """An address that paths are added to; without a slash at its end."""

    def read(text: str) -> str:
        parts = _split(text, {"http": 80, "https": 443})
        if " " in text or parts.query or parts.fragment or parts.username is not None:
            raise WrongValue("has more than a host, a port and a path")
        return text.rstrip("/")

    allowed = "http://HOST:PORT or https://HOST, with a path if there is one"
    return Kind(read, allowed, "https://pay.example.com")


def explorer_url() -> Kind[str]:
    def read(text: str) -> str:
        http_url().read(text.replace("{txid}", "0"))
        if "{txid}" not in text:
            raise WrongValue("has no {txid}")
        if re.search(r"[{}]", text.replace("{txid}", "")):
            raise WrongValue("has braces beside those of {txid}")
        return text

    return Kind(read, "an http:// or https:// address with {txid} where the transaction's id goes")


def rate_sources() -> Kind[RateSources]:
    def read(text: str) -> RateSources:
        if text.startswith("fixed:"):
            return RateSources(("fixed",), _fixed_rates(text.removeprefix("fixed:")))
        names = tuple(name.strip() for name in text.split(","))
        if "" in names:
            raise WrongValue("has a comma too many")
        if set(names) - set(PUBLIC_SOURCES):
            raise WrongValue("names a source that is not known")
        if len(set(names)) < len(names):
            raise WrongValue("names a source twice")
        return RateSources(names, MappingProxyType({}))

    return Kind(read, f"some of {', '.join(PUBLIC_SOURCES)}; or fixed:EUR=50000,USD=54000", "kraken,bitpay")


def mail_url() -> Kind[SmtpServer | Maildir]:
    def read(text: str) -> SmtpServer | Maildir:
        if text.startswith("maildir:"):
            if not text.removeprefix("maildir:").strip("/"):
                raise WrongValue("names no directory")
            return Maildir(_path(text.removeprefix("maildir:")))
        return _smtp_server(_split(text, {"smtp": 587, "smtps": 465}, "maildir:"))

    allowed = (
        "smtp://USER:PASSWORD@HOST:PORT (and ?starttls=never after it for no TLS), "
        "smtps://USER:PASSWORD@HOST:PORT, or maildir:PATH"
    )
    return Kind(read, allowed, "smtp://till:PASSWORD@mail.example.com:587")


def is_host(text: str) -> bool:
    """Whether it is an IP address (an IPv6 one without brackets) or the name of a host."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return len(text) <= 253 and _HOST_NAME.fullmatch(text) is not None
    return True


def credentials(parts: SplitResult) -> tuple[str | None, str | None]:
    """User name and password of an address, percent-decoded (RFC 3986 2.1); None for what it hasn't."""
    username = None if parts.username is None else unquote(parts.username)
    password = None if parts.password is None else unquote(parts.password)
    return username, password


def _path(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise WrongValue("names the home directory of a user who is not there") from None


def _split(text: str, schemes: Mapping[str, int | None], *others: str) -> SplitResult:
    """The address's parts, once its scheme, host and port are seen to be right.

    `others` are beginnings that would have been right, too.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        # Its message has the text in it, and so may have a password.
        raise WrongValue(f"has a port that is none, or {ENCODE}") from None
    if parts.scheme not in schemes:
        beginnings = [*(f"{scheme}://" for scheme in schemes), *others]
        raise WrongValue(f"does not start with {' or '.join(beginnings)}")
    # Behind a PostgreSQL URL without a host is a Unix socket.
    if parts.scheme != "postgresql" and not is_host(parts.hostname or ""):
        raise WrongValue(f"has no host, or {ENCODE}")
    if port == 0:
        raise WrongValue("has port 0, which nobody can connect to")
    return parts


def _smtp_server(parts: SplitResult) -> SmtpServer:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.path.strip("/") or parts.fragment:
        raise WrongValue("has something after the port")
    if options not in ({}, {"starttls": "never"}) or (options and parts.scheme == "smtps"):
        raise WrongValue("has an option that is not known")
    security: Literal["starttls", "tls", "none"] = "starttls"
    if parts.scheme == "smtps":
        security = "tls"
    elif options:
        security = "none"
    username, password = credentials(parts)
    if (username is None) != (password is None):
        raise WrongValue("has a user without a password")
    port = parts.port or {"starttls": 587, "tls": 465, "none": 25}[security]
    return SmtpServer(
        parts.hostname or "", port, username, None if password is None else Secret(password), security
    )


def _fixed_rates(text: str) -> Mapping[str, Decimal]:
    rates: dict[str, Decimal] = {}
    for entry in text.split(","):
        currency, _, price = entry.strip().partition("=")
        if not re.fullmatch(r"[A-Z]{3}", currency):
            raise WrongValue("has a currency that is not three capital letters, such as EUR")
        if currency in rates:
            raise WrongValue("has a currency twice")
        if currency in ("BTC", "SAT"):
            raise WrongValue("has a rate for BTC or SAT, which need none")
        rate = _decimal(price)
        if not rate:
            raise WrongValue("has a currency without a price above zero, such as 50000 or 61142.30")
        rates[currency] = rate
    return MappingProxyType(rates)


def _decimal(text: str) -> Decimal | None:
    """None where it is none: Decimal() itself takes 1_000, Infinity and digits of other scripts."""
    return Decimal(text) if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,12})?", text) else None


def _refuse_spaces(text: str) -> None:
    if text != text.strip():
        raise WrongValue("has a space before or after it")
