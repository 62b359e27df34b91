"""The database of this process, which is SQLite or PostgreSQL, with its safety settings."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import peewee
import psycopg
from psycopg.conninfo import conninfo_to_dict

from models.db.files import open_private
from models.db.sqlite import SqliteDatabase

database = peewee.DatabaseProxy()
"""The database to which every table is bound. `schema.open_database` sets its target."""

LOCK_TIMEOUT_SECONDS = 5

_VALUES_A_STATEMENT = 1000

# A read-only standby of PostgreSQL raises InternalError.
TRANSIENT_ERRORS = (peewee.OperationalError, peewee.InterfaceError, peewee.InternalError)
"""The errors of a database that is locked, full, read-only or gone. They may end without our action."""

_SQLITE_PRAGMAS = {
    "journal_mode": "wal",
    # Every commit must survive a power loss. In WAL mode, NORMAL does not sync at each commit.
    "synchronous": "full",
    "foreign_keys": 1,
    # In KiB, for each of the web server's connections. The system's cache holds the other pages.
    "cache_size": -512,
}
# A machine without power or network sends nothing. Without these settings, the server would keep the locks of
# such a client for two hours, and a client would wait for a lost server for 15 minutes. With these settings
# both sides give up after 2 to 3 s.
_POSTGRES_SESSION = {
    "tcp_keepalives_idle": "1",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "2",
    "tcp_user_timeout": "2000",
    "lock_timeout": f"{LOCK_TIMEOUT_SECONDS}s",
    "idle_in_transaction_session_timeout": "10s",
}
_POSTGRES_CONNECTION = {
    # psycopg tries the addresses of a name in turn. This is the limit for each address.
    "connect_timeout": "3",
    "keepalives_idle": "1",
    "keepalives_interval": "1",
    "keepalives_count": "2",
    "tcp_user_timeout": "2000",
    "options": " ".join(f"-c {name}={value}" for name, value in _POSTGRES_SESSION.items()),
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# One encoder for all documents, because json.dumps creates an encoder for each document.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


class DatabaseError(Exception):
    """The database cannot be used. The message contains the cause and the cure."""


def from_microseconds(microseconds: int) -> datetime:
    """Return the time that a UtcDateTimeField stores as this number."""
    return _EPOCH + timedelta(microseconds=microseconds)


class UtcDateTimeField(peewee.BigIntegerField):
    """An aware UTC datetime, stored as whole microseconds since 1970."""

    def db_value(self, value: datetime | None) -> int | None:
        """Return the microseconds since 1970. Raise ValueError for a naive datetime, which has no zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a datetime needs a time zone")
        return (value - _EPOCH) // timedelta(microseconds=1)

    def python_value(self, value: int | None) -> datetime | None:
        """Return the time in UTC, exact to the microsecond."""
        return None if value is None else from_microseconds(value)


class BytesField(peewee.BlobField):
    """A field that returns bytes from both databases."""

    def python_value(self, value: Any) -> bytes | None:
        """Return bytes, because psycopg returns a memoryview."""
        return None if value is None else bytes(value)


class JsonField(peewee.TextField):
    """A JSON document, stored as text."""

    def db_value(self, value: Any) -> str | None:
        """Return the document as text. Raise ValueError for NaN and Infinity, which are not JSON."""
        return None if value is None else _ENCODER.encode(value)

    def python_value(self, value: str | None) -> Any:
        """Return the document as Python values."""
        return None if value is None else json.loads(value)


_CONVERTED = (UtcDateTimeField, BytesField, JsonField, peewee.BooleanField)
"""The fields whose values differ between Python and the database. Numbers and texts are the same in both."""


class Table(peewee.Model):
    """The base class of all tables."""

    partial_indexes: ClassVar[Mapping[str, str]] = {}
    """The conditions of the partial indexes that migrations create, by the names of the indexes.

    A query uses such an index only if it has the same condition, word for word and without parameters.
    Migrations also create indexes without a condition, by which lists are sorted.
    """

    class Meta:
        database = database
        legacy_table_names = False


T = TypeVar("T", bound=Table)
V = TypeVar("V")

Converter = Callable[[Any], Any]


def bind(url: str) -> peewee.Database:
    """Bind the tables to the database at `url`. Each thread connects at its first query.

    Raise DatabaseError if the file cannot be opened, or if the URL is not valid. Raise it also if the linked
    SQLite can corrupt a database that two processes use.
    """
    target = _sqlite(url) if url.startswith("sqlite:") else _postgres(url)
    database.initialize(target)
    return target


