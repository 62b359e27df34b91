"""Connections to all machines but bitcoind and the database: direct, or by the proxy of PROXY."""

import errno
import ipaddress
import socket
from typing import Any

from config.addresses import is_this_machine
from config.proxy import NEEDS_PROXY, Proxy, is_onion
from daemon.net.addresses import IPAddress
from daemon.net.connection import MayConnect, open_connection
from daemon.net.errors import ForbiddenAddress, NeedsProxy
from daemon.net.socks import connect_by_proxy


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
    # No proxy can reach this machine, and what goes to it does not go out.
    if proxy is None or is_this_machine(host.lower().rstrip(".") if address is None else str(address)):
        return open_connection(host, port, timeout_seconds, may_connect)
    if may_connect is not None and not may_connect(host, address):
        raise ForbiddenAddress(errno.EACCES, "a private address")
    return connect_by_proxy(proxy, host, address, port, timeout_seconds)


def _ip_address(host: str) -> IPAddress | None:
    """Return the IP address that `host` is in any spelling, or None for a name. Use no name server."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return None
    text: Any = found[0][4][0]
    return ipaddress.ip_address(text)
