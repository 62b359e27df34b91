"""Nodetill's settings: environment variables, or a `.env` file in the working directory. docs/spec.md 2.

The class below is their only table. A test compares `.env.example` with it.
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

from config import addresses, hosts, types
from config import rates as rate_rows
from config.hosts import HostList
from config.proxy import Proxy, proxy_url
from config.rates import Header
from config.reader import SettingError, SettingsError, near_names, read_values, setting
from config.types import CUSTOM_SOURCE, DEFAULT_SOURCES, SOURCES, Maildir, RateSources, Secret, SmtpServer

EX_CONFIG = 78  # sysexits.h
YEAR = 31_536_000  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings, checked. An attribute is its variable in lower case. Spans of time are in seconds."""

    database_url: Secret = setting(
        "sqlite:///var/nodetill.db",
        addresses.database_url(),
        "The database: sqlite:///PATH, or postgresql://USER:PASSWORD@HOST/NAME",
        hidden=True,
    )
    bitcoind_rpc_url: Secret = setting(
        "http://127.0.0.1:8332",
        addresses.rpc_url(),
        "bitcoind's RPC: http://USER:PASSWORD@HOST:PORT; without a user, Nodetill reads the cookie file",
        hidden=True,
    )
    bitcoind_cookie_file: Path | None = setting(
        "",
        types.file_path("/home/bitcoin/.bitcoin/.cookie"),
        "bitcoind's cookie file; by default the RPC port's usual path, if bitcoind is on this machine",
    )
    bitcoind_wallet: str = setting(
        "nodetill",
        types.plain_text("the name of a wallet, as bitcoin-cli listwallets shows it"),
        "The wallet in bitcoind that makes addresses, hot or watch-only",
    )
    # None stands for auto in both.
    bitcoind_zmq_rawtx: str | None = setting(
        "auto",
        addresses.zmq_address(),
        "zmqpubrawtx of bitcoin.conf: tcp://HOST:PORT or unix:/PATH; auto takes it from bitcoind",
    )
    bitcoind_zmq_hashblock: str | None = setting(
        "auto",
        addresses.zmq_address(),
        "zmqpubhashblock or zmqpubrawblock: tcp://HOST:PORT or unix:/PATH; auto takes it from bitcoind",
    )
    bitcoind_rest: str = setting(
        "auto",
        types.choice("auto", "off"),
        "auto reads blocks by REST where bitcoind has rest=1, else by RPC; off always reads them by RPC",
    )
    address_type: str = setting(
        "bech32",
        types.choice("bech32", "bech32m", "p2sh-segwit", "legacy"),
        "The type of that wallet's new addresses: bech32, bech32m, p2sh-segwit or legacy",
    )
    address_pool: int = setting(
        "500",
        types.whole_number(1, 100_000),
        "The number of free addresses that are kept ready in each wallet in use",
    )
    web_host: str = setting("127.0.0.1", addresses.host_name(), "The address on which the web server listens")
    web_port: int = setting("8080", types.whole_number(1, 65_535), "The port on which the web server listens")
    public_url: str = setting(
        "",
        addresses.base_url(),
        "The start of customers' links, such as https://pay.example.com; by default http://WEB_HOST:WEB_PORT",
    )
    confirmations: int = setting(
        "6",
        types.whole_number(0, 144),
        "The confirmations that a payment needs if its request has no number",
    )
    confirmations_minimum: int = setting(
        "0",
        types.whole_number(0, 144),
        "The fewest confirmations that any payment needs, even if its request or CONFIRMATIONS has fewer",
    )
    # A request may choose 60 seconds or more (docs/spec.md 4). A test on regtest may need fewer.
    payment_expiry: int = setting(
        "900", types.whole_number(1, 86_400, " of seconds"), "Seconds for which the quoted price holds"
    )
    monitoring_period: int = setting(
        "604800",
        types.whole_number(0, 10 * YEAR, " of seconds"),
        "Seconds after expiry for which a request stays open for late money",
    )
    underpayment_tolerance: Decimal = setting(
        "0",
        types.percent(Decimal(50), highest_allowed=True),
        "The percentage of an amount that may be missing",
    )
    late_payments: str = setting(
        "review",
        types.choice("review", "accept"),
        "Late money: review leaves the decision to the operator, accept counts the money",
    )
    rates: RateSources = setting(
        ",".join(DEFAULT_SOURCES),
        types.rate_sources(),
        "The sources of prices, or prices of your own: fixed:EUR=50000,USD=54000",
        name="RATE_SOURCES",
    )
    rate_url_coinbase: str = setting(*rate_rows.address("coinbase"), hidden=True)
    rate_url_kraken: str = setting(*rate_rows.address("kraken"), hidden=True)
    rate_url_bitpay: str = setting(*rate_rows.address("bitpay"), hidden=True)
    rate_url_mempool: str = setting(*rate_rows.address("mempool"), hidden=True)
    rate_url_yadio: str = setting(*rate_rows.address("yadio"), hidden=True)
    rate_url_coingecko: str = setting(*rate_rows.address("coingecko"), hidden=True)
    rate_url_custom: str | None = setting(*rate_rows.address("custom"), hidden=True)
    rate_path_custom: tuple[str, ...] | None = setting(
        "",
        rate_rows.price_path(),
        "The names and numbers that lead to a custom price in its JSON, such as data.{currency}.last",
    )
    rate_currencies_custom: tuple[str, ...] = setting(
        "EUR,USD,GBP,CHF,CAD,AUD,JPY",
        rate_rows.currency_list(),
        "The currencies that are requested if RATE_URL_CUSTOM has {currency}",
    )
    rate_header_coinbase: Header | None = setting(*rate_rows.header("coinbase"), hidden=True)
    rate_header_kraken: Header | None = setting(*rate_rows.header("kraken"), hidden=True)
    rate_header_bitpay: Header | None = setting(*rate_rows.header("bitpay"), hidden=True)
    rate_header_mempool: Header | None = setting(*rate_rows.header("mempool"), hidden=True)
    rate_header_yadio: Header | None = setting(*rate_rows.header("yadio"), hidden=True)
    rate_header_coingecko: Header | None = setting(*rate_rows.header("coingecko"), hidden=True)
    rate_header_custom: Header | None = setting(*rate_rows.header("custom"), hidden=True)
    rate_refresh: int = setting(
        "60", types.whole_number(1, 86_400, " of seconds"), "Seconds between two requests for rates"
    )
    rate_max_age: int = setting(
        "600",
        types.whole_number(1, 86_400, " of seconds"),
        "Seconds after which a rate is too old; not less than RATE_REFRESH",
    )
    rate_spread: Decimal = setting(
        "0",
        types.percent(Decimal(100), highest_allowed=False),
        "The percentage that is taken off the price, in the merchant's favour",
    )
    mail: SmtpServer | Maildir = setting(
        "maildir:var/mail",
        addresses.mail_url(),
        "smtp://USER:PASSWORD@HOST:587, smtps://USER:PASSWORD@HOST:465, or a local maildir:PATH",
        name="SMTP_URL",
        hidden=True,
    )
    mail_from: str = setting("nodetill@localhost", addresses.email_address(), "The sender of all emails")
    operator_email: str = setting(
        "operator@localhost",
        addresses.email_address(),
        "The operator's address, which gets the emails about payments",
    )
    explorer_url: str | None = setting(
        "",
        addresses.explorer_url(),
        "The link to a transaction, with {txid} for its id, or off; by default mempool.space for the network",
    )
    proxy: Proxy | None = setting(
        "",
        proxy_url(),
        "A SOCKS5 proxy such as Tor, socks5h://127.0.0.1:9050, for rates, webhooks and emails",
        hidden=True,
    )
    operator_password: Secret | None = setting(
        "",
        types.secret_text("any text on one line", "correct-horse-battery-staple"),
        "The password of the operator's page; without a password the page is off",
        hidden=True,
    )
    webhook_private_hosts: HostList = setting(
        "",
        hosts.host_list(),
        "Private hosts and networks that are allowed for webhook addresses set by an API key",
    )
    metrics_token: Secret | None = setting(
        "",
        types.bearer_token(),
        "The token for a monitor to read /metrics and all of /health, as Authorization: Bearer TOKEN",
        hidden=True,
    )
    max_open_requests: int = setting(
        "50000",
        types.whole_number(0, 10_000_000),
        "The most requests of one seller that may be open at a time; 0 is no limit",
    )
    max_requests_per_minute: int = setting(
        "10000",
        types.whole_number(0, 10_000_000),
        "The most requests that one seller may create in a minute; 0 is no limit",
    )
    spellbook_triggers: bool = setting(
        "off", types.boolean(), "on adds the routes of the Spellbook's payment processor"
    )
    reconcile_interval: int = setting(
        "60",
        types.whole_number(1, 86_400, " of seconds"),
        "Seconds without a feed message after which the daemon checks the chain and the mempool",
    )
    log_format: str = setting(
        "logfmt", types.choice("logfmt", "json"), "The format of log lines: logfmt or json"
    )
    log_level: str = setting(
        "info",
        types.choice("debug", "info", "warning", "error"),
        "The lowest level that is logged: debug, info, warning or error",
    )

    def confirmations_for(self, asked: int | None) -> int:
        """Return the confirmations that a request needs if it asks for so many, or has no number."""
        return max(self.confirmations if asked is None else asked, self.confirmations_minimum)

    @property
    def rate_sources(self) -> tuple[str, ...]:
        """Return the names of the sources, or ("fixed",) where `fixed_rates` has the prices."""
        return self.rates.names

    @property
    def fixed_rates(self) -> Mapping[str, Decimal]:
        """Return the price of one bitcoin by currency. It is empty unless RATE_SOURCES is fixed:…"""
        return self.rates.fixed

    @property
    def rate_urls(self) -> Mapping[str, str]:
        """Return the address of each source by the source's name. A custom source may have none."""
        return MappingProxyType({name: getattr(self, f"rate_url_{name}") or "" for name in SOURCES})

    @property
    def rate_headers(self) -> Mapping[str, Header]:
        """Return the headers of the sources that want one, by the source's name."""
        headers = {name: getattr(self, f"rate_header_{name}") for name in SOURCES}
        return MappingProxyType({name: header for name, header in headers.items() if header is not None})

    @property
    def rpc_username(self) -> str | None:
        """Return the user of BITCOIND_RPC_URL, percent-decoded, or None where it has no user."""
        return addresses.credentials(urlsplit(self.bitcoind_rpc_url.reveal()))[0]

    @property
    def rpc_password(self) -> Secret | None:
        """Return the password of BITCOIND_RPC_URL, percent-decoded, or None where it has no password."""
        password = addresses.credentials(urlsplit(self.bitcoind_rpc_url.reveal()))[1]
        return None if password is None else Secret(password)

    @property
    def rpc_host(self) -> str:
        """Return the host of BITCOIND_RPC_URL, an IPv6 address without brackets."""
        return urlsplit(self.bitcoind_rpc_url.reveal()).hostname or ""

    @property
    def rpc_url_without_credentials(self) -> str:
        """Return http://HOST:PORT, always with the port, never with a slash at the end."""
        return _rpc_address(self.bitcoind_rpc_url)


