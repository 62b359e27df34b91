"""Watching from outside: when bitcoind's message came, and when what follows from it was committed.

Nothing here spins: on two cores that would take one from what is measured. The subscriber sleeps in the
kernel until a message comes; the database is looked at every 0.2 ms, and each look costs microseconds, on
PostgreSQL a tenth of a millisecond.
"""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import zmq

from bench.database import Database

LOOK_SECONDS = 0.0002
LONGEST_SECONDS = 30.0


class NothingHappenedError(RuntimeError):
    """What was waited for did not come."""


class Subscriber:
    """A bare subscriber to one topic."""

    def __init__(self, topic: str, address: str) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.set(zmq.RCVHWM, 0)
        self._socket.set(zmq.RCVTIMEO, int(LONGEST_SECONDS * 1000))
        self._socket.set(zmq.SUBSCRIBE, topic.encode())
        monitor = self._socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        self._socket.connect(address)
        monitor.poll(int(LONGEST_SECONDS * 1000))
        # bitcoind takes the subscription up a moment after the handshake.
        time.sleep(0.2)

    def wait_for(self, body: bytes | None = None) -> float:
        """The moment, as of time.perf_counter, at which the message with this body came, or any."""
        while True:
            moment, came = self.message()
            if body is None or came == body:
                return moment

    def has_message(self, seconds: float = 0) -> bool:
        """Whether there is one, or comes within this time."""
        return bool(self._socket.poll(int(seconds * 1000)))

    def message(self) -> tuple[float, bytes]:
        """The next message: its moment, and its body."""
        _, body, _ = self._socket.recv_multipart()
        return time.perf_counter(), body

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.destroy(linger=0)


class Watcher:
    """Reads a database that another process writes."""

    def __init__(self, database: Database, *, look_seconds: float = LOOK_SECONDS) -> None:
        self._connection = database.connect()
        self._look_seconds = look_seconds

    def wait_for(self, query: str, *parameters: Any, is_it: Callable[[Any], bool] = bool) -> float:
        """The moment, as of time.perf_counter, at which the query's first value was seen to be it."""
        deadline = time.perf_counter() + LONGEST_SECONDS
        version = None
        while time.perf_counter() < deadline:
            latest = self._connection.version()
            if latest != version and is_it(self.value(query, *parameters)):
                return time.perf_counter()
            version = latest
            time.sleep(self._look_seconds)
        raise NothingHappenedError(f"not within {LONGEST_SECONDS:g} s: {query} {parameters}")

    def value(self, query: str, *parameters: Any) -> Any:
        """The first value of the first row; None where there is no row."""
        return self._connection.value(query, *parameters)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.__exit__(kind, error, trace)
