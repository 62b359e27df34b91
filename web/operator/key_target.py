"""The address at which a shop gets its API key.

A browser must send the key to exactly the host that the operator has read. So Nodetill builds the address
from its checked parts, and refuses text that a browser could parse differently.
"""

import ipaddress
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urlsplit

from config.addresses import check_host, is_this_machine, netloc_of
from config.types import InvalidValue

MAX_CHARACTERS = 2048
_PORTS = {"https": 443, "http": 80}
# RFC 3986 allows these characters in a path, a query and a fragment. All others are percent-encoded.
_PATH = "/%:@!$&'()*+,;=~-._"
_QUERY = f"{_PATH}?"
_PRIVATE_NAMES = (
    ".local",
    ".lan",
    ".home",
    ".home.arpa",
    ".internal",
    ".intranet",
    ".localdomain",
    ".test",
    ".onion",
)


@dataclass(frozen=True, slots=True)
class KeyTarget:
    """An address of a shop. `host` includes an unusual port. `is_readable`: others can read the key."""

    url: str
    host: str
    source: str
    is_readable: bool


def read_key_target(text: str) -> KeyTarget:
    """Return the address. Raise ValueError with the fault and its cure."""
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"must have at most {MAX_CHARACTERS} characters")
    if not text.isprintable() or "\\" in text:
        raise ValueError("must have no control characters and no backslashes")
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        raise ValueError("has an invalid host or port") from None
    if parts.scheme not in _PORTS:
        raise ValueError("must be an http or https address, such as https://shop.example.com/connected")
    if "@" in parts.netloc:
        raise ValueError("must have no user and no password before its host")
    if port == 0:
        raise ValueError("must not have port 0, because no connection to it is possible")
    host = _host(parts)
    is_private = _is_private(host)
    if parts.scheme == "http" and not is_private:
        raise ValueError(f"must start with https://, because others on the way to {host} could read the key")
    netloc = netloc_of(host, None if port == _PORTS[parts.scheme] else port)
    url = f"{parts.scheme}://{netloc}{_rest(parts)}"
    is_safe = parts.scheme == "https" or is_this_machine(host) or host.endswith((".localhost", ".onion"))
    # A content security policy cannot name an IPv6 address (CSP level 3, host-source).
    source = f"{parts.scheme}:" if "[" in netloc else f"{parts.scheme}://{netloc}"
    return KeyTarget(url, netloc, source, not is_safe)


def _host(parts: SplitResult) -> str:
    """Return the host in ASCII and in lower case."""
    host = parts.hostname or ""
    try:
        ascii_host = host if host.isascii() else host.encode("idna").decode("ascii")
        check_host(ascii_host)
    except (InvalidValue, UnicodeError):
        raise ValueError("must have a host such as shop.example.com or 192.0.2.1") from None
    return ascii_host


def _rest(parts: SplitResult) -> str:
    query = f"?{quote(parts.query, safe=_QUERY)}" if parts.query else ""
    fragment = f"#{quote(parts.fragment, safe=_QUERY)}" if parts.fragment else ""
    return f"{quote(parts.path or '/', safe=_PATH)}{query}{fragment}"


def _is_private(host: str) -> bool:
    """Return whether the host is reached only from this machine, a local network or Tor."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith((".localhost", *_PRIVATE_NAMES))
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_private
