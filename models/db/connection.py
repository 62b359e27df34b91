"""The one database of this process: SQLite or PostgreSQL by URL, with its safety settings."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import peewee
import psycopg
from psycopg.conninfo import conninfo_to_dict

from models.db.files import open_private

database = peewee.DatabaseProxy()
"""What every table is bound to; `schema.open_database` gives it its target."""

LOCK_TIMEOUT_SECONDS = 5

_VALUES_A_STATEMENT = 1000

# InternalError is PostgreSQL's read-only standby.
TRANSIENT_ERRORS = (peewee.OperationalError, peewee.InterfaceError, peewee.InternalError)
"""Locked, full, read-only, gone: it may pass by itself."""

_SQLITE_PRAGMAS = {
    "journal_mode": "wal",
    # What a client was told survives a power loss: in WAL mode NORMAL does not sync at each commit.
    "synchronous": "full",
    "foreign_keys": 1,
    # In KiB, of each of the web server's sixteen connections; what is not there the system's cache has.
    "cache_size": -512,
}
# A machine that lost its power or its network says nothing: without these its locks would be held for two
# hours, and who waits for its answer would wait for a quarter of one. Both sides give up after 2 to 3 s.
_POSTGRES_SESSION = {
    "tcp_keepalives_idle": "1",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "2",
    "tcp_user_timeout": "2000",
    "lock_timeout": f"{LOCK_TIMEOUT_SECONDS}s",
    "idle_in_transaction_session_timeout": "10s",
}
_POSTGRES_CONNECTION = {
    # psycopg tries the addresses of a name in turn, each for so long.
    "connect_timeout": "3",
    "keepalives_idle": "1",
    "keepalives_interval": "1",
    "keepalives_count": "2",
    "tcp_user_timeout": "2000",
    "options": " ".join(f"-c {name}={value}" for name, value in _POSTGRES_SESSION.items()),
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# json.dumps makes a new one for each document.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


class DatabaseError(Exception):
    """The database cannot be used; the message says why and what to do."""


def from_microseconds(microseconds: int) -> datetime:
    """What a UtcDateTimeField stores as this number."""
    return _EPOCH + timedelta(microseconds=microseconds)


class UtcDateTimeField(peewee.BigIntegerField):
    """An aware UTC datetime, stored as whole microseconds since 1970."""

    def db_value(self, value: datetime | None) -> int | None:
        """Refuses a naive datetime: its zone would be a guess."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment needs its time zone")
        return (value - _EPOCH) // timedelta(microseconds=1)

    def python_value(self, value: int | None) -> datetime | None:
        """Comes back in UTC, to the microsecond it went in with."""
        return None if value is None else from_microseconds(value)


class BytesField(peewee.BlobField):
    """Bytes that come back as bytes from both databases."""

    def python_value(self, value: Any) -> bytes | None:
        """psycopg hands out memoryviews."""
        return None if value is None else bytes(value)


class JsonField(peewee.TextField):
    """A JSON document, kept as the text it was stored with."""

    def db_value(self, value: Any) -> str | None:
        """Never NaN or Infinity, which are not JSON."""
        return None if value is None else _ENCODER.encode(value)

    def python_value(self, value: str | None) -> Any:
        """Back as dicts, lists, strings and whole numbers."""
        return None if value is None else json.loads(value)


_CONVERTED = (UtcDateTimeField, BytesField, JsonField, peewee.BooleanField)
"""What Python has otherwise than the database; numbers and texts are the same in both."""


class Table(peewee.Model):
    """What all tables share."""

    class Meta:
        database = database
        legacy_table_names = False


T = TypeVar("T", bound=Table)
V = TypeVar("V")

Converter = Callable[[Any], Any]


def bind(url: str) -> peewee.Database:
    """Bind the tables to the database at `url`; a connection comes with each thread's first query.

    Raises DatabaseError where the file cannot be opened or the URL not be read, or where the linked SQLite
    can corrupt a database that two processes use.
    """
    target = _sqlite(url) if url.startswith("sqlite:") else _postgres(url)
    database.initialize(target)
    return target


