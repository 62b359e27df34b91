"""TCP connections to the first address of a host that accepts one (RFC 8305)."""

import errno
import ipaddress
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from daemon.net.addresses import IPAddress
from daemon.net.errors import ForbiddenAddress

ATTEMPT_DELAY_SECONDS = 0.25
"""The pause between two attempts. RFC 8305 5."""

LOOKUP_POLL_SECONDS = 0.02

MayConnect = Callable[[str, IPAddress | None], bool]
"""A function that returns whether a connection to this host may use this address.

The address is None if a proxy looks up the host's name.
"""


class _Address(NamedTuple):
    family: int
    address: Any
    """The address in the form of `socket.connect`."""


def open_connection(
    host: str, port: int, timeout_seconds: float, may_connect: MayConnect | None = None
) -> socket.socket:
    """Return a connection to the first address of `host` that accepts one, within `timeout_seconds`.

    The socket keeps this timeout. Raise OSError, or ForbiddenAddress if `may_connect` allows no address.
    """
    with _Race(_Lookup(host, port), time.monotonic() + timeout_seconds, host, may_connect) as race:
        connection = race.run()
    connection.settimeout(timeout_seconds)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


class _Lookup:
    """The addresses of a host, which arrive one family after the other.

    Each family has its own thread, because a name server may never reply for one family.
    """

    def __init__(self, host: str, port: int) -> None:
        self._answers: SimpleQueue[list[_Address] | OSError] = SimpleQueue()
        self.pending = 1
        try:
            self._answers.put(_addresses(host, port, socket.AF_UNSPEC, socket.AI_NUMERICHOST))
        except OSError:
            # The host is a name.
            self.pending = 2
            for family in (socket.AF_INET6, socket.AF_INET):
                threading.Thread(target=self._look_up, args=(host, port, family), daemon=True).start()

    def _look_up(self, host: str, port: int, family: int) -> None:
        try:
            self._answers.put(_addresses(host, port, family))
        except OSError as error:
            self._answers.put(error)

    def answers(self) -> Iterator[list[_Address] | OSError]:
        """Yield the addresses and errors that have arrived since the last call."""
        while self.pending:
            try:
                yield self._answers.get_nowait()
            except Empty:
                return
            self.pending -= 1


class _Race:
    """A series of attempts to connect. The next begins after a short pause, or when the last one fails."""

    def __init__(self, lookup: _Lookup, ends_at: float, host: str, may_connect: MayConnect | None) -> None:
        self._lookup = lookup
        self._ends_at = ends_at
        self._host = host
        self._may_connect = may_connect
        self._selector = selectors.DefaultSelector()
        self._known: set[_Address] = set()
        self._waiting: list[_Address] = []
        self._last_family: int | None = None
        self._next_at = 0.0
        self._reason = OSError(errno.EADDRNOTAVAIL, "the host has no address")

    def __enter__(self) -> "_Race":
        return self

    def __exit__(self, *_: object) -> None:
        for key in list(self._selector.get_map().values()):
            _socket_of(key).close()
        self._selector.close()

    def run(self) -> socket.socket:
        """Return the connection of the attempt that succeeds first. Raise OSError."""
        while (now := time.monotonic()) < self._ends_at:
            self._take_addresses()
            if self._waiting and now >= self._next_at:
                self._begin(now)
            elif not (self._waiting or self._selector.get_map() or self._lookup.pending):
                raise self._reason
            for key, _ in self._selector.select(self._pause()):
                if self._succeeds(key):
                    return _socket_of(key)
        raise TimeoutError("timed out")

    def _take_addresses(self) -> None:
        for answer in self._lookup.answers():
            if isinstance(answer, OSError):
                # An error for one family does not matter if the host has addresses of the other family.
                self._reason = self._reason if self._known else answer
                continue
            for address in answer:
                if address not in self._known:
                    self._known.add(address)
                    self._allow(address)

    def _allow(self, address: _Address) -> None:
        ip = ipaddress.ip_address(address.address[0])
        if self._may_connect is None or self._may_connect(self._host, ip):
            self._waiting.append(address)
        elif not self._waiting:
            self._reason = ForbiddenAddress(errno.EACCES, "a private address")

    def _begin(self, now: float) -> None:
        other = [address for address in self._waiting if address.family != self._last_family]
        address = (other or self._waiting)[0]
        self._waiting.remove(address)
        self._last_family = address.family
        try:
            connection = socket.socket(address.family, socket.SOCK_STREAM)
        except OSError as error:
            self._reason = error
            return
        connection.setblocking(False)
        code = connection.connect_ex(address.address)
        if code in (0, errno.EINPROGRESS):
            self._selector.register(connection, selectors.EVENT_WRITE)
            self._next_at = now + ATTEMPT_DELAY_SECONDS
        else:
            self._fail(connection, code)

    def _succeeds(self, key: selectors.SelectorKey) -> bool:
        connection = _socket_of(key)
        self._selector.unregister(connection)
        code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._fail(connection, code)
        return not code

    def _fail(self, connection: socket.socket, code: int) -> None:
        connection.close()
        self._reason = OSError(code, os.strerror(code))
        self._next_at = 0.0

    def _pause(self) -> float:
        until = self._ends_at if not self._waiting else min(self._ends_at, self._next_at)
        seconds = max(until - time.monotonic(), 0.0)
        return min(seconds, LOOKUP_POLL_SECONDS) if self._lookup.pending else seconds


def _addresses(host: str, port: int, family: int, flags: int = 0) -> list[_Address]:
    try:
        found = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM, flags=flags)
    except UnicodeError as error:
        # The DNS cannot contain such a name, for example a name with a label of 64 letters.
        raise OSError(errno.EINVAL, "the host name cannot be looked up") from error
    return [_Address(int(each[0]), each[4]) for each in found]


def _socket_of(key: selectors.SelectorKey) -> socket.socket:
    assert isinstance(key.fileobj, socket.socket)
    return key.fileobj
