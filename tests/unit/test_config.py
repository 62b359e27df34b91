"""config/settings.py: the values of each setting, their sources, and the errors of wrong ones."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, fields
from decimal import Decimal
from pathlib import Path

import pytest

from config import (
    Maildir,
    Proxy,
    Secret,
    Settings,
    SettingsError,
    SmtpServer,
    likely_typos,
    load_settings,
    variable_name,
)

PROJECT = Path(__file__).resolve().parent.parent.parent


def load(directory: Path, **environ: str) -> Settings:
    return load_settings(environ, directory)


def faults_of(directory: Path, **environ: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_settings(environ, directory)
    return str(caught.value).splitlines()


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


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """An empty value counts as unset."""
    (tmp_path / ".env").write_text("CONFIRMATIONS=3\nWEB_PORT=9000\nexport LOG_FORMAT='json' # quoted\n")
    settings = load(tmp_path, CONFIRMATIONS="1", WEB_PORT="")
    assert (settings.confirmations, settings.web_port, settings.log_format) == (1, 9000, "json")


def test_the_operators_minimum_of_confirmations_holds_for_each_request(tmp_path: Path) -> None:
    """It raises the number of the request, and the default."""
    settings = load(tmp_path, CONFIRMATIONS="2", CONFIRMATIONS_MINIMUM="3")
    assert [settings.confirmations_for(asked) for asked in (None, 0, 3, 6)] == [3, 3, 3, 6]
    settings = load(tmp_path, CONFIRMATIONS="2")
    assert [settings.confirmations_for(asked) for asked in (None, 0, 6)] == [2, 0, 6]


def test_the_file_has_no_variable_references(tmp_path: Path) -> None:
    """A $ in a password has no meaning, and a byte order mark is no part of a name."""
    (tmp_path / ".env").write_text("OPERATOR_PASSWORD=a${HOME}$b\n", encoding="utf-8-sig")
    settings = load(tmp_path, HOME="/home/till")
    assert settings.operator_password == Secret("a${HOME}$b")


def test_a_setting_may_be_the_content_of_a_file(tmp_path: Path) -> None:
    """NAME_FILE names the file. The newline at its end is no part of the value."""
    (tmp_path / "password").write_text("open sesame\n")
    (tmp_path / ".env").write_text("OPERATOR_PASSWORD=from .env\n")
    settings = load(tmp_path, OPERATOR_PASSWORD_FILE=str(tmp_path / "password"))
    assert settings.operator_password == Secret("open sesame")


def test_a_value_and_its_file_together_are_refused(tmp_path: Path) -> None:
    """The intended one would be unclear."""
    (fault,) = faults_of(tmp_path, OPERATOR_PASSWORD="a", OPERATOR_PASSWORD_FILE="b")
    assert fault == "OPERATOR_PASSWORD: is set beside OPERATOR_PASSWORD_FILE; allowed: one of the two"


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff", b"two\nlines"])
def test_a_file_without_a_valid_value_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """It is missing, empty, no text, or longer than a line."""
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    (fault,) = faults_of(tmp_path, OPERATOR_PASSWORD_FILE=str(tmp_path / "secret"))
    assert fault.startswith("OPERATOR_PASSWORD")
    assert "two" not in fault


def test_a_misspelt_name_in_the_file_is_refused_with_the_right_one(tmp_path: Path) -> None:
    """Only Nodetill uses `.env`, but other programs use the environment."""
    (tmp_path / ".env").write_text("CONFIRMATION=3\nPOSTGRES_VERSION=18\nweb_port=1\n")
    assert faults_of(tmp_path) == [
        "CONFIRMATION: is not a setting; allowed: CONFIRMATIONS, if that is the meaning",
        "web_port: is not a setting; allowed: WEB_PORT, if that is the meaning",
    ]
    assert load(tmp_path / "elsewhere", CONFIRMATION="3").confirmations == 6


@pytest.mark.parametrize("content", [b"CONFIRMATIONS\n", b"WEB_PORT='1\n", b"\xff\xfe"])
def test_an_unreadable_env_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """A skipped line could have an important setting."""
    (tmp_path / ".env").write_bytes(content)
    assert faults_of(tmp_path)[0].startswith(".env: ")


def test_all_faults_are_listed_at_once_each_in_a_line(tmp_path: Path) -> None:
    """Each line names the variable, the fault and the allowed values."""
    assert faults_of(tmp_path, CONFIRMATIONS="145", WEB_PORT="80\n", LATE_PAYMENTS="maybe") == [
        (
            "WEB_PORT: '80\\n' has characters that can't be printed, such as the end of a line; "
            "allowed: a whole number from 1 to 65535; for example WEB_PORT=8080"
        ),
        (
            "CONFIRMATIONS: '145' is too large; "
            "allowed: a whole number from 0 to 144; for example CONFIRMATIONS=6"
        ),
        (
            "LATE_PAYMENTS: 'maybe' is none of the choices; "
            "allowed: review or accept; for example LATE_PAYMENTS=review"
        ),
    ]


WRONG = {
    "DATABASE_URL": [
        "postgresql://u:p@h:0/d",
        "postgresql://h:99999/d",
        "postgresql://u:p/w@h/d",
        "postgresql://h/d?nonsense=1",
        "postgresql://münchen.example/d",
        "postgresql://[fe80::1%25eth0]/d",
        "postgresql://h./d",
        "sqlite:///~/till.db",
        "sqlite:///till.db?mode=ro",
        "mysql://h/d",
        "sqlite://x.db",
        "sqlite:///",
        "sqlite:///:memory:",
        "postgresql://h",
        "x",
    ],
    "BITCOIND_RPC_URL": [
        "http://:p@h:8332",
        "http://@h:8332",
        "http://::1:8332",
        "http://[::1",
        "http://[fe80::1%eth0]:8332",
        "http://[fe80::1%25eth0]:8332",
        "http://münchen.example:8332",
        "http://h.:8332",
        "http://999.1.1.1:8332",
        "http://127.1:8332",
        "http://0x7f.1",
        "http:// h:8332",
        " http://h:8332",
        "http://h\\@x:8332",
        "unix:/run/rpc",
        "HTTP://h:8332",
        "127.0.0.1:8332",
        "ftp://h:1",
        "http://",
        "http://user@h:8332",
        "http://h:99999",
        "http://h:0",
        "http://u:p/w@h:8332",
        "http://u:p#w@h:8332",
        "http://h:8332/wallet/nodetill",
        "http://h h:1",
    ],
    "BITCOIND_COOKIE_FILE": ["~nobody-of-that-name/.cookie"],
    "BITCOIND_WALLET": ["a\x00b", "a\nb", "\udcff"],
    "BITCOIND_ZMQ_RAWTX": [
        "unix:",
        "unix:/",
        "unix:zmq",
        "ipc://zmq",
        "ipc:///",
        "unix://zmq",
        "unix:/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "tcp://::1:28332",
        "tcp://[fe80::1%eth0]:28332",
        "tcp://u@h:1",
        "tcp://@h:1",
        "tcp://h:",
        "tcp://h:1 ",
        "tcp://h;g:1",
        "tcp://münchen.example:1",
        "tcp://*:28332",
        "tcp://h",
        "h:28332",
        "tcp://h:28332/",
        "ipc://",
        "tcp://h:0",
        f"ipc:///{'x' * 120}",
    ],
    "BITCOIND_ZMQ_HASHBLOCK": ["udp://h:1", "AUTO", "off"],
    "BITCOIND_REST": ["on", "AUTO"],
    "ADDRESS_TYPE": ["p2wpkh"],
    "ADDRESS_POOL": ["0", "100001", "-1", "1e3", "٣", "1_000", " 5"],
    "WEB_HOST": [
        "unix:/run/till",
        "0",
        "*",
        "h.",
        "münchen.example",
        "fe80::1%eth0",
        "127.0.0.1 ",
        "1.2.3",
        "http://h",
        "h:80",
        "a b",
        "-h",
        "[::1]",
    ],
    "WEB_PORT": ["0", "65536"],
    "PUBLIC_URL": [
        "https://pay.example.com:0",
        "https://pay.example.com:99999",
        "https://u@h",
        "https://@h",
        "https://h/a//b",
        "https://h/../a",
        "https://h/ü",
        "https://h/a b",
        "https://h/%zz",
        "https://h?",
        "https://h#",
        "https://münchen.example",
        "https://h.",
        "http://0.0.0.0:8080",
        "http://[::]",
        "http://[::ffff:0.0.0.0]",
        "http://::1",
        "https://h/\\a",
        "pay.example.com",
        "http://",
        "https://h/?a=b",
        "https://h/#a",
        "https://u:p@h",
        "ftp://h",
    ],
    "CONFIRMATIONS": ["-1", "145", "6.0", "six", "9" * 400],
    "CONFIRMATIONS_MINIMUM": ["-1", "145", "none"],
    "PAYMENT_EXPIRY": ["0", "86401"],
    "MONITORING_PERIOD": ["-1"],
    "UNDERPAYMENT_TOLERANCE": ["-1", "50.1", "NaN", "1%", "1e1"],
    "LATE_PAYMENTS": ["yes"],
    "RATE_SOURCES": [
        "bitstamp",
        "kraken,kraken",
        "kraken,",
        "fixed:",
        "fixed:eur=1",
        "fixed:EUR=0",
        "fixed:EUR",
        "fixed:EUR=1,EUR=2",
        "fixed:EUR=-1",
        "fixed:EUR=1e5",
        "fixed:EUR=٣",
        "fixed:BTC=1",
        "fixed:EUR=Infinity",
    ],
    "RATE_URL_KRAKEN": [
        "https://u:p@h/",
        "https://h/#",
        "https://h/ü",
        "https://h:0/",
        "https://münchen.example/",
        "https://hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh",
        "kraken",
        "http://h h/",
    ],
    "RATE_URL_CUSTOM": [
        "rates.example",
        "https://h/{coin}",
        "https://h/{currency",
        "https://u:p@h/{currency}",
    ],
    "RATE_PATH_CUSTOM": [".last", "data..last", "last.", " last", "data.{coin}.last", "{", "last "],
    "RATE_CURRENCIES_CUSTOM": ["eur", "EUR,", "EUR,EUR", "BTC", "EURO", "XXX,QQQ", ",".join(["EUR"] * 30)],
    "RATE_HEADER_COINGECKO": [
        "key",
        ": value",
        "name:",
        "na me: value",
        "Host: h",
        "name: ü",
        "content-length: 5",
    ],
    "PROXY": [
        "127.0.0.1:9050",
        "socks5://127.0.0.1:9050",
        "socks4a://127.0.0.1:9050",
        "http://127.0.0.1:3128",
        "socks5h://",
        "socks5h://127.0.0.1",
        "socks5h://:9050",
        "socks5h://127.0.0.1:0",
        "socks5h://127.0.0.1:99999",
        "socks5h://127.1:9050",
        "socks5h://::1:9050",
        "socks5h://till@127.0.0.1:9050",
        "socks5h://:p@127.0.0.1:9050",
        "socks5h://till:@127.0.0.1:9050",
        f"socks5h://till:{'p' * 256}@127.0.0.1:9050",
        "socks5h://till:p w@127.0.0.1:9050",
        "socks5h://till:p/w@127.0.0.1:9050",
        "socks5h://127.0.0.1:9050/tor",
        "socks5h://127.0.0.1:9050?a",
        "socks5h://münchen.example:9050",
    ],
    "RATE_REFRESH": ["0"],
    "RATE_MAX_AGE": ["0", "59"],
    "RATE_SPREAD": ["100", "-0.1"],
    "SMTP_URL": [
        "smtp://:p@h",
        "smtp://u:pässwörd@h",
        "smtp://h:99999",
        "smtp://::1",
        "smtp://[fe80::1%eth0]",
        "smtp://münchen.example",
        "smtp://h.",
        "smtp://u:p w@h",
        "maildir://var/mail",
        "lmtp://h",
        "unix:/run/smtp",
        "h:25",
        "smtp://",
        "smtp://u@h",
        "smtp://h?starttls=no",
        "smtps://h?starttls=never",
        "maildir:",
        "smtp://h/path",
        "smtp://h:0",
    ],
    "MAIL_FROM": [
        "a@-h",
        "a@h-",
        "a@h.",
        "a@h..g",
        "a..b@h",
        ".a@h",
        "a.@h",
        "ä@h",
        "a@münchen.example",
        "a@1.2.3.4",
        "a@[127.0.0.1]",
        "a@xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.de",
        "a@b ",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@h",
        "till",
        "a@b@c",
        "a@b\r\nBcc: c@d",
        "Merchant <till@example.com>",
        "a b@c",
        "a@b,c@d",
    ],
    "OPERATOR_EMAIL": ["@", "a@"],
    "EXPLORER_URL": [
        "https://u:p@h/{txid}",
        "https://h:0/{txid}",
        "https://münchen.example/{txid}",
        "https://h/a b/{txid}",
        "https://h/ü/{txid}",
        "https://mempool.space/tx/",
        "https://h/{txid}{x}",
        "javascript:{txid}",
        "none",
        "OFF",
        "{txid}",
    ],
    "OPERATOR_PASSWORD": ["a\tb"],
    "WEBHOOK_PRIVATE_HOSTS": [
        "a,,b",
        "10.0.0.0/33",
        "10.0.0",
        "http://shop",
        "shop:80",
        "fd00::/8 10.0.0.0/8",
    ],
    "METRICS_TOKEN": ["a b", "ä", "a\tb"],
    "MAX_OPEN_REQUESTS": ["-1", "many"],
    "MAX_REQUESTS_PER_MINUTE": ["-1", "1e3"],
    "SPELLBOOK_TRIGGERS": ["1", "true"],
    "RECONCILE_INTERVAL": ["0", "-5"],
    "LOG_FORMAT": ["xml"],
    "LOG_LEVEL": ["INFO", "loud"],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in WRONG.items() for text in texts])
def test_a_wrong_value_is_reported_in_one_line_with_its_variable(
    tmp_path: Path, name: str, text: str
) -> None:
    """The line has the allowed values."""
    (fault,) = faults_of(tmp_path, **{name: text})
    assert fault.startswith(f"{name}: ")
    assert "; allowed: " in fault
    assert fault.isprintable()


@pytest.mark.parametrize("name", WRONG)
def test_the_example_of_a_right_value_is_accepted(tmp_path: Path, name: str) -> None:
    """The operator may copy it."""
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, **{name: WRONG[name][0]})
    (fault,) = caught.value.errors
    assert fault.example
    load(tmp_path, **{name: fault.example})


@pytest.mark.parametrize(
    ("name", "text", "advice"),
    [
        ("DATABASE_URL", "sqlite://till.db", "too few slashes"),
        ("DATABASE_URL", "postgres://h/d", "does not start with postgresql:// or sqlite:///"),
        ("BITCOIND_RPC_URL", "http://till:pass/word@h:8332", "/ as %2F"),
        ("BITCOIND_RPC_URL", "http://h:8332/wallet/nodetill", "BITCOIND_WALLET"),
        ("BITCOIND_ZMQ_RAWTX", "tcp://*:28332", "instead of the publisher's host"),
        ("BITCOIND_ZMQ_RAWTX", "unix:zmq", "does not begin with a slash"),
        ("BITCOIND_RPC_URL", "http://::1:8332", "write [::1]"),
        ("BITCOIND_RPC_URL", "http://[fe80::1%eth0]:8332", "write a host name, or an address without %"),
        ("BITCOIND_RPC_URL", "http://h.:8332", "leave the dot out"),
        ("BITCOIND_RPC_URL", "http://127.1:8332", "write four numbers"),
        ("PUBLIC_URL", "https://münchen.example", "its form that begins with xn--"),
        ("PUBLIC_URL", "http://0.0.0.0:8080", "customers cannot open"),
        ("MAIL_FROM", "a@münchen.example", "its form that begins with xn--"),
        ("RATE_URL_KRAKEN", "https://u:p@h/", "leave out all text before the @"),
        ("SMTP_URL", "maildir://var/mail", "write maildir:var/mail or maildir:/var/mail"),
        ("SMTP_URL", "smtp://u:p w@h", "%20"),
        ("CONFIRMATIONS", " 6", "a space before or after"),
        ("LOG_LEVEL", "INFO", "not in lower case"),
        ("UNDERPAYMENT_TOLERANCE", "1%", "without the % sign"),
        ("RATE_SOURCES", "kraken,", "an extra comma"),
        ("PROXY", "socks5://127.0.0.1:9050", "write socks5h://"),
        ("PROXY", "http://127.0.0.1:3128", "other kinds of proxies are not supported"),
        ("PROXY", "socks5h://127.0.0.1", "has no port"),
        ("PROXY", "socks5h://till@127.0.0.1:9050", "a user without a password"),
        ("RATE_PATH_CUSTOM", "data.{coin}.last", "{currency_lower} (eur)"),
        ("RATE_HEADER_YADIO", "Host: h", "a header that Nodetill sets itself"),
        ("RATE_SOURCES", "fixed:EUR", "without a price"),
        ("EXPLORER_URL", "https://mempool.space/tx/", "has no {txid}"),
        ("MAIL_FROM", "Merchant <till@example.com>", "without a name"),
    ],
)
def test_a_common_mistake_has_specific_advice(tmp_path: Path, name: str, text: str, advice: str) -> None:
    (fault,) = faults_of(tmp_path, **{name: text})
    assert advice in fault


def test_a_misspelt_variable_of_the_environment_is_found() -> None:
    """It may be another program's variable, so it is no error."""
    environ = {"BITCOIN_RPC_URL": "x", "WEB_PORT": "1", "WEB_PORT_FILE": "x", "PATH": "x", "SMTP_URI": "x"}
    assert likely_typos(environ) == [("BITCOIN_RPC_URL", "BITCOIND_RPC_URL"), ("SMTP_URI", "SMTP_URL")]


