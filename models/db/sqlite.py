"""SQLite by apsw, which brings a SQLite without the WAL-reset bug, and peewee's driver for apsw."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import apsw
from playhouse.apsw_ext import APSWDatabase

Row = tuple[Any, ...]
Description = tuple[tuple[Any, ...], ...]


class SqliteDatabase(APSWDatabase):  # type: ignore[misc] # playhouse has no types
    """peewee's database, whose cursors have read all rows of a query before they return the first row."""

    # A driver overrides this method, by peewee's documentation ("Adding a new Database Driver").
    def _connect(self) -> apsw.Connection:
        connection: apsw.Connection = super()._connect()
        connection.cursor_factory = Cursor
        connection.convert_binding = _converted
        # apsw's SQLite would plan each query with a join anew for each value.
        # (https://sqlite.org/c3ref/c_dbconfig_defensive.html, SQLITE_DBCONFIG_ENABLE_QPSG)
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        # SQLite's own lower() changes only ASCII letters.
        connection.create_scalar_function("unicode_lower", _lower, 1, deterministic=True)
        return connection


class Cursor:
    """A cursor of PEP 249 that reads all rows of a query at once.

    A cursor of apsw keeps its snapshot until its last row is read, and peewee often reads only the first row.
    The connection would then return outdated rows, and SQLite would refuse its writes.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self.description: Description = ()
        """The names of the columns. Without rows it is empty."""
        self.rowcount = 0
        """The rows that the statement has changed, with the rows that foreign keys have changed."""
        self._rows: Iterator[Row] = iter(())

    def execute(self, statement: str, values: Sequence[Any] = ()) -> "Cursor":
        before = self.connection.total_changes()
        cursor = apsw.Cursor(self.connection)
        cursor.execute(statement, values)
        first = cursor.fetchone()
        if first is None:
            self.description, self._rows = (), iter(())
        else:
            # apsw has no description after the last row.
            self.description = cursor.description
            self._rows = iter([first, *cursor])
        self.rowcount = self.connection.total_changes() - before
        return self

    @property
    def lastrowid(self) -> int:
        return int(self.connection.last_insert_rowid())

    def fetchone(self) -> Row | None:
        return next(self._rows, None)

    def fetchall(self) -> list[Row]:
        return list(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return self._rows

    def close(self, _force: bool = False) -> None:
        """Forget the rows."""
        self._rows = iter(())


def copy_to(path: Path, connection: apsw.Connection) -> str:
    """Copy the connection's database into the empty file at `path`. Return the result of SQLite's check."""
    with closing(apsw.Connection(str(path))) as copy:
        with copy.backup("main", connection, "main") as pages:
            pages.step()
        # WAL mode would need a journal beside the file, but the copy is to be one file.
        copy.execute("PRAGMA journal_mode = delete")
        return str(copy.execute("PRAGMA integrity_check").get)


def _converted(_cursor: apsw.Cursor, _number: int, value: object) -> str:
    """Return the time of a migration as text, in the form of earlier versions."""
    if isinstance(value, datetime):
        return str(value)
    raise TypeError(f"SQLite has no type for {type(value).__name__}")


def _lower(*values: Any) -> Any:
    """Return the one text in lower case, and NULL as it is."""
    [text] = values
    return None if text is None else text.lower()
