"""The types of settings that hold an address of a host, a mailbox, a socket, a server or a web page.

A reader accepts only an address that Nodetill can connect to or link to without a change. The error has the
right form. An error never quotes the text, because the text may hold a password.
"""

import ipaddress
import re
from collections.abc import Mapping
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from config.types import InvalidValue, Maildir, Secret, SettingType, SmtpServer, path_from

MAX_SOCKET_PATH_BYTES = 100
"""unix(7) allows a few more."""
MAX_HOST_CHARACTERS = 253
MAX_URL_CHARACTERS = 2048

ENCODE = "a special character that is not percent-encoded (@ as %40, / as %2F, : as %3A, # as %23, % as %25)"
_BRACKETS = "an IPv6 address without brackets (write [::1])"
_PUNYCODE = "write its form that begins with xn--, such as xn--bcher-kva.example for bücher.example"
_DEFAULT_PORTS = {"http": 80, "https": 443}

_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
# RFC 5321's dot-string and domain, which are valid in every email header.
_MAILBOX = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_MAIL_DOMAIN = re.compile(
    r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*"
)
_PATH = re.compile(r"(/(?!\.{1,2}(/|$))([A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+)*/?")


def host_name() -> SettingType[str]:
    """Return the type of a host of this machine to listen on."""

    def read(text: str) -> str:
        if text.startswith("["):
            raise InvalidValue("has brackets, which belong to an address with a port")
        check_host(text)
        return text

    return SettingType(read, "a host name or an IP address of this machine, without a port or brackets")


def email_address() -> SettingType[str]:
    def read(text: str) -> str:
        mailbox, at, domain = text.rpartition("@")
        if not domain.isascii():
            raise InvalidValue(f"has a domain that is not ASCII: {_PUNYCODE}")
        is_mailbox = len(mailbox) <= 64 and _MAILBOX.fullmatch(mailbox)
        if not (at and is_mailbox and _MAIL_DOMAIN.fullmatch(domain)) or len(text) > 254:
            raise InvalidValue("is not an email address")
        if check_host(domain) is not None:
            raise InvalidValue("has an IP address for a domain")
        return text

    return SettingType(read, "one email address in ASCII, without a name", "till@example.com")


def support_contact() -> SettingType[str]:
    """Return the type of an address that a page links to, so that customers can write to the shop."""
    mailbox = email_address()

    def read(text: str) -> str:
        if "://" not in text:
            return mailbox.read(text)
        _web_address(text)
        return text

    allowed = "one email address in ASCII, or an address that starts with http:// or https://"
    return SettingType(read, allowed, "help@shop.example")


def database_url() -> SettingType[Secret]:
    def read(text: str) -> Secret:
        if text.startswith("sqlite:"):
            _check_sqlite(text)
        else:
            _check_postgresql(text)
        return Secret(text)

    return SettingType(read, "sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME")


def rpc_url() -> SettingType[Secret]:
    def read(text: str) -> Secret:
        parts = split_address(text, "http", "https")
        if parts.path.strip("/") or parts.query or parts.fragment:
            raise InvalidValue("has something after the port (BITCOIND_WALLET is the setting for the wallet)")
        username, _ = _checked_credentials(parts)
        if ":" in (username or ""):
            raise InvalidValue("has a colon in the user's name, which bitcoind does not allow")
        return Secret(text)

    allowed = "http://HOST:PORT or http://USER:PASSWORD@HOST:PORT"
    return SettingType(read, allowed, "http://nodetill:PASSWORD@127.0.0.1:8332")


def zmq_address() -> SettingType[str | None]:
    """Return the type of bitcoind's feed. bitcoin.conf writes unix:/path for libzmq's ipc:///path.

    The value is None for the word auto, with which bitcoind names the address itself.
    """

    def read(text: str) -> str | None:
        if text == "auto":
            return None
        if text.startswith(("ipc:", "unix:")):
            return _socket_address(text)
        if text.startswith("tcp://*"):
            raise InvalidValue("has a * instead of the publisher's host")
        parts = split_address(text, "tcp", others=("unix:/", "ipc:///"))
        if parts.port is None:
            raise InvalidValue("has no port")
        if parts.path or parts.query or parts.fragment or "@" in parts.netloc:
            raise InvalidValue("has more than a host and a port")
        return text

    allowed = "tcp://HOST:PORT, unix:/PATH or ipc:///PATH, as bitcoin.conf has it, or auto"
    return SettingType(read, allowed, "tcp://127.0.0.1:28332")


def http_url() -> SettingType[str]:
    """Return the type of an address to which Nodetill sends requests as it stands."""

    def read(text: str) -> str:
        parts = _web_address(text)
        if parts.fragment or text.endswith("#"):
            raise InvalidValue(
                "has a #, and no client sends the text after it: leave the # out, or write it as %23"
            )
        return text

    return SettingType(
        read, "an address that starts with http:// or https://", "https://rates.example.com/btc"
    )


