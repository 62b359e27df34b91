"""Nodetill's settings: environment variables, or a `.env` file in the working directory. docs/spec.md 2.

The class below is the one table of them: a test holds `.env.example` to it.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from config import types as kinds
from config.reader import Fault, SettingsError, read_values, setting, slips, variable_name
from config.types import PUBLIC_SOURCES, Maildir, RateSources, Secret, SmtpServer

__all__ = [
    "Fault",
    "Maildir",
    "Secret",
    "Settings",
    "SettingsError",
    "SmtpServer",
    "load_settings",
    "misspelt",
    "settings_or_exit",
    "variable_name",
]

EX_CONFIG = 78  # sysexits.h
YEAR = 31_536_000  # seconds
_KRAKEN_PAIRS = "XXBTZEUR,XXBTZUSD,XXBTZGBP,XXBTZCAD,XXBTZJPY,XBTAUD,XBTCHF"


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
        kinds.file_path("/home/bitcoin/.bitcoin/.cookie"),
        "bitcoind's cookie; if unset, in ~/.bitcoin or the chain's directory there, by the RPC port",
    )
    bitcoind_wallet: str = setting(
        "nodetill",
        kinds.plain_text("the name of a wallet, as bitcoin-cli listwallets shows it"),
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
    # docs/spec.md 4 bounds a request's own expires_in from below. This one may be seconds, on regtest.
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
        kinds.secret_text("any text on one line", "correct-horse-battery-staple"),
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


def load_settings(environ: Mapping[str, str], directory: Path) -> Settings:
    """The settings of the environment, and of `directory`'s `.env` for what the environment leaves out.

    An empty value counts as unset. NAME_FILE=/path stands for NAME with the file's content. Variables that
    are not ours are left alone. Raises SettingsError with all that is wrong.
    """
    values, faults = read_values(fields(Settings), environ, directory)
    if not faults:
        faults.extend(_contradictions(values))
    if faults:
        raise SettingsError(faults)
    _fill_in(values, environ)
    return Settings(**values)


def misspelt(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Variables of the environment that look much like one of ours, each with that one.

    Nobody knows that they are meant for us, so they are no fault; but one that is does nothing.
    """
    return list(slips(environ, fields(Settings)))


def settings_or_exit() -> Settings:
    """The settings of this process; or a line for each fault on standard error, and exit status 78."""
    try:
        return load_settings(os.environ, Path.cwd())
    except SettingsError as error:
        for fault in error.faults:
            print(f"nodetill: {fault}", file=sys.stderr)
        sys.exit(EX_CONFIG)


def _contradictions(values: Mapping[str, Any]) -> Iterator[Fault]:
    if values["rate_max_age"] < values["rate_refresh"]:
        refresh = values["rate_refresh"]
        allowed = f"at least RATE_REFRESH, which is {refresh}, or no rate would last until the next"
        yield Fault("RATE_MAX_AGE", f"'{values['rate_max_age']}' is too short", allowed, str(10 * refresh))


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
