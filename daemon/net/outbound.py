"""Connections to all machines but bitcoind and the database: direct, or by the proxy of PROXY."""

import errno
import ipaddress
import socket
from typing import Any

from config.proxy import NEEDS_PROXY, Proxy, is_onion
from daemon.net.addresses import IPAddress, without_mapping
from daemon.net.connection import MayConnect, open_connection
from daemon.net.errors import ForbiddenAddress, NeedsProxy
from daemon.net.socks import connect_by_proxy

THIS_MACHINE = "localhost"


def open_outbound(
    host: str,
    port: int,
    timeout_seconds: float,
    proxy: Proxy | None,
    may_connect: MayConnect | None = None,
) -> socket.socket:
    """Return a connection to `host`, within `timeout_seconds`. The socket keeps the timeout that is left.

    With a proxy, this machine looks up no name, and connects only to the proxy and to itself. Raise OSError,
    or ForbiddenAddress if `may_connect` does not allow the host.
    """
    address = _ip_address(host)
    if proxy is None and is_onion(host):
        raise NeedsProxy(errno.EHOSTUNREACH, f"the address {NEEDS_PROXY}")
    if proxy is None or _is_this_machine(host, address):
        return open_connection(host, port, timeout_seconds, may_connect)
    if may_connect is not None and not may_connect(host, address):
        raise ForbiddenAddress(errno.EACCES, "a private address")
    return connect_by_proxy(proxy, host, address, port, timeout_seconds)


def _is_this_machine(host: str, address: IPAddress | None) -> bool:
    """Return whether the host is loopback, which no proxy can reach, and which sends nothing out."""
    if address is None:
        return host.lower().rstrip(".") == THIS_MACHINE
    return without_mapping(address).is_loopback


def _ip_address(host: str) -> IPAddress | None:
    """Return the IP address that `host` is in any spelling, or None for a name. Ask no name server."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return None
    text: Any = found[0][4][0]
    return ipaddress.ip_address(text)
