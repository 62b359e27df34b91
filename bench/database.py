"""SQLite as a benchmark fills it and looks at it."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import apsw

LOCK_TIMEOUT_MS = 5000


def connect(path: Path) -> Any:
    """Open a connection on which each statement is a transaction, unless one was begun."""
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(LOCK_TIMEOUT_MS)
    return connection


def value(connection: Any, query: str, *parameters: Any) -> Any:
    """Return the first value of the first row; None where there is no row."""
    row = connection.execute(query, parameters).fetchone()
    return row and row[0]


def fill(connection: Any, table: str, columns: str, rows: Iterable[Sequence[Any]]) -> None:
    """Insert many rows in one transaction, and bring them from the log into the file."""
    marks = ", ".join("?" * len(columns.split(",")))
    connection.execute("BEGIN")
    connection.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows)
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
