"""Waiting for bitcoind without losing our senses.

It may think for long before it begins an answer (it connects a block, it loads a wallet), and then sends all
of it at once. So the first byte is waited for in slices, between which we live on or are stopped; afterwards
a short silence means that the connection is broken.
"""

import http.client
import select
import time
from collections.abc import Callable

from daemon.net.connection import open_connection
from daemon.net.tls import tls_context

ANSWER_SECONDS = 30.0
"""The longest that the beginning of an answer is waited for."""

STALL_SECONDS = 4.0
"""The longest silence while connecting, while sending, and in the midst of an answer."""

SLICE_SECONDS = 0.2
TOLD_AFTER_SECONDS = 3.0

Meanwhile = Callable[[float | None], None]
"""Called after each slice, with the seconds waited once they are worth telling of; what it raises ends the
call."""


class PollingHTTPConnection(http.client.HTTPConnection):
    """An HTTP connection that calls `meanwhile` while it waits for an answer to begin."""

    def __init__(self, host: str, port: int | None, meanwhile: Meanwhile) -> None:
        super().__init__(host, port, timeout=STALL_SECONDS)
        self._meanwhile = meanwhile

    def connect(self) -> None:
        """Connect to any address of the host. Raise OSError."""
        self.sock = open_connection(self.host, self.port, STALL_SECONDS)

    def getresponse(self) -> http.client.HTTPResponse:
        """Raises TimeoutError where none begins in time, and what `meanwhile` raises."""
        try:
            self._wait()
        except BaseException:
            # The answer may still come, and must not be taken for that to another question.
            self.close()
            raise
        return super().getresponse()

    def _wait(self) -> None:
        began = time.monotonic()
        poller = select.poll()
        poller.register(self.sock, select.POLLIN)
        while not poller.poll(SLICE_SECONDS * 1000):
            waited = time.monotonic() - began
            if waited > ANSWER_SECONDS:
                raise TimeoutError(f"no answer within {ANSWER_SECONDS:g} s")
            self._meanwhile(waited if waited > TOLD_AFTER_SECONDS else None)


class SecureConnection(http.client.HTTPSConnection):
    """An HTTPS connection. Readable TLS bytes need not begin an answer, so it only has a timeout."""

    def __init__(self, host: str, port: int | None) -> None:
        super().__init__(host, port, timeout=ANSWER_SECONDS)

    def connect(self) -> None:
        """Connect to any address of the host. Raise OSError."""
        connection = open_connection(self.host, self.port, STALL_SECONDS)
        try:
            self.sock = tls_context().wrap_socket(connection, server_hostname=self.host)
        except BaseException:
            connection.close()
            raise
        self.sock.settimeout(ANSWER_SECONDS)