def one_line(error: Exception) -> str:
    """Return the error's message as one line, because PostgreSQL's messages have several lines."""
    return " ".join(str(error).split())


def with_paramstyle(sql: str) -> str:
    """Return SQL that has ? for each parameter, in the form of the open database."""
    return sql.replace("?", database.obj.param)


def statement(text: str, **parts: str | int) -> str:
    """Return the SQL in which each {name} of the text is replaced by its part.

    Text and parts are constants of the program, or are made of names of columns and of ?. Values from outside
    are parameters, and never parts. SQL is put together here alone, so no statement needs an exception from
    the linter's rule against it (S608).
    """
    return text.format(**parts)


def chunked(values: Iterable[V]) -> Iterator[list[V]]:
    """Yield the values in lists that fit into one statement.

    SQLite allows 32,766 parameters (https://sqlite.org/limits.html), and PostgreSQL 65,535.
    """
    remaining = iter(values)
    while batch := list(islice(remaining, _VALUES_A_STATEMENT)):
        yield batch


def execute(query: str, *parameters: Any) -> Any:
    """Run a statement with ? for each parameter. A list stands for all its values, in brackets: "id IN ?".

    Return the cursor, with `fetchall` and `rowcount`.
    """
    if any(isinstance(parameter, list | tuple) for parameter in parameters):
        query, parameters = _with_lists(query, parameters)
    return database.execute_sql(with_paramstyle(query), parameters)


def fetch_all(table: type[T], query: str, *parameters: Any) -> list[T]:
    """Return the rows of one table that a query with ? for each parameter selects, like `Table.raw`.

    `Table.raw` is slower, because it maps the columns to the fields again for each query.
    """
    cursor = execute(query, *parameters)
    columns = tuple(column[0] for column in cursor.description)
    return [row_of(table, columns, values) for values in cursor.fetchall()]


def row_of(table: type[T], columns: tuple[str, ...], values: Sequence[Any]) -> T:
    """Return the row of one table whose columns have these values, as the database returns them.

    A query over several tables uses this function for each of its tables. A column that the query does not
    select has its default.
    """
    names, converters = _readers(table, columns)
    found = dict(zip(names, values, strict=True))
    for name, convert in converters:
        found[name] = convert(found[name])
    return table(**found)


def fetch_one(table: type[T], query: str, *parameters: Any) -> T | None:
    """Return the first row of a query as in `fetch_all`, or None."""
    found = fetch_all(table, query, *parameters)
    return found[0] if found else None


def get_row(table: type[T], row_id: Any) -> T:
    """Return the row with this id, which must exist."""
    [row] = fetch_all(
        table, statement("SELECT * FROM {table} WHERE id = ?", table=table._meta.table_name), row_id
    )
    return row


def insert(table: type[Table], **values: Any) -> int:
    """Insert one row with all of its values, including its defaults. Return its id.

    Each payment uses this function, and peewee's `create` is slower. For the same reason the statement leaves
    out None values, and it has no RETURNING for SQLite, which returns the id without it.
    """
    columns, row = insert_columns(table, values)
    query = statement(
        "INSERT INTO {table} ({columns}) VALUES ?", table=table._meta.table_name, columns=columns
    )
    if is_sqlite():
        return int(execute(query, row).lastrowid)
    return int(execute(f"{query} RETURNING id", row).fetchone()[0])


def insert_columns(table: type[Table], values: Mapping[str, Any]) -> tuple[str, tuple[Any, ...]]:
    """Return the columns and the converted values of an INSERT, without the values that are None."""
    given = {name: value for name, value in values.items() if value is not None}
    columns, converters = _writers(table, tuple(given))
    for name, convert in converters:
        given[name] = convert(given[name])
    return columns, tuple(given.values())


def execute_many(query: str, parameters: Iterable[Sequence[Any]]) -> int:
    """Run a statement once for each sequence of parameters. Return the number of changed rows."""
    return sum(int(execute(query, *values).rowcount) for values in parameters)


def disconnect() -> None:
    """Close this thread's connection, if there is one. The next query opens another connection."""
    if database.obj is not None and not database.is_closed():
        database.close()


def is_sqlite() -> bool:
    """Return whether the open database is SQLite."""
    return isinstance(database.obj, peewee.SqliteDatabase)


