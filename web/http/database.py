"""The database as one call of the web server uses it: a connection that works, and news of its outages."""

import select
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from threading import Lock, local
from typing import Any, TypeVar

import peewee
import structlog

from models.db.connection import (
    DATABASE_TROUBLE,
    LOCK_TIMEOUT_SECONDS,
    database,
    disconnect,
    file_identity,
    is_sqlite,
    one_line,
)

log = structlog.get_logger(__name__)

T = TypeVar("T")

_opened = local()
"""Its `identity` tells which file this thread's connection has open."""

_TOO_LONG = "the writers before this one take too long"


@contextmanager
def connection() -> Iterator[None]:
    """This thread's connection, for one call. It is kept for the next, since opening takes 0.4 ms.

    PostgreSQL's is asked first whether it is alive, where something has come from it unasked: so it is when
    the server has ended the connection, or the network given it up.
    """
    if is_sqlite():
        _follow_file()
    elif not database.is_closed() and _has_news():
        _drop_if_dead()
    try:
        yield
    except DATABASE_TROUBLE:
        disconnect()
        raise


def _follow_file() -> None:
    """Drop the connection to a file that another one has replaced: what is written to it is lost."""
    identity = file_identity()
    if getattr(_opened, "identity", identity) != identity:
        disconnect()
        log.warning("database file replaced", path=database.obj.database)
    _opened.identity = identity
    if identity is None:
        raise peewee.OperationalError(f"the file {database.obj.database} is gone")


class Writers:
    """The writing transactions of one server, one behind the other.

    SQLite has one writer at a time and makes the others poll for their turn, where one of many waited
    for seconds. PostgreSQL needs no such queue.
    """

    def __init__(self) -> None:
        self._turn = Lock()
        self._queue = Lock()
        self._waiting: list[_Work] = []

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

    def carry_out(self, do: Callable[[], T], *, is_one_statement: bool = False) -> T:
        """What `do` returns, once what it wrote is on the disk; where this raises, nothing of it is left.

        With `is_one_statement` it is a transaction by itself on PostgreSQL, which is asked for no other.
        On SQLite those who come at the same time wait for the disk once. `do` may be called in another
        thread, and again after its first call was taken back: it may do nothing but write.
        """
        if not is_sqlite():
            with nullcontext() if is_one_statement else self.transaction():
                return do()
        work = _Work(do)
        with self._queue:
            self._waiting.append(work)
            is_first = len(self._waiting) == 1
        if is_first:
            self._write_what_waits()
        outcome: T = work.outcome()
        return outcome

    def _write_what_waits(self) -> None:
        """Wait for the turn, and write for all who have come until then: who comes next is first again."""
        has_turn = self._turn.acquire(timeout=LOCK_TIMEOUT_SECONDS)
        try:
            with self._queue:
                works, self._waiting = self._waiting, []
            if has_turn:
                _write_together(works)
            else:
                _refuse(works, peewee.OperationalError(_TOO_LONG))
        finally:
            if has_turn:
                self._turn.release()


class _Work:
    """What a thread wants written, and what has become of it: as a Future, in a third of its time."""

    def __init__(self, do: Callable[[], Any]) -> None:
        self.do = do
        self._result: Any = None
        self._error: BaseException | None = None
        # Held until it is settled.
        self._unsettled = Lock()
        self._unsettled.acquire()

    def settle(self, result: Any, error: BaseException | None = None) -> None:
        """Tell the thread that waits for it."""
        self._result, self._error = result, error
        self._unsettled.release()

    def outcome(self) -> Any:
        """What came of it, once it is settled. Raises what it was refused with."""
        with self._unsettled:
            if self._error is not None:
                raise self._error
            return self._result


def _write_together(works: Sequence[_Work]) -> None:
    """In one transaction; where one of them is refused, those before it in one, and then those behind it."""
    group = works
    while works:
        results, error = _written(group)
        if error is not None and len(group) > 1 and results and not isinstance(error, DATABASE_TROUBLE):
            group = group[: min(len(results), len(group) - 1)]
            continue
        if error is None:
            settled = group
            for work, result in zip(group, results, strict=True):
                work.settle(result)
        else:
            # In trouble each of the others would wait for the lock as long as these did.
            settled = works if isinstance(error, DATABASE_TROUBLE) else group[:1]
            _refuse(settled, error)
        works = group = works[len(settled) :]


def _written(works: Sequence[_Work]) -> tuple[list[Any], BaseException | None]:
    """What each returns, and None: it is on the disk. Or what was returned before one was refused, and why:
    then nothing is."""
    results: list[Any] = []
    try:
        with database.atomic():
            for work in works:
                results.append(work.do())  # noqa: PERF401  # They are wanted where one of them fails, too.
    except BaseException as error:  # noqa: BLE001  # Whatever it is, who wanted it written is told.
        return results, error
    return results, None


def _refuse(works: Sequence[_Work], error: BaseException) -> None:
    for work in works:
        work.settle(None, error)


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


def _has_news() -> bool:
    """Whether there is anything to be read from the server: to look needs no way to it and back."""
    waiting = select.poll()
    waiting.register(database.connection().fileno(), select.POLLIN)
    return bool(waiting.poll(0))


def _drop_if_dead() -> None:
    try:
        database.execute_sql("SELECT 1")
    except DATABASE_TROUBLE:
        disconnect()