RIGHT = {
    "DATABASE_URL": [
        "sqlite:////srv/my till.db",
        "postgresql://u:p%40@[::1]:5432/d?sslmode=require",
        "postgresql:///d?host=/run/postgresql",
        "postgresql://%2Frun%2Fpostgresql/d",
        "postgresql://h1:5432,h2:5433/d",
        "postgresql://h:/d",
    ],
    "BITCOIND_RPC_URL": ["http://u:p@h:8332/", "https://node.example.com", "http://[::1]:8332"],
    "BITCOIND_ZMQ_RAWTX": [
        "unix:/run/zmq",
        "unix:@zmq",
        "ipc:///run/bitcoind/zmq",
        "tcp://[::1]:28332",
        "tcp://node.internal:1",
        "auto",
    ],
    "WEB_HOST": ["::1", "till_web", "localhost"],
    "PUBLIC_URL": ["https://example.com/pay", "https://h/a%20b/", "https://xn--mnchen-3ya.example"],
    "SMTP_URL": ["smtp://h:", "smtp://[::1]:25?starttls=never", "maildir:///srv/mail"],
    "EXPLORER_URL": ["https://h/#/tx/{txid}", "http://[::1]:3002/tx/{txid}", "off"],
    "RATE_URL_KRAKEN": ["http://[::1]:8080/x?y=%20"],
    "RATE_URL_CUSTOM": ["https://h/{currency}?x={currency_lower}", "http://127.0.0.1:8080/rates"],
    "RATE_PATH_CUSTOM": ["{currency}", "data.0.{currency_lower}.last price", "XBT{currency}.c.0"],
    "RATE_CURRENCIES_CUSTOM": ["CLP", "EUR, USD"],
    "RATE_HEADER_COINGECKO": ["x-cg-demo-api-key: CG-1", "Authorization: Bearer a:b", "a:b"],
    "PROXY": ["socks5h://u%40x:p%2Fw@[::1]:9050", "socks5h://tor:9050/", "socks5h://till:pässwörd@h:1"],
    "CONFIRMATIONS": ["0", "144"],
    "CONFIRMATIONS_MINIMUM": ["0", "144"],
    "WEBHOOK_PRIVATE_HOSTS": ["shop, 10.0.0.7,192.168.0.0/16", "fd00::/8,[::1]", "10.0.0.1/8", "my_shop."],
    "ADDRESS_POOL": ["1", "100000"],
    "UNDERPAYMENT_TOLERANCE": ["50", "0.5"],
    "RATE_SPREAD": ["99.99"],
    "RATE_SOURCES": ["kraken", "kraken, bitpay"],
    "MAIL_FROM": ["no-reply+till@pay.example.com"],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in RIGHT.items() for text in texts])
