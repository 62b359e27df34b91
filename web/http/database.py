"""Database access for calls of the web server: connections, writing transactions and outages."""

import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, local

import peewee
import structlog

from models.daemon_status import known_network
from models.db.connection import (
    LOCK_TIMEOUT_SECONDS,
    TRANSIENT_ERRORS,
    database,
    disconnect,
    file_identity,
    is_sqlite,
    one_line,
)

log = structlog.get_logger(__name__)

_opened = local()
"""`identity` is the file that this thread's connection has open."""


@contextmanager
def connection() -> Iterator[None]:
    """Provide this thread's connection for one call, and keep the connection open for the next call.

    PostgreSQL sends data without a query if it ends the connection. In that case, test the connection first.
    """
    if is_sqlite():
        _follow_file()
    elif not database.is_closed() and _has_unread_data():
        _drop_if_dead()
    try:
        yield
    except TRANSIENT_ERRORS:
        disconnect()
        raise


def _follow_file() -> None:
    """Close the connection if another file has replaced its file, because its writes would be lost."""
    identity = file_identity()
    if getattr(_opened, "identity", identity) != identity:
        disconnect()
        log.warning("database file replaced", path=database.obj.database)
    _opened.identity = identity
    if identity is None:
        raise peewee.OperationalError(f"the file {database.obj.database} is gone")


def network_of_problem(name: str) -> str | None:
    """Return the network for the page of a problem of this type, or None if the database is not available."""
    if name.endswith(":no-database"):
        return None
    try:
        with connection():
            return known_network()
    except TRANSIENT_ERRORS:
        return None


class Writers:
    """The queue for the writing transactions of one server.

    SQLite allows one writer at a time, and the others have to poll. PostgreSQL needs no queue.
    """

    def __init__(self) -> None:
        self._turn = Lock()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run the block in one transaction. Raise peewee.OperationalError after a long wait."""
        if not is_sqlite():
            with database.atomic():
                yield
            return
        if not self._turn.acquire(timeout=LOCK_TIMEOUT_SECONDS):
            raise peewee.OperationalError("the writers before this one take too long")
        try:
            with database.atomic():
                yield
        finally:
            self._turn.release()

    def run_if_free(self, action: Callable[[], object]) -> bool:
        """Run the action in one transaction, unless another writer is at work. Return whether it ran.

        This method waits for no lock, and a failure of the database is no error.
        """
        if not self._turn.acquire(blocking=False):
            return False
        try:
            with _without_waiting():
                action()
        except TRANSIENT_ERRORS:
            return False
        finally:
            self._turn.release()
        return True


@contextmanager
def _without_waiting() -> Iterator[None]:
    """Run the block in one transaction that fails at once where it would have to wait for a lock."""
    if not is_sqlite():
        with database.atomic():
            database.execute_sql("SET LOCAL lock_timeout = '1ms'")
            yield
        return
    usual_milliseconds = int(database.obj.timeout * 1000)
    database.execute_sql("PRAGMA busy_timeout = 0")
    try:
        with database.atomic():
            yield
    finally:
        database.execute_sql(f"PRAGMA busy_timeout = {usual_milliseconds}")


class Outage:
    """The state of a database outage. The log gets its start and its end, but not each failed call."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._is_on = False
        self._is_of_writes = False

    def begin(self, error: Exception, *, is_write: bool) -> None:
        """Record a call that failed because of the database."""
        with self._lock:
            if not self._is_on:
                log.error("database unavailable", reason=one_line(error))
                self._is_on, self._is_of_writes = True, is_write

    def end(self, *, is_write: bool) -> None:
        """Record a call that succeeded.

        A read proves nothing about writes, because it succeeds while another process holds the lock.
        """
        if not self._is_on:
            return
        with self._lock:
            if self._is_on and (is_write or not self._is_of_writes):
                log.info("database available again")
                self._is_on = False


def _has_unread_data() -> bool:
    """Return whether the server has sent data. This check needs no round trip."""
    waiting = select.poll()
    waiting.register(database.connection().fileno(), select.POLLIN)
    return bool(waiting.poll(0))


def _drop_if_dead() -> None:
    try:
        database.execute_sql("SELECT 1")
    except TRANSIENT_ERRORS:
        disconnect()
