"""A time limit for the queries of one reader, so that a long search does not block others."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import peewee

from models.db.connection import database, execute, is_sqlite, snapshot

_STEPS_BETWEEN_CHECKS = 1000
"""The steps of SQLite's virtual machine between two checks of the deadline."""


class QueryTooLong(Exception):
    """The database has stopped a query that took too long."""


@contextmanager
def limited_snapshot(seconds: float) -> Iterator[None]:
    """Open a reading transaction that ends after this time. Raise QueryTooLong."""
    deadline = time.monotonic() + seconds
    try:
        with snapshot():
            yield from _sqlite_queries(deadline) if is_sqlite() else _postgres_queries(seconds)
    except peewee.OperationalError as error:
        if time.monotonic() < deadline:
            raise
        raise QueryTooLong(f"a query has taken {seconds:g} s") from error


def _sqlite_queries(deadline: float) -> Iterator[None]:
    connection = database.connection()
    connection.set_progress_handler(lambda: time.monotonic() >= deadline, _STEPS_BETWEEN_CHECKS)
    try:
        yield
    finally:
        connection.set_progress_handler(None, 0)


def _postgres_queries(seconds: float) -> Iterator[None]:
    execute(f"SET LOCAL statement_timeout = {max(int(seconds * 1000), 1):d}")
    yield