def test_a_right_value_is_accepted(tmp_path: Path, name: str, text: str) -> None:
    """Examples are the limits of each range, IPv6 and Unix sockets."""
    load(tmp_path, **{name: text})


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
    (found,) = faults_of(tmp_path, **environ)
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


@pytest.mark.parametrize("mode", [0o602, 0o620, 0o666, 0o660, 0o622])
def test_an_env_file_that_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    """Other users could redirect the money. The advised command works."""
    env_file = tmp_path / ".env"
    env_file.write_text("CONFIRMATIONS=3\nnonsense\n")
    env_file.chmod(mode)
    (fault,) = faults_of(tmp_path)
    assert ".env: can be written by other users" in fault
    assert f"chmod go-w {env_file}" in fault
    env_file.write_text("CONFIRMATIONS=3\n")
    env_file.chmod(mode & ~0o022)
    assert load(tmp_path).confirmations == 3


def test_the_mode_of_a_linked_env_file_is_checked(tmp_path: Path) -> None:
    """A link has no mode of its own."""
    target = tmp_path / "target"
    target.write_text("CONFIRMATIONS=3\n")
    target.chmod(0o646)
    (tmp_path / ".env").symlink_to(target)
    assert "can be written by other users" in faults_of(tmp_path)[0]


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
    (fault,) = faults_of(tmp_path, WEB_HOST=host)
    assert fault.startswith("PUBLIC_URL: is unset")
    assert load(tmp_path, WEB_HOST=host, PUBLIC_URL="https://h").public_url == "https://h"


