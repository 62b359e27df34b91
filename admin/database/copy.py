"""The copy of all rows into another database, of the same or the other kind, and their comparison."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import zip_longest
from typing import Any

import apsw
import peewee
import psycopg

from models.address import Address
from models.api_key import ApiKey
from models.block import Block
from models.command import DaemonCommand
from models.daemon_status import DaemonReport
from models.db.connection import Table, statement
from models.db.leadership import DaemonEpoch
from models.decision import Decision
from models.delivery import Delivery
from models.link import Link
from models.operator_session import FailedLogin, LoginAttempt, OperatorSalt, OperatorSession
from models.outbox import Event, Message
from models.output import Output, WatchedOutpoint
from models.payment import PaymentRequest
from models.rate import Rate
from models.seller import Seller
from models.wallet import Wallet
from models.webhook import Webhook

TABLES: tuple[type[Table], ...] = (
    Wallet,
    Seller,
    ApiKey,
    Webhook,
    Address,
    Link,
    PaymentRequest,
    Output,
    WatchedOutpoint,
    Block,
    Event,
    Message,
    Delivery,
    Decision,
    Rate,
    DaemonCommand,
    DaemonReport,
    DaemonEpoch,
    OperatorSalt,
    OperatorSession,
    LoginAttempt,
    FailedLogin,
)
"""Each table comes after the tables that it refers to."""

BATCH_SIZE = 500
"""Rows in one statement. SQLite takes 32,766 parameters, and the widest table has about 40 columns."""

Row = tuple[Any, ...]
Opened = Any
"""A peewee.Database, whose methods have no types."""


class RowMismatch(Exception):
    """A row of the copy differs from its original."""


def row_counts(database: Opened) -> dict[str, int]:
    """Return the number of rows by table, in the order of TABLES."""
    return {_name(table): table.select().count(database) for table in TABLES}


@contextmanager
def write_locked(database: Opened) -> Iterator[None]:
    """Hold a transaction, without a time limit, in which no other process can write to the database."""
    if _is_sqlite(database):
        # The transaction begins with BEGIN IMMEDIATE, and SQLite allows only one writer.
        with database.atomic():
            yield
        return
    database.execute_sql("SET idle_in_transaction_session_timeout = 0")
    with database.atomic():
        database.execute_sql(f"LOCK TABLE {', '.join(map(_name, TABLES))} IN EXCLUSIVE MODE")
        yield


def copy_rows(source: Opened, target: Opened, advance: Callable[[int], None]) -> None:
    """Copy every row of `source` into `target`. Must run inside transactions on both.

    Call `advance` with the number of rows after each statement. Raise peewee.DatabaseError where the target
    refuses a row.
    """
    for table in TABLES:
        columns = [field.column_name for field in table._meta.sorted_fields]
        insert = statement(
            "INSERT INTO {table} ({columns}) VALUES ", table=_name(table), columns=", ".join(columns)
        )
        marks = f"({', '.join([target.param] * len(columns))})"
        table.delete().execute(target)
        for rows in peewee.chunked(_rows(source, table), BATCH_SIZE):
            values = [value for row in rows for value in row]
            target.execute_sql(insert + ", ".join([marks] * len(rows)), values)
            advance(len(rows))
        _set_sequence(target, table)


def compare_rows(source: Opened, target: Opened, advance: Callable[[int], None]) -> None:
    """Raise RowMismatch at the first row that is not the same in both databases."""
    for table in TABLES:
        for number, (ours, theirs) in enumerate(zip_longest(_rows(source, table), _rows(target, table))):
            if ours != theirs:
                raise RowMismatch(f"row {number + 1} of the table {_name(table)} differs from its original")
            if number % BATCH_SIZE == BATCH_SIZE - 1:
                advance(BATCH_SIZE)


def _rows(database: Opened, table: type[Table]) -> Iterator[Row]:
    """Yield every row in the order of its key, with the same Python types for both kinds of database."""
    fields = table._meta.sorted_fields
    columns = ", ".join(field.column_name for field in fields)
    meta: Any = table._meta
    order = ", ".join(_ordered(database, field) for field in meta.get_primary_keys())
    query = statement(
        "SELECT {columns} FROM {table} ORDER BY {order}", columns=columns, table=_name(table), order=order
    )
    booleans = {index for index, field in enumerate(fields) if isinstance(field, peewee.BooleanField)}
    for row in _stream(database, query):
        yield tuple(
            bool(value) if index in booleans else bytes(value) if isinstance(value, memoryview) else value
            for index, value in enumerate(row)
        )


def _stream(database: Opened, query: str) -> Iterator[Row]:
    """Yield the rows one by one. The usual cursors would keep all of them in memory."""
    try:
        if _is_sqlite(database):
            yield from apsw.Cursor(database.connection()).execute(query)
            return
        with database.connection().cursor(name="rows") as cursor:
            cursor.itersize = BATCH_SIZE
            yield from cursor.execute(query)
    except (apsw.Error, psycopg.Error) as error:
        # peewee translates the errors of a query, but not the errors of fetching its rows.
        raise peewee.OperationalError(str(error)) from error


def _ordered(database: Opened, field: Any) -> str:
    """Return the column for ORDER BY. PostgreSQL would else sort text by the rules of a language."""
    is_text = isinstance(field, peewee.CharField | peewee.TextField)
    return (
        f'{field.column_name} COLLATE "C"' if is_text and not _is_sqlite(database) else str(field.column_name)
    )


def _set_sequence(database: Opened, table: type[Table]) -> None:
    """Set the sequence of PostgreSQL's next id after the highest one. SQLite needs no such step."""
    key = table._meta.primary_key
    if isinstance(key, peewee.AutoField) and not _is_sqlite(database):
        name = _name(table)
        highest = statement("(SELECT max({key}) FROM {name})", key=key.column_name, name=name)
        database.execute_sql(
            f"SELECT setval(pg_get_serial_sequence('{name}', '{key.column_name}'), {highest})"
        )


def _name(table: type[Table]) -> str:
    return str(table._meta.table_name)


def _is_sqlite(database: Opened) -> bool:
    return isinstance(database, peewee.SqliteDatabase)
