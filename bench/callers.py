"""Clients that call a web server again and again, as many at a time as asked for, each on one connection."""

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

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
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call(self, request: bytes, status: bytes) -> bytes:
        """The body of the answer. Raises UnexpectedAnswerError where it has another status."""
        self._socket.sendall(request)
        answer = b""
        while (end := answer.find(b"\r\n\r\n")) < 0:
            answer += self._more()
        head = answer[:end].lower()
        if not head.startswith(b"http/1.1 " + status):
            raise UnexpectedAnswerError(answer[:500].decode(errors="replace"))
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0")
        while len(answer) < end + 4 + length:
            answer += self._more()
        return answer[end + 4 :]

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _more(self) -> bytes:
        received = self._socket.recv(65536)
        if not received:
            raise UnexpectedAnswerError("the server hung up")
        return received


def drive(port: int, clients: int, requests: Iterator[bytes], status: bytes = b"200") -> Traffic:
    """Send all of these requests, by so many clients at once. Raises OSError, UnexpectedAnswerError."""
    lock = threading.Lock()
    seconds: list[float] = []
    failures: list[Exception] = []
    barrier = threading.Barrier(clients + 1)

    def following() -> bytes | None:
        with lock:
            return next(requests, None)

    def work(caller: Caller) -> None:
        barrier.wait()
        try:
            while (request := following()) is not None:
                began = time.perf_counter()
                caller.call(request, status)
                seconds.append(time.perf_counter() - began)
        except (OSError, UnexpectedAnswerError) as error:
            failures.append(error)
        finally:
            caller.close()

    callers = [Caller(port) for _ in range(clients)]
    threads = [threading.Thread(target=work, args=(caller,), daemon=True) for caller in callers]
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


def get(path: str) -> bytes:
    """A GET request."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


def post(path: str, key: str, body: bytes) -> bytes:
    """A POST request with an API key."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