def _with_lists(query: str, parameters: Sequence[Any]) -> tuple[str, tuple[Any, ...]]:
    first, *rest = query.split("?")
    text: list[str] = [first]
    values: list[Any] = []
    for parameter, following in zip(parameters, rest, strict=True):
        is_list = isinstance(parameter, list | tuple)
        values += parameter if is_list else [parameter]
        text += [f"({','.join('?' * len(parameter))})" if is_list else "?", following]
    return "".join(text), tuple(values)


@cache
def _readers(table: type[Table], columns: tuple[str, ...]) -> tuple[list[str], list[tuple[str, Converter]]]:
    """Return the fields' names, and a converter for each field that needs one when it is read."""
    fields = [table._meta.columns[column] for column in columns]
    converters = [(field.name, field.python_value) for field in fields if isinstance(field, _CONVERTED)]
    return [field.name for field in fields], converters


@cache
def _writers(table: type[Table], names: tuple[str, ...]) -> tuple[str, list[tuple[str, Converter]]]:
    """Return the columns' names, and a converter for each field that needs one when it is written."""
    fields = [table._meta.fields[name] for name in names]
    converted = (*_CONVERTED, peewee.ForeignKeyField)
    converters = [(field.name, field.db_value) for field in fields if isinstance(field, converted)]
    return ", ".join(field.column_name for field in fields), converters


def _sqlite(url: str) -> SqliteDatabase:
    _refuse_wal_reset_bug(SqliteDatabase.server_version)
    path = Path(url.removeprefix("sqlite:///"))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite would make the file readable to all users. The files -wal and -shm get the main file's mode.
        os.close(open_private(path))
    except OSError as error:
        raise DatabaseError(
            f"cannot open the database {path} ({error.strerror}): "
            "correct DATABASE_URL, or allow the user who runs this program to write there"
        ) from error
    return SqliteDatabase(
        str(path),
        pragmas=_SQLITE_PRAGMAS,
        # A deferred transaction that becomes a writer can fail at once, without a wait for the timeout.
        lock_type="IMMEDIATE",
        timeout=LOCK_TIMEOUT_SECONDS,
    )


def _postgres(url: str) -> peewee.PostgresqlDatabase:
    if not _is_readable(url):
        raise DatabaseError(
            "cannot open the database: its URL is not valid; "
            "in a password, write @ as %40, / as %2F, : as %3A and % as %25"
        )
    return peewee.PostgresqlDatabase(url, prefer_psycopg3=True, **_defaults_beside(url))


def _defaults_beside(url: str) -> dict[str, Any]:
    """Return the connection settings that the URL does not set, such as `?tcp_user_timeout=30000`."""
    given = conninfo_to_dict(url)
    chosen: dict[str, Any] = {n: value for n, value in _POSTGRES_CONNECTION.items() if n not in given}
    if "options" in given:
        # If an option is set twice, the later value counts.
        chosen["options"] = f"{_POSTGRES_CONNECTION['options']} {given['options']}"
    return chosen


def _is_readable(url: str) -> bool:
    """Return whether the URL is valid. PostgreSQL's message on an invalid URL would contain the password."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        return False
    host, port = str(parts.get("host", "")), str(parts.get("port", ""))
    # Several hosts have several ports, such as "5432,5433".
    return "@" not in host and (port == "" or port.replace(",", "").isdecimal())


def _refuse_wal_reset_bug(version: tuple[int, ...]) -> None:
    """Raise DatabaseError for SQLite 3.7.0 to 3.51.2, unless the fix is backported.

    These versions can corrupt a WAL database (https://sqlite.org/wal.html, "WAL-reset bug").
    """
    is_fixed = version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)
    if not is_fixed:
        found = ".".join(map(str, version))
        raise DatabaseError(
            f"SQLite {found} can corrupt a database that two processes use; "
            "install the pinned apsw (make setup), or use PostgreSQL"
        )


def file_identity() -> tuple[int, int] | None:
    """Return the device and inode of the file at SQLite's path now, or None if there is no file."""
    try:
        found = Path(database.obj.database).stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def lock_in_transaction(name: str) -> None:
    """Wait until no other transaction holds the lock of this name, and hold it until this transaction ends.

    SQLite needs no lock, because it has one writing transaction at a time.
    """
    if not is_sqlite():
        execute("SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", name)


def snapshot() -> AbstractContextManager[Any]:
    """Return a reading transaction. All its reads see the same state, and it blocks no writer."""
    return database.atomic("DEFERRED" if is_sqlite() else "REPEATABLE READ")