def one_line(error: Exception) -> str:
    """What it says; PostgreSQL's messages have several lines."""
    return " ".join(str(error).split())


def with_paramstyle(sql: str) -> str:
    """SQL with ? for each parameter, in the form that the open database takes.

    For what every message of the feed asks: the query builder takes ten times as long as the query.
    """
    return sql.replace("?", database.obj.param)


def placeholders(values: Sequence[object]) -> str:
    """A ? for each of these values, as a list in a statement has them."""
    return ",".join("?" * len(values))


def chunked(values: Iterable[V]) -> Iterator[list[V]]:
    """The values in lists of a size that a statement can take: PostgreSQL's has at most 65,535 parameters."""
    waiting = iter(values)
    while batch := list(islice(waiting, _VALUES_A_STATEMENT)):
        yield batch


def fetch_all(table: type[T], query: str, *parameters: Any) -> list[T]:
    """The rows of one table that a query with ? for each parameter selects, as `Table.raw` has them.

    That works out anew for each query which column is which field, and takes five times as long.
    """
    cursor = database.execute_sql(with_paramstyle(query), parameters)
    names, converters = _readers(table, tuple(column[0] for column in cursor.description))
    found = []
    for values in cursor.fetchall():
        row = table(__no_default__=True)
        row.__data__ = dict(zip(names, values, strict=True))
        for name, convert in converters:
            row.__data__[name] = convert(row.__data__[name])
        found.append(row)
    return found


def fetch_one(table: type[T], query: str, *parameters: Any) -> T | None:
    """The first of these rows, if there is one."""
    found = fetch_all(table, query, *parameters)
    return found[0] if found else None


def get_row(table: type[T], row_id: Any) -> T:
    """The row with this id, which is known to be there."""
    # Only the name of a table of ours is put into the text.
    [row] = fetch_all(table, f"SELECT * FROM {table._meta.table_name} WHERE id = ?", row_id)  # noqa: S608
    return row


def new_row(table: type[T], **values: Any) -> T:
    """A row with these values and the table's defaults, not yet stored: `table(…)` sets them one by one."""
    row = table(__no_default__=True)
    row.__data__ = {**table._meta.get_default_dict(), **values}  # type: ignore[no-untyped-call]
    return row


def insert(table: type[Table], **values: Any) -> int:
    """Insert one row with all of its values, defaults too; its id.

    For what each payment stores: `create` takes five times as long. What is None is left out, and RETURNING
    where SQLite knows the id without: with both, to insert a request took seven times as long.
    """
    columns, row = insert_columns(table, values)
    # Only names of our own and marks are put into the text.
    query = f"INSERT INTO {table._meta.table_name} ({columns}) VALUES ({placeholders(row)})"  # noqa: S608
    if is_sqlite():
        return int(database.execute_sql(query, row).lastrowid)
    (row_id,) = database.execute_sql(with_paramstyle(f"{query} RETURNING id"), row).fetchone()
    return int(row_id)


def insert_columns(table: type[Table], values: Mapping[str, Any]) -> tuple[str, tuple[Any, ...]]:
    """The columns that an INSERT lists, and what it writes there: all of these values but the Nones."""
    given = {name: value for name, value in values.items() if value is not None}
    columns, converters = _writers(table, tuple(given))
    for name, convert in converters:
        given[name] = convert(given[name])
    return columns, tuple(given.values())


def execute_many(query: str, parameters: Iterable[Sequence[Any]]) -> int:
    """One statement with ? for each parameter, carried out with each of these; how many rows it changed.

    Beside SQLite it takes half as long as one after another, and PostgreSQL is not waited for after each.
    """
    # peewee has no way to many; its own errors are what our callers wait out.
    with peewee.__exception_wrapper__:  # type: ignore[attr-defined]
        cursor = database.cursor()
        cursor.executemany(with_paramstyle(query), list(parameters))
    return int(cursor.rowcount)