def base_url() -> SettingType[str]:
    """Return the type of an address that paths are added to. The value has no slash at its end."""

    def read(text: str) -> str:
        parts = _web_address(text)
        if "?" in text or "#" in text:
            raise InvalidValue("has more than a host, a port and a path")
        if not _PATH.fullmatch(parts.path):
            raise InvalidValue(
                "has a path with an empty part, a part of dots, or a character that must be encoded"
            )
        host = check_host(parts.hostname or "")
        if host is not None and is_unspecified(host):
            raise InvalidValue("has an address that only a server can use, and that customers cannot open")
        # The address has the form of browsers, because the web server compares it with browsers' headers.
        netloc = netloc_of(parts.hostname or "", _port_to_show(parts))
        return f"{parts.scheme}://{netloc}{parts.path.rstrip('/')}"

    allowed = "http://HOST:PORT or https://HOST, with a path if there is one"
    return SettingType(read, allowed, "https://pay.example.com")


def explorer_url() -> SettingType[str]:
    """Return the type of a link to a transaction. The value is "" for the word off, which means no links."""

    def read(text: str) -> str:
        if text == "off":
            return ""
        _web_address(text.replace("{txid}", "0"))
        if "{txid}" not in text:
            raise InvalidValue("has no {txid}")
        if re.search(r"[{}]", text.replace("{txid}", "")):
            raise InvalidValue("has braces beside those of {txid}")
        return text

    allowed = (
        "an http:// or https:// address with {txid} where the transaction's id goes, or off for no links"
    )
    return SettingType(read, allowed, "https://mempool.space/tx/{txid}")


def mail_url() -> SettingType[SmtpServer | Maildir]:
    def read(text: str) -> SmtpServer | Maildir:
        if not text.startswith("maildir:"):
            return _smtp_server(split_address(text, "smtp", "smtps", others=("maildir:",)))
        path = text.removeprefix("maildir:")
        if not path.strip("/"):
            raise InvalidValue("names no directory")
        if re.match("//[^/]", path):
            raise InvalidValue("has two slashes: write maildir:var/mail or maildir:/var/mail")
        return Maildir(path_from(path))

    allowed = (
        "smtp://USER:PASSWORD@HOST:PORT (and ?starttls=never after it for no TLS), "
        "smtps://USER:PASSWORD@HOST:PORT, or maildir:PATH"
    )
    return SettingType(read, allowed, "smtp://till:PASSWORD@mail.example.com:587")