@pytest.mark.parametrize("text", ["unix:/run/zmq", "unix:///run/zmq", "ipc:///run/zmq"])
def test_a_unix_socket_is_converted_to_libzmq_s_form(tmp_path: Path, text: str) -> None:
    """bitcoin.conf of Core 28 and later accepts only unix:, and libzmq only ipc://."""
    assert load(tmp_path, BITCOIND_ZMQ_RAWTX=text).bitcoind_zmq_rawtx == "ipc:///run/zmq"


SECRETS: Mapping[str, str] = {
    "DATABASE_URL": "postgresql://till:hunter2@db/till",
    "BITCOIND_RPC_URL": "http://till:hunter2@127.0.0.1:8332",
    "SMTP_URL": "smtp://till:hunter2@mail.example.com",
    "OPERATOR_PASSWORD": "hunter2",
    "PROXY": "socks5h://till:hunter2@127.0.0.1:9050",
    "RATE_HEADER_COINGECKO": "x-cg-demo-api-key: hunter2",
}


def test_no_secret_is_printed(tmp_path: Path) -> None:
    """This holds for repr, str and format, of the settings and of a secret."""
    settings = load(tmp_path, **SECRETS)
    assert settings.rpc_password is not None
    texts = [repr(settings), str(settings.rpc_password), f"{settings.database_url}", "%s" % settings.mail]  # noqa: UP031
    assert all("hunter2" not in text for text in texts)
    assert settings.rpc_password.reveal() == "hunter2"


@pytest.mark.parametrize("name", ["DATABASE_URL", "BITCOIND_RPC_URL", "SMTP_URL", "PROXY"])
@pytest.mark.parametrize(
    "mistake",
    ["\t{}", "x{}", "{}:[", "http://u:{}@h:x", "smtp://u:{}@", "postgresql://u:{}@h", "socks5h://u:{}@h"],
)
def test_no_error_shows_a_secret(tmp_path: Path, name: str, mistake: str) -> None:
    """No error has a part of a wrong value, and no traceback has one."""
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, **{name: mistake.format("hunter2")})
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


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
