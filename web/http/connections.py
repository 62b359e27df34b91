"""Limits for connections: how many one client may have, and how long it may send or read nothing."""

import contextlib
import math
import socket
import struct
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from config.addresses import is_loopback
from web.http.client_network import client_network

MAX_PER_CLIENT = 200
"""The most connections of one client's network. A proxy on this machine has all of them."""
IDLE_SECONDS = 20
"""The longest time that a client may take for its next request, or for a piece of a response."""
MAX_REQUESTS = 1000
"""The server closes a connection after this number of requests."""
SEND_BUFFER_BYTES = 64 * 1024
"""The system buffers at most this much of a response that the client does not read."""

# With this option, close() discards data that the client has not read.
_NO_LINGER = struct.pack("ii", 1, 0)

_Ends = tuple[Any, ...]


@dataclass(slots=True)
class _Connection:
    """An open connection. `deadline` is infinite while the client waits for the server."""

    socket: socket.socket
    network: str
    deadline: float
    requests: int = 0


class Connections:
    """The open connections of a server, by the addresses of their two ends.

    Only the thread of the event loop may call these methods.
    """

    def __init__(self) -> None:
        self._open: dict[_Ends, _Connection] = {}
        self._counts: Counter[str] = Counter()

    def add(self, accepted: socket.socket) -> None:
        """Add a new connection. Its client must send a request before the deadline.

        End the connection at once if its client has MAX_PER_CLIENT others.
        """
        with contextlib.suppress(OSError):
            peer = accepted.getpeername()
            network = client_network(peer[0])
            if self._is_full(network) and not is_loopback(peer[0]):
                _end(accepted)
                return
            ends = (*peer[:2], *accepted.getsockname()[:2])
            self._remove(ends)
            self._open[ends] = _Connection(accepted, network, time.monotonic() + IDLE_SECONDS)
            self._counts[network] += 1

    def begin_request(self, scope: Mapping[str, Any]) -> bool:
        """Remove the client's deadline. Return whether the connection may stay open after this request."""
        connection = self._open.get(_ends_of(scope))
        if connection is None:
            return False
        connection.deadline = math.inf
        connection.requests += 1
        return connection.requests < MAX_REQUESTS

    def wait_for_server(self, scope: Mapping[str, Any]) -> None:
        """Remove the deadline while the server computes the next piece of a response."""
        self._set_deadline(scope, math.inf)

    def wait_for_client(self, scope: Mapping[str, Any]) -> None:
        """Set a deadline for the client to read a piece of a response, or to send its next request."""
        self._set_deadline(scope, time.monotonic() + IDLE_SECONDS)

    def end_late(self) -> None:
        """End each connection that is past its deadline, and remove closed connections."""
        now = time.monotonic()
        for ends, connection in list(self._open.items()):
            if connection.socket.fileno() == -1:
                self._remove(ends)
            elif connection.deadline < now:
                _end(connection.socket)

    def _is_full(self, network: str) -> bool:
        if self._counts[network] >= MAX_PER_CLIENT:
            # Some of them may be closed by now.
            self.end_late()
        return self._counts[network] >= MAX_PER_CLIENT

    def _remove(self, ends: _Ends) -> None:
        connection = self._open.pop(ends, None)
        if connection is not None:
            self._counts[connection.network] -= 1
            if not self._counts[connection.network]:
                del self._counts[connection.network]

    def _set_deadline(self, scope: Mapping[str, Any], deadline: float) -> None:
        connection = self._open.get(_ends_of(scope))
        if connection is not None:
            connection.deadline = deadline


class Listener(socket.socket):
    """A listening socket that adds each connection to `connections`."""

    connections: Connections

    def accept(self) -> tuple[socket.socket, Any]:
        accepted, address = super().accept()
        self.connections.add(accepted)
        return accepted, address


def listener(address: tuple[Any, ...], family: socket.AddressFamily, backlog: int) -> Listener:
    """Return a socket that listens on an address. Raise OSError."""
    plain = socket.create_server(address, family=family, backlog=backlog)
    # Accepted connections inherit both options. Without TCP_NODELAY, a body waits until the client
    # confirms the head.
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Listener(plain.family, plain.type, plain.proto, fileno=plain.detach())


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        connection.shutdown(socket.SHUT_RDWR)


def _ends_of(scope: Mapping[str, Any]) -> _Ends:
    # A client that has already disconnected has no address.
    return (*(scope["client"] or ()), *(scope["server"] or ()))
