"""Nodetill's settings: environment variables, or a `.env` file in the working directory. SPEC.md 2.

The class below is the one table of them: `.env.example` and the README are held to it by a test.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn
from urllib.parse import urlsplit

from dotenv.parser import parse_stream

import config_values as kinds
from config_values import PUBLIC_SOURCES, Kind, Maildir, RateSources, Secret, SmtpServer, WrongValue

__all__ = [
    "Maildir",
    "Secret",
    "Settings",
    "SettingsError",
    "SmtpServer",
    "load_settings",
    "settings_or_exit",
]

EX_CONFIG = 78  # sysexits.h
LONGEST_VALUE = 65_536  # characters; the same for a value's file, so that /dev/zero does no harm
YEAR = 31_536_000  # seconds
_KRAKEN_PAIRS = "XXBTZEUR,XXBTZUSD,XXBTZGBP,XXBTZCAD,XXBTZJPY,XBTAUD,XBTCHF"


def setting(default: str, kind: Kind[Any], meaning: str, *, name: str = "", hidden: bool = False) -> Any:
    """A row of the table. `default` is text, as in `.env`; "" stands for none. A `hidden` value is never quoted."""
    return field(
        metadata={"default": default, "kind": kind, "meaning": meaning, "name": name, "hidden": hidden}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings, checked. Each attribute is its variable in lower case; spans of time are in seconds."""

    database_url: Secret = setting(
        "sqlite:///var/nodetill.db",
        kinds.database_url(),
        "Where everything is stored: sqlite:///PATH, or postgresql://USER:PASSWORD@HOST/NAME",
        hidden=True,
    )
    bitcoind_rpc_url: Secret = setting(
        "http://127.0.0.1:8332",
        kinds.rpc_url(),
        "bitcoind's RPC, as http://USER:PASSWORD@HOST:PORT; without a user the cookie file is read",
        hidden=True,
    )
    bitcoind_cookie_file: Path = setting(
        "",
        kinds.file_path(),
        "bitcoind's cookie; if unset, in ~/.bitcoin, in the directory of the chain that the RPC port stands for",
    )
    bitcoind_wallet: str = setting(
        "nodetill",
        kinds.plain_text("the name of a wallet"),
        "The wallet that gives the addresses, hot or watch-only",
    )
    bitcoind_zmq_rawtx: str = setting(
        "tcp://127.0.0.1:28332", kinds.zmq_address(), "zmqpubrawtx of bitcoin.conf"
    )
    bitcoind_zmq_hashblock: str = setting(
        "tcp://127.0.0.1:28333", kinds.zmq_address(), "zmqpubhashblock of bitcoin.conf"
    )
    bitcoind_rest: str = setting(
        "auto",
        kinds.choice("auto", "off"),
        "auto: blocks by REST where bitcoind has rest=1, else by RPC; off: always by RPC",
    )
    address_type: str = setting(
        "bech32",
        kinds.choice("bech32", "bech32m", "p2sh-segwit", "legacy"),
        "The type of new addresses: bech32, bech32m, p2sh-segwit or legacy",
    )
    address_pool: int = setting(
        "500", kinds.whole_number(1, 100_000), "How many unclaimed addresses are kept ready"
    )
    web_host: str = setting("127.0.0.1", kinds.host_name(), "Where the web server listens")
    web_port: int = setting("8080", kinds.whole_number(1, 65_535), "The port on which the web server listens")
    public_url: str = setting(
        "",
        kinds.base_url(),
        "What customers' links start with, such as https://pay.example.com; if unset, http://WEB_HOST:WEB_PORT",
    )
    confirmations: int = setting(
        "6",
        kinds.whole_number(0, 144),
        "How many confirmations a payment needs if its request names no number",
    )
    # SPEC.md 4 bounds a request's own expires_in from below, not this: a try-out on regtest wants seconds.
    payment_expiry: int = setting(
        "900", kinds.whole_number(1, 86_400, " of seconds"), "Seconds for which the quoted price holds"
    )
    monitoring_period: int = setting(
        "604800",
        kinds.whole_number(0, 10 * YEAR, " of seconds"),
        "Seconds after expiry for which a request stays open for late money",
    )
    underpayment_tolerance: Decimal = setting(
        "0", kinds.percent(Decimal(50), highest_allowed=True), "Percent of an amount that may be missing"
    )
    late_payments: str = setting(
        "review",
        kinds.choice("review", "accept"),
        "Money that comes after expiry: review waits for the operator, accept counts it",
    )
    rates: RateSources = setting(
        ",".join(PUBLIC_SOURCES),
        kinds.rate_sources(),
        "Where prices come from; or fixed:EUR=50000,USD=54000",
        name="RATE_SOURCES",
    )
    rate_url_coinbase: str = setting(
        "https://api.coinbase.com/v2/exchange-rates?currency=BTC",
        kinds.http_url(),
        "The address that is asked for coinbase's prices",
        hidden=True,
    )
    rate_url_kraken: str = setting(
        f"https://api.kraken.com/0/public/Ticker?pair={_KRAKEN_PAIRS}",
        kinds.http_url(),
        "The address that is asked for kraken's prices",
        hidden=True,
    )
    rate_url_bitpay: str = setting(
        "https://bitpay.com/rates",
        kinds.http_url(),
        "The address that is asked for bitpay's prices",
        hidden=True,
    )
    rate_url_coingecko: str = setting(
        "https://api.coingecko.com/api/v3/exchange_rates",
        kinds.http_url(),
        "The address that is asked for coingecko's prices",
        hidden=True,
    )
    rate_refresh: int = setting(
        "60", kinds.whole_number(1, 86_400, " of seconds"), "Seconds between two looks at the rates"
    )
    rate_max_age: int = setting(
        "600",
        kinds.whole_number(1, 86_400, " of seconds"),
        "Seconds after which a rate is too old to be used; not less than RATE_REFRESH",
    )
    rate_spread: Decimal = setting(
        "0",
        kinds.percent(Decimal(100), highest_allowed=False),
        "Percent taken off the price, in the merchant's favour",
    )
    mail: SmtpServer | Maildir = setting(
        "maildir:var/mail",
        kinds.mail_url(),
        "smtp://USER:PASSWORD@HOST:587, smtps://USER:PASSWORD@HOST:465, or a local maildir:PATH",
        name="SMTP_URL",
        hidden=True,
    )
    mail_from: str = setting("nodetill@localhost", kinds.email_address(), "The sender of all emails")
    operator_email: str = setting(
        "operator@localhost", kinds.email_address(), "Who is told of payments by email"
    )
    explorer_url: str = setting(
        "https://mempool.space/tx/{txid}",
        kinds.explorer_url(),
        "The link to a transaction in emails and pages; {txid} stands for its id",
    )
    operator_password: Secret | None = setting(
        "",
        kinds.secret_text("any text"),
        "The password of the operator's page, which is off without one",
        hidden=True,
    )
    spellbook_triggers: bool = setting(
        "off", kinds.switch(), "on serves the Spellbook's payment processor triggers"
    )
    reconcile_interval: int = setting(
        "60",
        kinds.whole_number(1, 86_400, " of seconds"),
        "Seconds of silence after which the chain and the mempool are looked at anyway",
    )
    log_format: str = setting(
        "logfmt", kinds.choice("logfmt", "json"), "How log lines are written: logfmt or json"
    )
    log_level: str = setting(
        "info",
        kinds.choice("debug", "info", "warning", "error"),
        "The least that is logged: debug, info, warning or error",
    )

    @property
    def rate_sources(self) -> tuple[str, ...]:
        """The names of the sources; ("fixed",) where the prices are in `fixed_rates`."""
        return self.rates.names

    @property
    def fixed_rates(self) -> Mapping[str, Decimal]:
        """The price of one bitcoin by currency; empty unless RATE_SOURCES is fixed:…"""
        return self.rates.fixed

    @property
    def rate_urls(self) -> Mapping[str, str]:
        """The address of each public source, by its name."""
        return MappingProxyType({name: getattr(self, f"rate_url_{name}") for name in PUBLIC_SOURCES})

    @property
    def rpc_username(self) -> str | None:
        """Percent-decoded; None if the cookie file is to be read."""
        return kinds.credentials(urlsplit(self.bitcoind_rpc_url.reveal()))[0]

    @property
    def rpc_password(self) -> Secret | None:
        """Percent-decoded; None if the cookie file is to be read."""
        password = kinds.credentials(urlsplit(self.bitcoind_rpc_url.reveal()))[1]
        return None if password is None else Secret(password)

    @property
    def rpc_url_without_credentials(self) -> str:
        """http://HOST:PORT, always with the port, never with a slash at the end."""
        return _rpc_address(self.bitcoind_rpc_url)


