"""HTTP connections that call back while bitcoind is slow to respond.

bitcoind may need long before a response begins, for example while it connects a block or loads a wallet. Then
the whole response comes at once. So the connection waits for the first byte in slices, and calls back between
two slices. After the first byte, a short silence means that the connection is broken.
"""

import http.client
import select
import time
from collections.abc import Callable

from daemon.net.connection import open_connection
from daemon.net.tls import tls_context

ANSWER_SECONDS = 30.0
"""The longest wait of the daemon for the first byte of a response."""

STALL_SECONDS = 4.0
"""The longest silence while connecting, while sending, and within a response."""

SLICE_SECONDS = 0.2
REPORT_AFTER_SECONDS = 3.0

OnWait = Callable[[float | None], None]
"""Runs after each slice. The argument is the seconds waited, or None below REPORT_AFTER_SECONDS.

An exception of the callback ends the call.
"""


class PollingHTTPConnection(http.client.HTTPConnection):
    """An HTTP connection that calls `on_wait` while it waits for a response to begin."""

    def __init__(self, host: str, port: int | None, on_wait: OnWait, answer_seconds: float) -> None:
        super().__init__(host, port, timeout=STALL_SECONDS)
        self._on_wait = on_wait
        self._answer_seconds = answer_seconds

    def connect(self) -> None:
        """Connect to any address of the host. Raise OSError."""
        self.sock = open_connection(self.host, self.port, STALL_SECONDS)

    def getresponse(self) -> http.client.HTTPResponse:
        """Return the response. Raise TimeoutError after `answer_seconds`, and any exception of `on_wait`."""
        try:
            self._wait()
        except BaseException:
            # A late response must not be taken for the response to the next request.
            self.close()
            raise
        return super().getresponse()

    def _wait(self) -> None:
        began = time.monotonic()
        poller = select.poll()
        poller.register(self.sock, select.POLLIN)
        while not poller.poll(SLICE_SECONDS * 1000):
            waited = time.monotonic() - began
            if waited > self._answer_seconds:
                raise TimeoutError(f"no answer within {self._answer_seconds:g} s")
            self._on_wait(waited if waited > REPORT_AFTER_SECONDS else None)


class SecureConnection(http.client.HTTPSConnection):
    """An HTTPS connection, with a timeout alone, because readable TLS bytes need not begin a response."""

    def __init__(self, host: str, port: int | None, answer_seconds: float) -> None:
        super().__init__(host, port, timeout=answer_seconds)

    def connect(self) -> None:
        """Connect to any address of the host. Raise OSError."""
        connection = open_connection(self.host, self.port, STALL_SECONDS)
        try:
            self.sock = tls_context().wrap_socket(connection, server_hostname=self.host)
        except BaseException:
            connection.close()
            raise
        self.sock.settimeout(self.timeout)
