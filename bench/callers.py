"""Clients that call a web server again and again, many at once, each on connections of its own."""

import resource
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import cycle

RESPONSE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """The seconds of each call, and the seconds of all of them together."""

    seconds: list[float]
    elapsed: float

    @property
    def rate(self) -> float:
        """Calls a second."""
        return len(self.seconds) / self.elapsed

    @property
    def p99(self) -> float:
        """The seconds that one call in a hundred exceeds."""
        return sorted(self.seconds)[len(self.seconds) * 99 // 100]


class UnexpectedResponseError(RuntimeError):
    """The status of a response differs from the expected one."""


class Caller:
    """One connection. Its code is short because its work may slow the measured server down."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=RESPONSE_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call(self, request: bytes, status: bytes) -> None:
        """Raises UnexpectedResponseError where the response has another status."""
        self._socket.sendall(request)
        response = b""
        while (end := response.find(b"\r\n\r\n")) < 0:
            response += self._more()
        head = response[:end].lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0")
        while len(response) < end + 4 + length:
            response += self._more()
        if not head.startswith(b"http/1.1 " + status):
            raise UnexpectedResponseError(response[:500].decode(errors="replace"))

    def close(self) -> None:
        self._socket.close()

    def _more(self) -> bytes:
        received = self._socket.recv(65536)
        if not received:
            raise UnexpectedResponseError("the server hung up")
        return received


def drive(port: int, clients: int, requests: Iterator[bytes], status: bytes, connections: int) -> Traffic:
    """Send all of these requests. Raise OSError, UnexpectedResponseError.

    `clients` of them are under way at once. They use `connections` in turns, all of which stay open.
    """
    lock = threading.Lock()
    seconds: list[float] = []

    def following() -> bytes | None:
        with lock:
            return next(requests, None)

    def work(own: Sequence[Caller]) -> None:
        for caller in cycle(own):
            if (request := following()) is None:
                break
            began = time.perf_counter()
            caller.call(request, status)
            seconds.append(time.perf_counter() - began)

    with _callers(port, connections) as callers, ThreadPoolExecutor(clients) as threads:
        began = time.perf_counter()
        list(threads.map(work, [callers[number::clients] for number in range(clients)]))
        elapsed = time.perf_counter() - began
    return Traffic(seconds, elapsed)


@contextmanager
def _callers(port: int, count: int) -> Iterator[list[Caller]]:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with ExitStack() as stack:
        yield [stack.enter_context(closing(Caller(port))) for _ in range(count)]


def get(path: str, tag: str) -> bytes:
    """Return a GET request with the ETag of what the caller has."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nIf-None-Match: {tag}\r\n\r\n".encode()


def post(path: str, key: str, body: bytes) -> bytes:
    """Return a POST request with an API key."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