def check_host(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the IP address that `host` is, or None for a name. Raise InvalidValue where it is neither."""
    if not host:
        raise InvalidValue(f"has no host, {_BRACKETS}, or {ENCODE}")
    if not host.isascii():
        raise InvalidValue(f"has a host that is not ASCII: {_PUNYCODE}")
    if ":" in host and "%" in host:
        raise InvalidValue("has an IPv6 address with a zone: write a host name, or an address without %")
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    if host.endswith("."):
        raise InvalidValue("has a host with a dot at its end: leave the dot out")
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        raise InvalidValue("has a host that is no IPv4 address: write four numbers up to 255")
    if len(host) > MAX_HOST_CHARACTERS or not _HOST_NAME.fullmatch(host):
        raise InvalidValue(f"is neither a host name nor an IP address, or has {ENCODE}")
    return None


def is_ip_address(host: str) -> bool:
    """Return whether this is an IP address and not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(address: str) -> bool:
    """Return whether this is the text of a loopback address, IPv4 inside IPv6 included."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback


def is_this_machine(host: str) -> bool:
    """Return whether this is localhost or a loopback address."""
    return host == "localhost" or is_loopback(host)


def is_unspecified(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Return whether this is 0.0.0.0 or ::, on which a server can listen but to which no client connects."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address.is_unspecified or (mapped is not None and mapped.is_unspecified)


def is_unspecified_host(host: str) -> bool:
    """Return whether this is the text of 0.0.0.0 or ::, see `is_unspecified`."""
    return is_ip_address(host) and is_unspecified(ipaddress.ip_address(host))


def netloc_of(host: str, port: int | None) -> str:
    """Return host and port as an address has them, an IPv6 address in brackets."""
    name = f"[{host}]" if ":" in host else host
    return name if port is None else f"{name}:{port}"


def credentials(parts: SplitResult) -> tuple[str | None, str | None]:
    """Return the user and the password of an address, percent-decoded. None stands for a missing one."""
    username = None if parts.username is None else unquote(parts.username)
    password = None if parts.password is None else unquote(parts.password)
    return username, password


def without_credentials(url: str) -> str:
    """Return the address with *** in the place of its user and password."""
    start, separator, rest = url.partition("://")
    netloc, slash, path = rest.partition("/")
    _, at, host = netloc.rpartition("@")
    return f"{start}{separator}***@{host}{slash}{path}" if at else url


def split_address(text: str, *schemes: str, others: tuple[str, ...] = ()) -> SplitResult:
    """Return the parts of an address. Raise InvalidValue for a wrong scheme, host or port.

    `others` are beginnings that the setting also allows.
    """
    beginnings = [f"{scheme}://" for scheme in schemes]
    if not text.startswith(tuple(beginnings)):
        raise InvalidValue(f"does not start with {' or '.join([*beginnings, *others])}")
    if " " in text or "\\" in text:
        raise InvalidValue("has a space or a backslash in it (write them as %20 and %5C)")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        # The exception's message has the text in it, and the text may hold a password.
        raise InvalidValue(f"has an invalid port, {_BRACKETS}, or {ENCODE}") from None
    check_host(parts.hostname or "")
    if port == 0:
        raise InvalidValue("has port 0, to which no client can connect")
    return parts


def _web_address(text: str) -> SplitResult:
    parts = split_address(text, "http", "https")
    if "@" in parts.netloc:
        raise InvalidValue(
            "has a user or a password, which Nodetill never sends: leave out all text before the @"
        )
    if not text.isascii():
        raise InvalidValue("has characters that must be percent-encoded (ü as %C3%BC)")
    if len(text) > MAX_URL_CHARACTERS:
        raise InvalidValue("is too long")
    return parts


def _port_to_show(parts: SplitResult) -> int | None:
    return None if parts.port == _DEFAULT_PORTS[parts.scheme] else parts.port


def _socket_address(text: str) -> str:
    scheme, _, path = text.partition(":")
    if scheme == "ipc" or path.startswith("//"):
        path = path.removeprefix("//")
    if not path or path == "/":
        raise InvalidValue("names no path")
    if not path.startswith(("/", "@")):
        raise InvalidValue("has a path that does not begin with a slash")
    if len(path.encode()) > MAX_SOCKET_PATH_BYTES:
        raise InvalidValue("has a path that is too long for a socket")
    return f"ipc://{path}"


def _check_sqlite(text: str) -> None:
    path = text.removeprefix("sqlite:///")
    if path == text:
        raise InvalidValue("has too few slashes: sqlite:///till.db is in the directory where Nodetill runs")
    if path.strip("/") in ("", ":memory:"):
        raise InvalidValue("names no file")
    if path.startswith("~"):
        raise InvalidValue("has a ~, which does not stand for your home directory here: write the whole path")
    if "?" in path:
        raise InvalidValue("has a ?, and SQLite takes no options here: leave it out")


def _check_postgresql(text: str) -> None:
    """Check the address as libpq reads it. libpq allows several hosts, a socket's directory, and options."""
    if not text.startswith("postgresql://"):
        raise InvalidValue("does not start with postgresql:// or sqlite:///")
    try:
        values: Mapping[str, str] = {name: str(value) for name, value in conninfo_to_dict(text).items()}
    except ProgrammingError:
        # The exception's message has the text in it, and the text may hold a password.
        raise InvalidValue(f"has an option that PostgreSQL does not have, {_BRACKETS}, or {ENCODE}") from None
    for host in values.get("host", "").split(","):
        if host and not host.startswith(("/", "@")):
            check_host(host)
    for port in values.get("port", "").split(","):
        if port and not (re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) < 65_536):
            raise InvalidValue(f"has an invalid port, or {ENCODE}")
    if not values.get("dbname"):
        raise InvalidValue("names no database")
    if re.search("[/#]", values["dbname"]):
        raise InvalidValue("has text after the name of the database")


def _checked_credentials(parts: SplitResult) -> tuple[str | None, str | None]:
    username, password = credentials(parts)
    if (username is None) != (password is None):
        raise InvalidValue("has a user without a password")
    if username == "":
        raise InvalidValue("has a password without a user")
    return username, password


def _smtp_server(parts: SplitResult) -> SmtpServer:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.path.strip("/") or parts.fragment:
        raise InvalidValue("has something after the port")
    if options not in ({}, {"starttls": "never"}) or (options and parts.scheme == "smtps"):
        raise InvalidValue("has an unknown option")
    security: Literal["starttls", "tls", "none"] = "starttls"
    if parts.scheme == "smtps":
        security = "tls"
    elif options:
        security = "none"
    username, password = _checked_credentials(parts)
    if not f"{username}{password}".isascii():
        raise InvalidValue("has a user or a password that is not ASCII, which mail servers do not accept")
    port = parts.port or {"starttls": 587, "tls": 465, "none": 25}[security]
    secret = None if password is None else Secret(password)
    return SmtpServer(parts.hostname or "", port, username, secret, security)
