"""Connections through a SOCKS5 proxy (RFC 1928), with a login (RFC 1929) if PROXY has one.

docs/decisions/0024 explains why this is no library.
"""

import errno
import os
import time
from socket import socket

from config.proxy import Proxy
from daemon.net.addresses import IPAddress
from daemon.net.connection import open_connection
from daemon.net.errors import ProxyError, ProxyUnusable, explain

VERSION = b"\x05"
NO_LOGIN, LOGIN, NONE_ACCEPTABLE = 0x00, 0x02, 0xFF
CONNECT = b"\x01"
IPV4, NAME, IPV6 = 0x01, 0x03, 0x04
LOGIN_VERSION = b"\x01"
MAX_NAME_BYTES = 255

_REFUSALS = {
    0x01: "the proxy reports a general failure",
    0x02: "the proxy does not allow this address",
    0x03: "the proxy cannot reach that network",
    0x04: "the proxy cannot reach the host, or does not find its name",
    0x05: "the host refuses the connection, by the proxy's report",
    0x06: "the proxy's connection to the host timed out",
    0x07: "the proxy makes no connections to hosts",
    0x08: "the proxy does not support this kind of address",
}
# Tor's codes for onion services, if its SocksPort has the flag ExtendedErrors (Tor's proposal 304).
_ONION_REFUSALS = range(0xF0, 0xF8)


def connect_by_proxy(
    proxy: Proxy, host: str, address: IPAddress | None, port: int, timeout_seconds: float
) -> socket:
    """Return a connection to `host` that the proxy has made, within `timeout_seconds`.

    `address` is the host's IP address, if `host` is no name. The proxy resolves a name. Raise ProxyError.
    """
    ends_at = time.monotonic() + timeout_seconds
    target = _target(host, address) + port.to_bytes(2, "big")
    connection = _greeted(proxy, ends_at)
    try:
        _Dialogue(connection, ends_at).connect(target)
    except BaseException:
        connection.close()
        raise
    return connection


def check_proxy(proxy: Proxy, timeout_seconds: float) -> None:
    """Connect to the proxy and log in, but connect to no host. Raise ProxyUnusable."""
    _greeted(proxy, time.monotonic() + timeout_seconds).close()


def _greeted(proxy: Proxy, ends_at: float) -> socket:
    """Return a connection to the proxy, which has accepted the login. Raise ProxyUnusable."""
    try:
        connection = open_connection(proxy.host, proxy.port, max(ends_at - time.monotonic(), 0.0))
    except OSError as error:
        raise ProxyUnusable(errno.EIO, f"the proxy cannot be reached: {explain(error)}") from error
    try:
        _Dialogue(connection, ends_at).greet(proxy)
    except ProxyError as error:
        connection.close()
        raise ProxyUnusable(error.errno, error.strerror) from error
    except BaseException:
        connection.close()
        raise
    return connection


class _Dialogue:
    """The messages before the proxy forwards bytes. All of them have one deadline."""

    def __init__(self, connection: socket, ends_at: float) -> None:
        self._connection = connection
        self._ends_at = ends_at

    def greet(self, proxy: Proxy) -> None:
        """Agree on a login (RFC 1928 3), and log in. Raise ProxyError."""
        methods = [NO_LOGIN] if proxy.username is None else [NO_LOGIN, LOGIN]
        self._send(VERSION + bytes([len(methods), *methods]))
        version, method = self._receive(2)
        if version != VERSION[0]:
            raise _failure("PROXY names a server that is no SOCKS5 proxy")
        if method == NONE_ACCEPTABLE or method not in methods:
            raise _failure(
                "the proxy requires a login: write PROXY=socks5h://USER:PASSWORD@HOST:PORT"
                if proxy.username is None
                else "the proxy accepts no login by user and password"
            )
        if method == LOGIN:
            self._log_in(proxy)

    def connect(self, target: bytes) -> None:
        """Order the connection to a host (RFC 1928 4 and 6). Raise ProxyError."""
        self._send(VERSION + CONNECT + b"\x00" + target)
        version, code, _, kind = self._receive(4)
        if version != VERSION[0]:
            raise _failure("the proxy's reply is no SOCKS5 reply")
        if code in _ONION_REFUSALS:
            raise _failure(f"the proxy cannot reach the onion service (Tor's code {code:02X})")
        if code:
            raise _failure(_REFUSALS.get(code, f"the proxy refuses with code {code}"))
        # The address is the proxy's own end of the connection, which has no use here.
        if kind == NAME:
            self._receive(self._receive(1)[0])
        elif kind in (IPV4, IPV6):
            self._receive(4 if kind == IPV4 else 16)
        else:
            raise _failure("the proxy's reply is no SOCKS5 reply")
        self._receive(2)

    def _log_in(self, proxy: Proxy) -> None:
        assert proxy.username is not None
        assert proxy.password is not None
        username, password = proxy.username.encode(), proxy.password.reveal().encode()
        self._send(LOGIN_VERSION + bytes([len(username)]) + username + bytes([len(password)]) + password)
        _, status = self._receive(2)
        if status:
            raise _failure("the proxy refuses the user or the password of PROXY")

    def _send(self, data: bytes) -> None:
        try:
            self._set_timeout()
            self._connection.sendall(data)
        except OSError as error:
            raise _lost(error) from error

    def _receive(self, size: int) -> bytes:
        """Return exactly `size` bytes, and leave the bytes of the host behind them unread."""
        received = b""
        try:
            while len(received) < size:
                self._set_timeout()
                data = self._connection.recv(size - len(received))
                if not data:
                    raise _failure("the proxy closed the connection")
                received += data
        except ProxyError:
            raise
        except OSError as error:
            raise _lost(error) from error
        return received

    def _set_timeout(self) -> None:
        seconds = self._ends_at - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("timed out")
        self._connection.settimeout(seconds)


def _target(host: str, address: IPAddress | None) -> bytes:
    """Return the host as the proxy reads it: the type of its address, and the address."""
    if address is not None:
        return bytes([IPV4 if address.version == 4 else IPV6]) + address.packed
    try:
        name = host.rstrip(".").encode("ascii")
    except UnicodeError as error:
        raise _failure("the host name cannot be looked up") from error
    if not 0 < len(name) <= MAX_NAME_BYTES:
        raise _failure("the host name cannot be looked up")
    return bytes([NAME, len(name)]) + name


def _lost(error: OSError) -> ProxyError:
    if isinstance(error, TimeoutError):
        return _failure("the proxy made no connection in time")
    return _failure(f"the connection to the proxy failed: {os.strerror(error.errno or errno.EIO)}")


def _failure(text: str) -> ProxyError:
    return ProxyError(errno.EIO, text)
