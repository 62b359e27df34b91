"""The origin of a call: whether a program on this machine made it, and which client."""

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from config import Settings
from config.addresses import is_loopback
from web.http.client_network import MAX_ADDRESS_CHARACTERS
from web.http.request import Environ

# Headers that proxies add. A plain TCP forwarder adds none, so their absence proves nothing.
_PROXY_HEADER = re.compile(
    r"HTTP_(FORWARDED|FORWARDED_\w+|X_FORWARDED|X_FORWARDED_\w+|X_REAL_IP|X_CLIENT_IP|X_CLUSTER_CLIENT_IP"
    r"|X_ORIGINAL_\w+|X_ENVOY_\w+|X_PROXY\w*|TRUE_CLIENT_IP|CLIENT_IP|CF_\w+|FASTLY_\w+|VIA)"
)


def is_from_this_machine(environ: Environ, settings: Settings) -> bool:
    """Return True only for a program on this machine that called by itself.

    If PUBLIC_URL names another host, no call counts as local. A plain TCP forwarder connects from loopback,
    and its client chooses every header. The other checks can only refuse more.
    """
    return (
        _is_loopback_host(urlsplit(settings.public_url).hostname or "")
        and is_loopback(environ.get("REMOTE_ADDR", ""))
        and not any(_PROXY_HEADER.fullmatch(name) for name in environ)
        # A browser on this machine may call on behalf of a foreign page.
        and "HTTP_ORIGIN" not in environ
        and _is_called_by_local_name(environ)
    )


def client_address(environ: Environ) -> str:
    """Return the peer's address, or the address that a proxy on this machine reports.

    The proxy appends the address of its client, so only the last address is trustworthy.
    """
    peer: str = environ.get("REMOTE_ADDR", "")
    if not is_loopback(peer):
        return peer
    return _last_hop(environ.get("HTTP_X_FORWARDED_FOR", "")) or peer


def is_reported_by_front(environ: Environ) -> bool:
    """Return whether `client_address` comes from a header."""
    peer: str = environ.get("REMOTE_ADDR", "")
    return client_address(environ) != peer


def _last_hop(forwarded_for: str) -> str | None:
    """Return the last address of X-Forwarded-For, or None if its last part is no address."""
    hop = forwarded_for.rpartition(",")[2].strip().strip('"')
    if len(hop) > MAX_ADDRESS_CHARACTERS:
        return None
    host = hop.partition("]")[0].removeprefix("[")
    if host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        return str(ip_address(host.partition("%")[0]))
    except ValueError:
        return None


def _is_called_by_local_name(environ: Environ) -> bool:
    try:
        name = urlsplit(f"//{environ.get('HTTP_HOST', '')}").hostname or "localhost"
    except ValueError:
        return False
    return _is_loopback_host(name)


def _is_loopback_host(name: str) -> bool:
    return name == "localhost" or name.endswith(".localhost") or is_loopback(name)
