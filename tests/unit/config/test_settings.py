"""config/settings.py: the defaults, settings that depend on others, and the values for the program."""

import os
import subprocess
import sys
from dataclasses import FrozenInstanceError, fields
from decimal import Decimal
from pathlib import Path

import pytest

from config import Maildir, Proxy, Secret, Settings, SmtpServer, variable_name
from regtest.node import PROJECT
from tests.support.settings import errors_of, load


def test_each_setting_has_a_default(tmp_path: Path) -> None:
    """The defaults are those of docs/spec.md 2."""
    settings = load(tmp_path, HOME="/home/till")
    assert settings.database_url.reveal() == "sqlite:///var/nodetill.db"
    assert settings.rpc_url_without_credentials == "http://127.0.0.1:8332"
    assert settings.bitcoind_cookie_file == Path("/home/till/.bitcoin/.cookie")
    assert (settings.bitcoind_wallet, settings.bitcoind_rest) == ("nodetill", "auto")
    assert settings.bitcoind_zmq_rawtx is settings.bitcoind_zmq_hashblock is None
    assert (settings.address_type, settings.address_pool) == ("bech32", 500)
    assert settings.public_url == "http://127.0.0.1:8080"
    assert (settings.confirmations, settings.confirmations_minimum, settings.payment_expiry) == (6, 0, 900)
    assert (settings.monitoring_period, settings.late_payments) == (604_800, "review")
    assert settings.underpayment_tolerance == settings.rate_spread == Decimal(0)
    assert settings.rate_sources == ("coinbase", "kraken", "bitpay", "mempool", "yadio")
    assert settings.fixed_rates == {}
    assert settings.rate_urls["bitpay"] == "https://bitpay.com/rates"
    assert settings.rate_urls["mempool"] == "https://mempool.space/api/v1/prices"
    assert settings.rate_urls["yadio"] == "https://api.yadio.io/exrates/BTC"
    assert settings.rate_headers == {}
    assert settings.proxy is None
    assert (settings.rate_refresh, settings.rate_max_age) == (60, 600)
    assert settings.mail == Maildir(Path("var/mail"))
    assert settings.operator_password is None
    assert settings.explorer_url is None
    assert settings.spellbook_triggers is False
    assert (settings.reconcile_interval, settings.log_format, settings.log_level) == (60, "logfmt", "info")


def test_settings_are_frozen(tmp_path: Path) -> None:
    """They are read once, and hold until the process ends."""
    with pytest.raises(FrozenInstanceError):
        load(tmp_path).confirmations = 0  # type: ignore[misc]


def test_env_example_has_each_setting_with_its_default_and_meaning() -> None:
    """`.env.example` and config/settings.py have the same texts in the same order."""
    lines = (PROJECT / ".env.example").read_text(encoding="utf-8").split("\n\n")[1:]
    assert [entry.strip() for entry in lines] == [
        f"# {row.metadata['meaning']}\n#{variable_name(row)}={row.metadata['default']}"
        for row in fields(Settings)
    ]


def test_env_example_without_comment_marks_gives_the_defaults(tmp_path: Path) -> None:
    example = (PROJECT / ".env.example").read_text(encoding="utf-8").split("\n\n", 1)[1]
    lines = [line[1:] for line in example.splitlines() if line[:1] == "#" and line[1] != " "]
    (tmp_path / ".env").write_text("\n".join(lines))
    assert load(tmp_path) == load(PROJECT / "tests")


def test_the_operators_minimum_of_confirmations_holds_for_each_request(tmp_path: Path) -> None:
    """It raises the number of the request, and the default."""
    settings = load(tmp_path, CONFIRMATIONS="2", CONFIRMATIONS_MINIMUM="3")
    assert [settings.confirmations_for(asked) for asked in (None, 0, 3, 6)] == [3, 3, 3, 6]
    settings = load(tmp_path, CONFIRMATIONS="2")
    assert [settings.confirmations_for(asked) for asked in (None, 0, 6)] == [2, 0, 6]


