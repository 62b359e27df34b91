"""Clients that call a web server again and again, as many at a time as asked for, each on one connection."""

import resource
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import cycle

ANSWER_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a number of clients got: each call's seconds, and the seconds that all of it took."""

    clients: int
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


class UnexpectedAnswerError(RuntimeError):
    """The server did not answer as it should."""


class Caller:
    """One connection. It does no more than it must: what it costs is taken from the server it measures."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket = self._connected()

    def call(self, request: bytes, status: bytes) -> bytes:
        """The body of the answer. Raises UnexpectedAnswerError where it has another status."""
        found, body = self.ask(request)
        if found != status:
            raise UnexpectedAnswerError(
                f"{found.decode(errors='replace')}: {body[:500].decode(errors='replace')}"
            )
        return body

    def ask(self, request: bytes) -> tuple[bytes, bytes]:
        """The status and the body of the answer."""
        self._socket.sendall(request)
        answer = b""
        while (end := answer.find(b"\r\n\r\n")) < 0:
            answer += self._more()
        head = answer[:end].lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0")
        while len(answer) < end + 4 + length:
            answer += self._more()
        if b"\r\nconnection: close" in head:
            self._socket.close()
            self._socket = self._connected()
        return head[len(b"http/1.1 ") :][:3], answer[end + 4 :]

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _connected(self) -> socket.socket:
        opened = socket.create_connection(("127.0.0.1", self._port), timeout=ANSWER_SECONDS)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return opened

    def _more(self) -> bytes:
        received = self._socket.recv(65536)
        if not received:
            raise UnexpectedAnswerError("the server hung up")
        return received


def drive(
    port: int, clients: int, requests: Iterator[bytes], status: bytes = b"200", connections: int = 0
) -> Traffic:
    """Send all of these requests, by so many clients at once. Raises OSError, UnexpectedAnswerError.

    With `connections`, so many are open all the while, and the clients use them in turns.
    """
    lock = threading.Lock()
    seconds: list[float] = []
    failures: list[Exception] = []
    barrier = threading.Barrier(clients + 1)

    def following() -> bytes | None:
        with lock:
            return next(requests, None)

    def work(own: Sequence[Caller]) -> None:
        barrier.wait()
        try:
            for caller in cycle(own):
                if (request := following()) is None:
                    break
                began = time.perf_counter()
                caller.call(request, status)
                seconds.append(time.perf_counter() - began)
        except (OSError, UnexpectedAnswerError) as error:
            failures.append(error)

    with callers(port, max(connections, clients)) as all_of_them:
        shares = [all_of_them[number::clients] for number in range(clients)]
        threads = [threading.Thread(target=work, args=(share,), daemon=True) for share in shares]
        for thread in threads:
            thread.start()
        barrier.wait()
        began = time.perf_counter()
        for thread in threads:
            thread.join()
        elapsed = time.perf_counter() - began
    if failures:
        raise failures[0]
    return Traffic(clients, seconds, elapsed)


@contextmanager
def callers(port: int, count: int) -> Iterator[list[Caller]]:
    """So many open connections."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with ExitStack() as stack:
        yield [stack.enter_context(closing(Caller(port))) for _ in range(count)]


def get(path: str, tag: str = "") -> bytes:
    """A GET request; with the ETag of what the caller has, for what is new."""
    known = f"If-None-Match: {tag}\r\n" if tag else ""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{known}\r\n".encode()


def post(path: str, key: str, body: bytes) -> bytes:
    """A POST request with an API key."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
