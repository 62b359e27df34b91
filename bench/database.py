"""Fresh databases of both kinds, as a benchmark fills them and looks at them: one SQL for both."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
from pysqlite3 import dbapi2 as sqlite3

from tests.support.postgres import PostgresServer

_SQLITE = "sqlite:///"


class Connection:
    """Each statement, with ? for its parameters, is a transaction of its own where none was begun."""

    def __init__(self, url: str) -> None:
        self.is_sqlite = url.startswith(_SQLITE)
        self._connection: Any = (
            sqlite3.connect(url.removeprefix(_SQLITE), isolation_level=None)
            if self.is_sqlite
            else psycopg.connect(url, autocommit=True)
        )

    def execute(self, query: str, *parameters: Any) -> Any:
        """The driver's cursor."""
        return self._connection.execute(query if self.is_sqlite else query.replace("?", "%s"), parameters)

    def execute_many(self, query: str, rows: Iterable[Sequence[Any]]) -> None:
        """The same statement for each of these rows of parameters."""
        cursor = self._connection.cursor()
        cursor.executemany(query if self.is_sqlite else query.replace("?", "%s"), rows)

    def value(self, query: str, *parameters: Any) -> Any:
        """The first value of the first row; None where there is no row."""
        row = self.execute(query, *parameters).fetchone()
        return row and row[0]

    def fill(self, table: str, columns: str, rows: Iterable[Sequence[Any]]) -> None:
        """Insert many rows, the quickest way."""
        if self.is_sqlite:
            marks = ", ".join("?" * len(columns.split(",")))
            self._connection.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows)
        else:
            with self._connection.cursor().copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)

    def settle(self) -> None:
        """Put what was filled into the state that it has after a while."""
        if self.is_sqlite:
            self.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        else:
            self.execute("VACUUM ANALYZE")
            self.execute("CHECKPOINT")

    def version(self) -> object:
        """Another one after each commit of anybody else; PostgreSQL does not say, so there always."""
        # https://sqlite.org/pragma.html#pragma_data_version
        return self.value("PRAGMA data_version") if self.is_sqlite else object()

    def close(self) -> None:
        """Close it."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Database:
    """One database."""

    url: str

    def connect(self) -> Connection:
        """Raises the driver's errors."""
        return Connection(self.url)

    def beside(self) -> "Database":
        """Another file of SQLite's, which has one writer at a time; the same of PostgreSQL's."""
        return Database(f"{self.url}-floor") if self.url.startswith(_SQLITE) else self


NewDatabase = Callable[[Path], Database]
"""Gives a fresh one; where it is a file, in this directory."""


def sqlite_in(directory: Path) -> Database:
    """A SQLite file."""
    return Database(f"{_SQLITE}{directory / 'nodetill.db'}")


@contextmanager
def _sqlite() -> Iterator[NewDatabase]:
    yield sqlite_in


@contextmanager
def _postgresql() -> Iterator[NewDatabase]:
    # PostgreSQL's own settings: each commit reaches the disk. /tmp may be no disk.
    with PostgresServer(Path("/var/tmp"), settings=()) as server:
        yield lambda _directory: Database(server.new_database())


KINDS: dict[str, Callable[[], AbstractContextManager[NewDatabase]]] = {
    "sqlite": _sqlite,
    "postgresql": _postgresql,
}
