"""The database as one call of the web server uses it: a connection that works, and news of its outages."""

import select
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, local

import peewee
import structlog

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
"""Its `identity` tells which file this thread's connection has open."""


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
    except TRANSIENT_ERRORS:
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
    """The writing transactions of one server, one after the other.

    SQLite allows one writer at a time and makes the others poll for their turn. PostgreSQL needs no queue.
    """

    def __init__(self) -> None:
        self._turn = Lock()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all that the block writes, or nothing. Raises peewee.OperationalError after a long wait."""
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
    except TRANSIENT_ERRORS:
        disconnect()