@dataclass(frozen=True, slots=True)
class Fault:
    variable: str
    problem: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.variable}: {self.problem}; allowed: {self.allowed}"


class SettingsError(ValueError):
    """Settings that can't be worked with; `faults` has every one of them, and none holds a secret."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = tuple(faults)


def variable_name(row: Field[Any]) -> str:
    return row.metadata["name"] or row.name.upper()


def load_settings(environ: Mapping[str, str], directory: Path) -> Settings:
    """The settings of the environment, and of `directory`'s `.env` for what the environment leaves out.

    An empty value counts as unset. NAME_FILE=/path stands for NAME with the file's content. Variables that are
    not ours are left alone. Raises SettingsError with all that is wrong.
    """
    faults: list[Fault] = []
    places = [environ, _env_file(directory / ".env", faults)]
    values: dict[str, Any] = {}
    for row in fields(Settings):
        try:
            values[row.name] = _value(row, places, directory)
        except _Found as found:
            faults.append(found.fault)
    if not faults:
        faults.extend(_contradictions(values))
    if faults:
        raise SettingsError(faults)
    _fill_in(values, environ)
    return Settings(**values)


def settings_or_exit() -> Settings:
    """The settings of this process; or a line for each fault on standard error, and exit status 78."""
    try:
        return load_settings(os.environ, Path.cwd())
    except SettingsError as error:
        exit_with(error)


def exit_with(error: SettingsError) -> NoReturn:
    for fault in error.faults:
        print(f"nodetill: {fault}", file=sys.stderr)
    sys.exit(EX_CONFIG)


class _Found(Exception):
    def __init__(self, variable: str, problem: str, allowed: str) -> None:
        super().__init__(variable)
        self.fault = Fault(variable, problem, allowed)


def _value(row: Field[Any], places: list[Mapping[str, str]], directory: Path) -> Any:
    name, kind = variable_name(row), row.metadata["kind"]
    text = _text(name, places, directory) or row.metadata["default"]
    if not text:
        return None
    try:
        # Also refuses what is no UTF-8, which Python hands on as lone surrogates.
        if not text.isprintable() or len(text) > LONGEST_VALUE:
            raise WrongValue("has control characters, or is far too long")
        return kind.read(text)
    except WrongValue as wrong:
        shown = "the value" if row.metadata["hidden"] else ascii(text[:80])
        raise _Found(name, f"{shown} {wrong}", kind.allowed) from None


def _text(name: str, places: list[Mapping[str, str]], directory: Path) -> str:
    """The variable's text from the first place that has it, or ""."""
    for place in places:
        text, path = place.get(name, ""), place.get(f"{name}_FILE", "")
        if text and path:
            raise _Found(name, f"is set beside {name}_FILE", "one of the two")
        if path:
            return _content(f"{name}_FILE", directory / path)
        if text:
            return text
    return ""


