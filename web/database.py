"""The database as one call of the web server uses it: a connection that works, and news of its outages."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeVar

import peewee
import structlog

from models.database import DATABASE_TROUBLE, LOCK_TIMEOUT_SECONDS, database, disconnect, is_sqlite, one_line

log = structlog.get_logger(__name__)

T = TypeVar("T")

_TOO_LONG = "the writers before this one take too long"


@contextmanager
def connection() -> Iterator[None]:
    """This thread's connection, for one call. It is kept for the next, since opening takes 0.4 ms.

    PostgreSQL's is asked first whether it is alive: the server may have restarted since.
    """
    if not is_sqlite() and not database.is_closed():
        _drop_if_dead()
    try:
        yield
    except DATABASE_TROUBLE:
        disconnect()
        raise


class Writers:
    """The writing transactions of one server, one behind the other.

    SQLite has one writer at a time and makes the others poll for their turn, where one of many waited
    for seconds. PostgreSQL needs no such queue.
    """

    def __init__(self) -> None:
        self._turn = Lock()
        self._waiting: deque[_Work] = deque()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written in it, or nothing. Raises peewee.OperationalError after waiting too long."""
        if not is_sqlite():
            with database.atomic():
                yield
            return
        if not self._turn.acquire(timeout=LOCK_TIMEOUT_SECONDS):
            raise peewee.OperationalError(_TOO_LONG)
        try:
            with database.atomic():
                yield
        finally:
            self._turn.release()

    def carry_out(self, do: Callable[[], T]) -> T:
        """Call `do` in a transaction, on SQLite together with what others have waiting: they all wait for
        the disk once. What it returns is true, and on the disk; what it raises has left nothing behind.

        It may be called in another thread, and twice, where the first time was taken back.
        """
        if not is_sqlite():
            with self.transaction():
                return do()
        work = _Work(do)
        self._waiting.append(work)
        if self._turn.acquire(timeout=LOCK_TIMEOUT_SECONDS):
            try:
                if not work.outcome.done():
                    _carry_out(self._take_waiting())
            finally:
                self._turn.release()
        elif work.outcome.cancel():
            raise peewee.OperationalError(_TOO_LONG)
        outcome: T = work.outcome.result()
        return outcome

    def _take_waiting(self) -> list["_Work"]:
        """All that is waiting; what has been given up in the meantime is not done any more."""
        taken = [self._waiting.popleft() for _ in range(len(self._waiting))]
        return [work for work in taken if work.outcome.set_running_or_notify_cancel()]


@dataclass(frozen=True, slots=True)
class _Work:
    """What a thread wants written, and what has become of it."""

    do: Callable[[], Any]
    outcome: "Future[Any]" = field(default_factory=Future)


def _carry_out(works: Sequence[_Work]) -> None:
    """In one transaction; where one of them is refused, each in its own."""
    try:
        with database.atomic():
            results = [work.do() for work in works]
    except Exception as error:  # noqa: BLE001  # Whatever it is, who wanted it written is told.
        if len(works) == 1 or isinstance(error, DATABASE_TROUBLE):
            for work in works:
                work.outcome.set_exception(error)
        else:
            for work in works:
                _carry_out([work])
    else:
        for work, result in zip(works, results, strict=True):
            work.outcome.set_result(result)


class Outage:
    """Tells the log of the start and the end of a database outage, not of each call that met it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._is_on = False
        self._is_of_writes = False

    def begin(self, error: Exception, *, is_write: bool) -> None:
        """A call failed of it."""
        with self._lock:
            if not self._is_on:
                log.error("database unavailable", reason=one_line(error))
                self._is_on, self._is_of_writes = True, is_write

    def end(self, *, is_write: bool) -> None:
        """A call got through. One that only reads does so while another process holds the lock."""
        if not self._is_on:
            return
        with self._lock:
            if self._is_on and (is_write or not self._is_of_writes):
                log.info("database available again")
                self._is_on = False


def _drop_if_dead() -> None:
    try:
        database.execute_sql("SELECT 1")
    except DATABASE_TROUBLE:
        disconnect()
