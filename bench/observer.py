"""Watching from outside: when bitcoind's message came, and when its consequences were committed.

Nothing here spins, because that would take a core from the measured programs. The subscriber sleeps in the
kernel until a message comes. The watcher looks at the database every 0.2 ms, in microseconds.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq

from bench.database import connect, value

LOOK_SECONDS = 0.0002
MAX_WAIT_SECONDS = 60.0


class NothingHappenedError(RuntimeError):
    """The awaited event did not come."""


class Subscriber:
    """A bare subscriber to one topic."""

    def __init__(self, topic: str, address: str) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.set(zmq.RCVHWM, 0)
        self._socket.set(zmq.RCVTIMEO, int(MAX_WAIT_SECONDS * 1000))
        self._socket.set(zmq.SUBSCRIBE, topic.encode())
        monitor = self._socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        self._socket.connect(address)
        monitor.poll(int(MAX_WAIT_SECONDS * 1000))
        # bitcoind takes the subscription up a moment after the handshake.
        time.sleep(0.2)

    def wait_for(self, body: bytes) -> float:
        """Return the time, as of time.perf_counter, at which the message with this body came."""
        while True:
            moment, came = self.message()
            if came == body:
                return moment

    def message(self) -> tuple[float, bytes]:
        """Return the next message's time and body."""
        _, body, _ = self._socket.recv_multipart()
        return time.perf_counter(), body

    def close(self) -> None:
        self._context.destroy(linger=0)


class Watcher:
    """A reader of a database that another process writes."""

    def __init__(self, database: Path, *, look_seconds: float = LOOK_SECONDS) -> None:
        self._connection = connect(database)
        self._look_seconds = look_seconds

    def wait_for(self, query: str, *parameters: Any, is_it: Callable[[Any], bool] = bool) -> float:
        """Return the time, as of time.perf_counter, at which `is_it` was true of the query's first value."""
        deadline = time.perf_counter() + MAX_WAIT_SECONDS
        version = None
        while time.perf_counter() < deadline:
            # Each commit of another connection changes it: https://sqlite.org/pragma.html#pragma_data_version
            latest = self.value("PRAGMA data_version")
            if latest != version and is_it(self.value(query, *parameters)):
                return time.perf_counter()
            version = latest
            time.sleep(self._look_seconds)
        raise NothingHappenedError(f"not within {MAX_WAIT_SECONDS:g} s: {query} {parameters}")

    def value(self, query: str, *parameters: Any) -> Any:
        """Return the first value of the first row; None where there is no row."""
        return value(self._connection, query, *parameters)

    def close(self) -> None:
        self._connection.close()