def test_the_links_to_an_explorer_can_be_off(tmp_path: Path) -> None:
    """An empty value counts as unset, so off has a word of its own."""
    assert load(tmp_path, EXPLORER_URL="off").explorer_url == ""
    assert load(tmp_path, EXPLORER_URL="").explorer_url is None


def test_fixed_rates_replace_the_sources(tmp_path: Path) -> None:
    """They are for shops with their own price, and for tests."""
    settings = load(tmp_path, RATE_SOURCES="fixed:EUR=50000,USD=54000.25")
    assert settings.rate_sources == ("fixed",)
    assert settings.fixed_rates == {"EUR": Decimal(50000), "USD": Decimal("54000.25")}


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://h", SmtpServer("h", 587, None, None, "starttls")),
        ("smtp://u:p%40ss@h:2525", SmtpServer("h", 2525, "u", Secret("p@ss"), "starttls")),
        ("smtp://127.0.0.1:1025?starttls=never", SmtpServer("127.0.0.1", 1025, None, None, "none")),
        ("smtps://u:p@[::1]", SmtpServer("::1", 465, "u", Secret("p"), "tls")),
        ("maildir:/srv/mail", Maildir(Path("/srv/mail"))),
    ],
)
def test_smtp_url_names_a_server_or_a_directory(
    tmp_path: Path, url: str, server: SmtpServer | Maildir
) -> None:
    """TLS is required unless it is explicitly disabled."""
    assert load(tmp_path, SMTP_URL=url).mail == server


def test_the_credentials_of_the_proxy_are_percent_decoded(tmp_path: Path) -> None:
    proxy = load(tmp_path, PROXY="socks5h://u%40x:p%2Fw@[::1]:9050").proxy
    assert proxy == Proxy("::1", 9050, "u@x", Secret("p/w"))
    assert "p/w" not in repr(proxy)


@pytest.mark.parametrize(
    ("environ", "fault"),
    [
        (
            {"RATE_SOURCES": "custom", "RATE_PATH_CUSTOM": "{currency}"},
            "RATE_URL_CUSTOM: is unset, and RATE_SOURCES has custom",
        ),
        (
            {"RATE_SOURCES": "custom", "RATE_URL_CUSTOM": "https://h/{currency}"},
            "RATE_PATH_CUSTOM: is unset, and RATE_SOURCES has custom",
        ),
        (
            {"RATE_SOURCES": "custom", "RATE_URL_CUSTOM": "https://h/", "RATE_PATH_CUSTOM": "last"},
            "RATE_PATH_CUSTOM: has no {currency}",
        ),
    ],
)
def test_settings_that_need_another_are_refused(tmp_path: Path, environ: dict[str, str], fault: str) -> None:
    """A source that is not used needs nothing."""
    (found,) = errors_of(tmp_path, **environ)
    assert found.startswith(fault)
    load(tmp_path, **{**environ, "RATE_SOURCES": "kraken"})


def test_the_rpc_credentials_are_percent_decoded(tmp_path: Path) -> None:
    """python-bitcoinrpc does not decode them, so a password with a slash would not work."""
    settings = load(tmp_path, BITCOIND_RPC_URL="http://till:a%2Fb%40c@node:18443")
    assert settings.rpc_username == "till"
    assert settings.rpc_password == Secret("a/b@c")
    assert settings.rpc_url_without_credentials == "http://node:18443"


@pytest.mark.parametrize(
    ("url", "address"),
    [("http://h", "http://h:8332"), ("https://h/", "https://h:443"), ("http://[::1]", "http://[::1]:8332")],
)
def test_the_rpc_address_always_has_a_port(tmp_path: Path, url: str, address: str) -> None:
    """The default is bitcoind's port, because python-bitcoinrpc's default is 80."""
    assert load(tmp_path, BITCOIND_RPC_URL=url).rpc_url_without_credentials == address


