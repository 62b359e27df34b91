"""Validate redirect_url, the URL that the checkout page links to. A valid URL works in each browser."""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import quote, urlsplit

MAX_URL_CHARACTERS = 2048
_MAX_HOST_CHARACTERS = 253

_SCHEME = re.compile(r"https?://", re.IGNORECASE | re.ASCII)
# RFC 3986 allows these characters in a URL. Anything else is percent-encoded.
_URL_CHARACTERS = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")
_BROKEN_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_BRACKETED = re.compile(r"\[[^\[\]]+\](:[0-9]*)?")
_IPV6_ADVICE = "must have an IPv6 address between [ and ], such as https://[2001:db8::1]:8443/"
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")


def read_redirect_url(text: str) -> str:
    """Return the text if it is a valid http or https URL. Raise ValueError with the error and its cure."""
    if len(text) > MAX_URL_CHARACTERS:
        raise ValueError(f"must have at most {MAX_URL_CHARACTERS} characters")
    if not _SCHEME.match(text):
        raise ValueError("must be an http or https URL such as https://shop.example/thanks")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("has a host or port that cannot be read; write https://HOST:PORT/PATH") from None
    if "@" in parts.netloc:
        raise ValueError("must have no user and no password, because each customer would see them")
    if port == 0:
        raise ValueError("must not have port 0, because no connection to it is possible")
    _check_host(host, parts.netloc)
    _check_characters(text)
    return text


def _check_host(host: str, netloc: str) -> None:
    if "[" in netloc or "]" in netloc:
        _check_ipv6(host, netloc)
    elif not host.isascii() or "%" in host:
        raise ValueError(f"must have its host in ASCII{_punycode_advice(host)}")
    elif not _is_host_name(host):
        raise ValueError("must have a host such as shop.example, 192.0.2.1 or [2001:db8::1]")


def _check_ipv6(host: str, netloc: str) -> None:
    try:
        IPv6Address(host)
    except AddressValueError:
        raise ValueError(_IPV6_ADVICE) from None
    if not _BRACKETED.fullmatch(netloc):
        raise ValueError(_IPV6_ADVICE)
    if "%" in host:
        raise ValueError("must have an IPv6 address without a zone, because browsers refuse zones")


def _is_host_name(host: str) -> bool:
    """Return whether browsers accept the host. If its last label is a number, they parse it as IPv4."""
    labels = host.removesuffix(".").split(".")
    if len(host) > _MAX_HOST_CHARACTERS or not all(_LABEL.fullmatch(label) for label in labels):
        return False
    if not _NUMBER.fullmatch(labels[-1]):
        return True
    try:
        IPv4Address(host)
    except AddressValueError:
        return False
    return True


def _punycode_advice(host: str) -> str:
    if "%" in host or len(host) > _MAX_HOST_CHARACTERS:
        return ", as in a domain registry: xn--…"
    try:
        return f": write {host.encode('idna').decode('ascii')}"
    except UnicodeError:
        return ", as in a domain registry: xn--…"


def _check_characters(text: str) -> None:
    if not _URL_CHARACTERS.fullmatch(text):
        wrong = next(character for character in text if not _URL_CHARACTERS.fullmatch(character))
        raise ValueError(f"must be percent-encoded (RFC 3986): write {_encoded(wrong)} for {wrong!a}")
    if _BROKEN_PERCENT.search(text):
        raise ValueError("must have two hex digits after each %; write %25 for a percent sign")


def _encoded(character: str) -> str:
    return quote(character, safe="", errors="replace")