def disconnect() -> None:
    """Close this thread's connection, if it has one; the next query opens another."""
    if database.obj is not None and not database.is_closed():
        database.close()


def is_sqlite() -> bool:
    """Whether the open database is SQLite."""
    return isinstance(database.obj, peewee.SqliteDatabase)


@cache
def _readers(table: type[Table], columns: tuple[str, ...]) -> tuple[list[str], list[tuple[str, Converter]]]:
    """The fields' names, and how those are read that are not taken over as they are."""
    fields = [table._meta.columns[column] for column in columns]
    converters = [(field.name, field.python_value) for field in fields if isinstance(field, _CONVERTED)]
    return [field.name for field in fields], converters


@cache
def _writers(table: type[Table], names: tuple[str, ...]) -> tuple[str, list[tuple[str, Converter]]]:
    """The columns' names, and how those values are written that are not taken over as they are."""
    fields = [table._meta.fields[name] for name in names]
    written_otherwise = (*_CONVERTED, peewee.ForeignKeyField)
    converters = [(field.name, field.db_value) for field in fields if isinstance(field, written_otherwise)]
    return ", ".join(field.column_name for field in fields), converters


def _sqlite(url: str) -> peewee.SqliteDatabase:
    _refuse_wal_reset_bug(peewee.SqliteDatabase.server_version)
    path = Path(url.removeprefix("sqlite:///"))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite would make it readable to all. The files -wal and -shm get the main file's mode.
        os.close(open_private(path))
    except OSError as error:
        raise DatabaseError(
            f"cannot open the database {path} ({error.strerror}): "
            "correct DATABASE_URL, or let the user who runs this write there"
        ) from error
    return peewee.SqliteDatabase(
        str(path),
        pragmas=_SQLITE_PRAGMAS,
        # A deferred transaction that turns into a writer fails at once, whatever the timeout.
        lock_type="IMMEDIATE",
        timeout=LOCK_TIMEOUT_SECONDS,
    )


def _postgres(url: str) -> peewee.PostgresqlDatabase:
    if not _is_readable(url):
        raise DatabaseError(
            "cannot open the database: its URL can't be read; "
            "in a password, write @ as %40, / as %2F, : as %3A and % as %25"
        )
    return peewee.PostgresqlDatabase(url, prefer_psycopg3=True, **_defaults_beside(url))


def _defaults_beside(url: str) -> dict[str, Any]:
    """How to connect, as far as the URL does not say itself: `?tcp_user_timeout=30000`."""
    given = conninfo_to_dict(url)
    chosen: dict[str, Any] = {n: value for n, value in _POSTGRES_CONNECTION.items() if n not in given}
    if "options" in given:
        # Of two that say different things the later one holds.
        chosen["options"] = f"{_POSTGRES_CONNECTION['options']} {given['options']}"
    return chosen


def _is_readable(url: str) -> bool:
    """Whether the parts are what they should be: else PostgreSQL's own message would quote the password."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        return False
    host, port = str(parts.get("host", "")), str(parts.get("port", ""))
    # One for each host, where there are several: "5432,5433".
    return "@" not in host and (port == "" or port.replace(",", "").isdecimal())


def _refuse_wal_reset_bug(version: tuple[int, ...]) -> None:
    """SQLite 3.7.0 to 3.51.2 can corrupt a WAL database (https://sqlite.org/wal.html, "WAL-reset bug")."""
    is_fixed = version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)
    if not is_fixed:
        found = ".".join(map(str, version))
        raise DatabaseError(
            f"SQLite {found} can corrupt a database that two processes use; "
            "install the pinned pysqlite3 (make setup), or use PostgreSQL"
        )


def file_identity() -> tuple[int, int] | None:
    """Return which file is at SQLite's path now, by device and inode; None where there is none."""
    try:
        found = Path(database.obj.database).stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def snapshot() -> AbstractContextManager[Any]:
    """A reading transaction: all that is read in it is of one moment, and it keeps no writer waiting."""
    return database.atomic("DEFERRED" if is_sqlite() else "REPEATABLE READ")
