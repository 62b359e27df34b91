"""An end to an exchange over the network, however slowly the other side talks.

A socket's own time-out starts again with each byte; a server that sends one now and then holds its client
for hours.
"""

import socket
import threading
import time
from types import TracebackType
from typing import Self


class Deadline:
    """A span of time as a context: at its end the sockets that were opened by it are cut off."""

    def __init__(self, seconds: float) -> None:
        self._ends_at = time.monotonic() + seconds
        self._cutter = threading.Timer(seconds, self._cut)
        self._cutter.daemon = True
        self._handles: list[socket.socket] = []
        self._lock = threading.Lock()

    @property
    def remaining_seconds(self) -> float:
        """Never zero, which would make a socket non-blocking."""
        return max(self._ends_at - time.monotonic(), 0.001)

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self._ends_at

    def open_socket(self, host: str, port: int) -> socket.socket:
        """A TCP connection to the first of the host's addresses that answers. Raises OSError."""
        reason: OSError = TimeoutError("timed out")
        for family, kind, protocol, _, address in _addresses(host, port):
            if self.is_over:
                break
            connection = socket.socket(family, kind, protocol)
            try:
                connection.settimeout(self.remaining_seconds)
                connection.connect(address)
                self._watch(connection)
            except OSError as error:
                connection.close()
                reason = error
            else:
                return connection
        raise reason

    def __enter__(self) -> Self:
        self._cutter.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cutter.cancel()
        with self._lock:
            for handle in self._handles:
                handle.close()
            self._handles.clear()

    def _watch(self, connection: socket.socket) -> None:
        # A handle of our own: TLS detaches the socket it wraps, and shutdown reaches every handle of it.
        with self._lock:
            self._handles.append(connection.dup())
        if self.is_over:
            self._cut()

    def _cut(self) -> None:
        with self._lock:
            for handle in self._handles:
                try:
                    handle.shutdown(socket.SHUT_RDWR)
                except OSError:
                    # The other side was faster.
                    continue


def _addresses(host: str, port: int) -> list[tuple[int, int, int, str, tuple[str, int]]]:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)  # type: ignore[return-value]
    except UnicodeError as error:
        # A name that can't be written in the DNS, such as one with a label of 64 letters.
        raise OSError(f"no such host: {error}") from error
