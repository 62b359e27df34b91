"""What is physically needed: one durable commit; a block's bytes fetched and parsed."""

import http.client
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from pysqlite3 import dbapi2 as sqlite3

from payments.transaction import parse_block


class Commits:
    """A SQLite database of one table, on the same disk and as durable as Nodetill's."""

    def __init__(self, directory: Path) -> None:
        self._connection = sqlite3.connect(directory / "floor.db", isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = wal")
        self._connection.execute("PRAGMA synchronous = full")
        self._connection.execute("CREATE TABLE IF NOT EXISTS message (id INTEGER PRIMARY KEY, raw BLOB)")

    def store(self, raw: bytes) -> None:
        """One transaction of one row."""
        self._connection.execute("INSERT INTO message (raw) VALUES (?)", (raw,))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()


def fetch_and_parse(connection: http.client.HTTPConnection, block_hash: str) -> float:
    """The seconds that it takes to get a block by REST and to parse it."""
    started = time.perf_counter()
    connection.request("GET", f"/rest/block/{block_hash}.bin")
    block = parse_block(connection.getresponse().read())
    seconds = time.perf_counter() - started
    assert block.hash == block_hash
    return seconds