@pytest.mark.parametrize(
    ("port", "directory"),
    [(8332, ""), (18332, "testnet3"), (48332, "testnet4"), (38332, "signet"), (18443, "regtest"), (9999, "")],
)
def test_the_default_cookie_file_depends_on_the_chain(tmp_path: Path, port: int, directory: str) -> None:
    """The RPC port identifies the chain."""
    settings = load(tmp_path, HOME="/home/till", BITCOIND_RPC_URL=f"http://127.0.0.1:{port}")
    assert settings.bitcoind_cookie_file == Path("/home/till/.bitcoin") / directory / ".cookie"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "[::1]", "localhost", "LOCALHOST"])
def test_a_node_on_this_machine_gets_the_default_cookie(tmp_path: Path, host: str) -> None:
    settings = load(tmp_path, HOME="/home/till", BITCOIND_RPC_URL=f"http://{host}:8332")
    assert settings.bitcoind_cookie_file == Path("/home/till/.bitcoin/.cookie")


@pytest.mark.parametrize(
    "host", ["192.0.2.1", "[2001:db8::1]", "node.example.com", "127.0.0.1.example.com", "localhost.evil"]
)
def test_another_machine_gets_only_a_named_cookie(tmp_path: Path, host: str) -> None:
    """bitcoind's cookie allows to spend."""
    url = f"http://{host}:8332"
    assert load(tmp_path, HOME="/home/till", BITCOIND_RPC_URL=url).bitcoind_cookie_file is None
    named = load(tmp_path, BITCOIND_RPC_URL=url, BITCOIND_COOKIE_FILE="/run/bitcoind/cookie")
    assert named.bitcoind_cookie_file == Path("/run/bitcoind/cookie")


def test_public_url_defaults_to_the_web_servers_address(tmp_path: Path) -> None:
    """An IPv6 address gets brackets, and a slash at the end is removed."""
    assert load(tmp_path, WEB_HOST="::1", WEB_PORT="81").public_url == "http://[::1]:81"
    assert load(tmp_path, PUBLIC_URL="https://pay.example.com/").public_url == "https://pay.example.com"


def test_public_url_is_normalised_as_in_browsers(tmp_path: Path) -> None:
    """Browsers compare with it, and write no default port and no capital letters."""
    assert (
        load(tmp_path, PUBLIC_URL="https://Pay.Example.com:443/Merchant/").public_url
        == "https://pay.example.com/Merchant"
    )
    assert load(tmp_path, PUBLIC_URL="http://[::1]:8080").public_url == "http://[::1]:8080"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "0:0::0", "::ffff:0.0.0.0"])
def test_a_wildcard_web_host_requires_public_url(tmp_path: Path, host: str) -> None:
    """PUBLIC_URL names the address that customers open."""
    (fault,) = errors_of(tmp_path, WEB_HOST=host)
    assert fault.startswith("PUBLIC_URL: is unset")
    assert load(tmp_path, WEB_HOST=host, PUBLIC_URL="https://h").public_url == "https://h"


@pytest.mark.parametrize("text", ["unix:/run/zmq", "unix:///run/zmq", "ipc:///run/zmq"])
def test_a_unix_socket_is_converted_to_libzmq_s_form(tmp_path: Path, text: str) -> None:
    """bitcoin.conf of Core 28 and later accepts only unix:, and libzmq only ipc://."""
    assert load(tmp_path, BITCOIND_ZMQ_RAWTX=text).bitcoind_zmq_rawtx == "ipc:///run/zmq"


def test_a_wrong_setting_stops_the_start(tmp_path: Path) -> None:
    """Standard error has one line, and the exit status is 78 (EX_CONFIG)."""
    done = subprocess.run(
        [sys.executable, "-c", "import config; config.settings_or_exit()"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(PROJECT), "PATH": os.defpath, "CONFIRMATIONS": "many"},
        capture_output=True,
        text=True,
        check=False,
    )
    message = (
        "nodetill: CONFIRMATIONS: 'many' is not a whole number; "
        "allowed: a whole number from 0 to 144; for example CONFIRMATIONS=6\n"
    )
    assert (done.returncode, done.stderr, done.stdout) == (78, message, "")
