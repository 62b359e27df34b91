"""Time limits for connections whose client sends no request or does not read its response."""

import contextlib
import math
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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
    deadline: float
    requests: int = 0


class Connections:
    """The open connections of a server, by the addresses of their two ends.

    Only the thread of the event loop may call these methods.
    """

    def __init__(self) -> None:
        self._open: dict[_Ends, _Connection] = {}

    def add(self, accepted: socket.socket) -> None:
        """Add a new connection. Its client must send a request before the deadline."""
        with contextlib.suppress(OSError):
            ends = (*accepted.getpeername()[:2], *accepted.getsockname()[:2])
            self._open[ends] = _Connection(accepted, time.monotonic() + IDLE_SECONDS)

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
                del self._open[ends]
            elif connection.deadline < now:
                with contextlib.suppress(OSError):
                    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
                    connection.socket.shutdown(socket.SHUT_RDWR)

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
    """Return a socket that listens on an address. Raises OSError."""
    plain = socket.create_server(address, family=family, backlog=backlog)
    # Accepted connections inherit both options. Without TCP_NODELAY, a body waits until the client
    # confirms the head.
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Listener(plain.family, plain.type, plain.proto, fileno=plain.detach())


def _ends_of(scope: Mapping[str, Any]) -> _Ends:
    # A client that has already disconnected has no address.
    return (*(scope["client"] or ()), *(scope["server"] or ()))