def load_settings(environ: Mapping[str, str], directory: Path) -> Settings:
    """Return the settings from the environment, or from `directory`'s `.env` where the environment has none.

    An empty value counts as unset. NAME_FILE=/path stands for NAME with the file's content. Nodetill ignores
    other programs' variables. Raise SettingsError with all errors.
    """
    values, errors = read_values(fields(Settings), environ, directory)
    if not errors:
        errors.extend(_contradictions(values))
    if errors:
        raise SettingsError(errors)
    _fill_in(values, environ)
    return Settings(**values)


def likely_typos(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the variables of the environment whose names are almost a setting's, each with the setting.

    Such a variable may belong to another program, so it is no error.
    """
    return list(near_names(environ, fields(Settings)))


def settings_or_exit() -> Settings:
    """Return this process's settings, or print each error to standard error and exit with status 78."""
    try:
        return load_settings(os.environ, Path.cwd())
    except SettingsError as error:
        for each in error.errors:
            print(f"nodetill: {each}", file=sys.stderr)
        sys.exit(EX_CONFIG)


def _contradictions(values: Mapping[str, Any]) -> Iterator[SettingError]:
    """Yield an error for each pair of valid values that contradict each other."""
    listening = addresses.check_host(values["web_host"])
    if values["public_url"] is None and listening is not None and addresses.is_unspecified(listening):
        problem = f"is unset, and customers cannot open {values['web_host']}, which WEB_HOST is"
        yield SettingError(
            "PUBLIC_URL", problem, "the address that customers open", "https://pay.example.com"
        )
    if values["rate_max_age"] < values["rate_refresh"]:
        refresh = values["rate_refresh"]
        allowed = f"at least RATE_REFRESH, which is {refresh}, or no rate would last until the next"
        yield SettingError(
            "RATE_MAX_AGE", f"'{values['rate_max_age']}' is too short", allowed, str(10 * refresh)
        )
    if CUSTOM_SOURCE in values["rates"].names:
        yield from _errors_of_custom(values["rate_url_custom"], values["rate_path_custom"])


def _errors_of_custom(url: str | None, path: tuple[str, ...] | None) -> Iterator[SettingError]:
    problem = "is unset, and RATE_SOURCES has custom"
    if url is None:
        allowed = "the address of the source's prices"
        yield SettingError("RATE_URL_CUSTOM", problem, allowed, "https://rates.example.com/btc")
    if path is None:
        allowed = rate_rows.price_path().allowed
        yield SettingError("RATE_PATH_CUSTOM", problem, allowed, "data.{currency}.last")
    if url is not None and path is not None and not rate_rows.has_currency(url + ".".join(path)):
        allowed = "{currency} in RATE_PATH_CUSTOM or in RATE_URL_CUSTOM, for the code of a currency"
        yield SettingError("RATE_PATH_CUSTOM", "has no {currency}", allowed, "data.{currency}.last")


def _fill_in(values: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Set the values that follow from other settings."""
    if values["public_url"] is None:
        values["public_url"] = f"http://{addresses.netloc_of(values['web_host'], values['web_port'])}"
    if values["webhook_private_hosts"] is None:
        values["webhook_private_hosts"] = HostList()
    rpc_url = values["bitcoind_rpc_url"]
    # Another machine's bitcoind does not get this machine's cookie, unless the operator names the file.
    host = urlsplit(rpc_url.reveal()).hostname or ""
    if values["bitcoind_cookie_file"] is None and addresses.is_this_machine(host):
        values["bitcoind_cookie_file"] = _default_cookie(rpc_url, environ)


# Core's default RPC ports (chainparamsbase.cpp) and the directories of their chains.
_CHAIN_DIRECTORIES = {18332: "testnet3", 48332: "testnet4", 38332: "signet", 18443: "regtest"}


def _default_cookie(rpc_url: Secret, environ: Mapping[str, str]) -> Path:
    # Core's GetDefaultDataDir has the same rule: $HOME, or the root where $HOME is unset.
    home = Path(environ.get("HOME") or "/")
    data = home / ("Library/Application Support/Bitcoin" if sys.platform == "darwin" else ".bitcoin")
    port = urlsplit(_rpc_address(rpc_url)).port or 0
    return data / _CHAIN_DIRECTORIES.get(port, "") / ".cookie"


def _rpc_address(rpc_url: Secret) -> str:
    parts = urlsplit(rpc_url.reveal())
    # The default port of http:// is bitcoind's. An https:// address belongs to a web server before bitcoind.
    port = parts.port or (443 if parts.scheme == "https" else 8332)
    return f"{parts.scheme}://{addresses.netloc_of(parts.hostname or '', port)}"