def _content(variable: str, path: Path) -> str:
    allowed = "the path of a readable file with the value in it"
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(LONGEST_VALUE + 2).removesuffix("\n")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise _Found(variable, f"{ascii(str(path))} can't be read ({reason})", allowed) from None
    if not text:
        raise _Found(variable, f"{ascii(str(path))} is empty", allowed)
    return text


def _env_file(path: Path, faults: list[Fault]) -> Mapping[str, str]:
    """The file's variables; a line that can't be read, or a name that looks like a slip, is a fault."""
    values: dict[str, str] = {}
    allowed = "lines of NAME=value, in UTF-8"
    try:
        with path.open(encoding="utf-8-sig") as file:
            for binding in parse_stream(file):
                if binding.error or (binding.key and binding.value is None):
                    faults.append(Fault(".env", f"line {binding.original.line} is not NAME=value", allowed))
                elif binding.key:
                    values[binding.key] = binding.value or ""
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        faults.append(Fault(".env", f"can't be read ({reason})", allowed))
    faults.extend(_slips(values))
    return values


def _slips(names: Mapping[str, str]) -> Iterator[Fault]:
    ours = [variable_name(row) for row in fields(Settings)]
    ours += [f"{name}_FILE" for name in ours]
    for name in names:
        nearest = get_close_matches(name.upper(), ours, n=1, cutoff=0.85)
        if name not in ours and nearest:
            yield Fault(ascii(name).strip("'"), "is not a setting", f"{nearest[0]}, if that is what it means")


def _contradictions(values: Mapping[str, Any]) -> Iterator[Fault]:
    if values["rate_max_age"] < values["rate_refresh"]:
        allowed = "at least RATE_REFRESH, or no rate would last until the next"
        yield Fault("RATE_MAX_AGE", f"'{values['rate_max_age']}' is too short", allowed)


def _fill_in(values: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Give the settings that follow from others their values."""
    if values["public_url"] is None:
        host = values["web_host"]
        values["public_url"] = f"http://{f'[{host}]' if ':' in host else host}:{values['web_port']}"
    if values["bitcoind_cookie_file"] is None:
        values["bitcoind_cookie_file"] = _default_cookie(values["bitcoind_rpc_url"], environ)


# Core's default RPC ports (chainparamsbase.cpp) and the directories of their chains.
_CHAIN_DIRECTORIES = {18332: "testnet3", 48332: "testnet4", 38332: "signet", 18443: "regtest"}


def _default_cookie(rpc_url: Secret, environ: Mapping[str, str]) -> Path:
    # As Core's GetDefaultDataDir does: $HOME, or the root where there is none.
    home = Path(environ.get("HOME") or "/")
    data = home / ("Library/Application Support/Bitcoin" if sys.platform == "darwin" else ".bitcoin")
    port = urlsplit(_rpc_address(rpc_url)).port or 0
    return data / _CHAIN_DIRECTORIES.get(port, "") / ".cookie"


def _rpc_address(rpc_url: Secret) -> str:
    parts = urlsplit(rpc_url.reveal())
    host = parts.hostname or ""
    # A node is meant, so its own port stands in, not the web's; behind TLS there is a web server.
    port = parts.port or (443 if parts.scheme == "https" else 8332)
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}"
