"""What is physically needed: one durable commit; a block's bytes fetched and parsed; its payments stored."""

import http.client
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from bench.database import Database
from models.db.connection import placeholders
from models.payment import ASSESSED
from payments.transaction import Block, parse_block

MINED = ("state", "block_hash", "block_height", "replaced_by", "replaced_in")
"""What a block changes of an output; `ASSESSED` is what it may change of a request."""


class Commits:
    """One table beside Nodetill's database, on the same disk or server and as durable."""

    def __init__(self, database: Database) -> None:
        self._connection = database.beside().connect()
        if self._connection.is_sqlite:
            self._connection.execute("PRAGMA journal_mode = wal")
            self._connection.execute("PRAGMA synchronous = full")
        key, content = ("INTEGER", "BLOB") if self._connection.is_sqlite else ("BIGSERIAL", "BYTEA")
        columns = f"id {key} PRIMARY KEY, raw {content}"
        self._connection.execute(f"CREATE TABLE IF NOT EXISTS bench_floor ({columns})")

    def store(self, raw: bytes) -> None:
        """One transaction of one row."""
        self._connection.execute("INSERT INTO bench_floor (raw) VALUES (?)", raw)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.__exit__(kind, error, trace)


def fetch_and_parse(connection: http.client.HTTPConnection, block_hash: str) -> float:
    """The seconds that it takes to get a block by REST and to parse it."""
    started = time.perf_counter()
    fetched(connection, block_hash)
    return time.perf_counter() - started


def fetched(connection: http.client.HTTPConnection, block_hash: str) -> Block:
    """A block, by REST."""
    connection.request("GET", f"/rest/block/{block_hash}.bin")
    block = parse_block(connection.getresponse().read())
    assert block.hash == block_hash
    return block


def store_again(database: Database, references: Sequence[str]) -> float:
    """The seconds that it takes the driver alone to read what a block changes of these requests and of their
    outputs, and to write it as it is, in one durable commit."""
    paid = f"SELECT address_id FROM payment_request WHERE reference IN ({placeholders(references)})"
    with database.connect() as connection:
        started = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE" if connection.is_sqlite else "BEGIN")
        for table, names in (("output", MINED), ("payment_request", [f.column_name for f in ASSESSED])):
            select = f"SELECT {', '.join(names)}, id FROM {table} WHERE address_id IN ({paid})"
            found = connection.execute(select, *references).fetchall()
            changes = ", ".join(f"{name} = ?" for name in names)
            connection.execute_many(f"UPDATE {table} SET {changes} WHERE id = ?", found)
        connection.execute("COMMIT")
        return time.perf_counter() - started
