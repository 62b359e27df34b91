"""The least that Python does for a new request: its duties by the standard library and the driver alone."""

import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from bench.database import Connection

T = TypeVar("T")

CLAIM = (
    "UPDATE address SET claimed_at = 1 WHERE id = (SELECT id FROM address "
    "WHERE claimed_at IS NULL AND held_at IS NULL ORDER BY id LIMIT 1) RETURNING id"
)
SELLER = "SELECT id, api_key_hash FROM seller WHERE api_key_hash = ? AND removed_at IS NULL"
QUOTES = "SELECT source, price, fetched_at FROM rate WHERE currency = ?"


@dataclass(frozen=True, slots=True)
class ByHand:
    """Makes requests as large as the last one that is stored, one after another: the key looked up and the
    prices, JSON read and written, address and row stored, so many of them a commit.

    `spent` is the processor's seconds for each part; the database's server is none of this process.
    """

    connection: Connection
    key: str
    body: bytes
    spent: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def make(self, count: int, at_once: int) -> float:
        """So many, with `at_once` of them a commit; the seconds that it took."""
        row = self._pattern()
        began = time.perf_counter()
        for first in range(0, count, at_once):
            numbers = range(first, min(first + at_once, count))
            for _ in numbers:
                self._timed("key and price", self._look_up)
                self._timed("JSON", lambda: self._read_and_written(row))
            self._timed("commit", lambda: self.connection.execute("BEGIN"))
            for number in numbers:
                self._timed("address and row", lambda: self._stored(row, number))  # noqa: B023
            self._timed("commit", lambda: self.connection.execute("COMMIT"))
        return time.perf_counter() - began

    def _timed(self, part: str, do: Callable[[], T]) -> T:
        began = time.process_time()
        result = do()
        self.spent[part] += time.process_time() - began
        return result

    def _pattern(self) -> dict[str, Any]:
        found = self.connection.execute("SELECT * FROM payment_request ORDER BY id DESC LIMIT 1")
        row = dict(zip((column[0] for column in found.description), found.fetchone(), strict=True))
        return {name: value for name, value in row.items() if name != "id" and value is not None}

    def _look_up(self) -> None:
        key_hash = hashlib.sha256(self.key.encode()).hexdigest()
        self.connection.execute(SELLER, key_hash).fetchone()
        self.connection.execute(QUOTES, "EUR").fetchall()

    def _read_and_written(self, row: Mapping[str, Any]) -> bytes:
        json.loads(self.body)
        return json.dumps(row).encode()

    def _stored(self, row: Mapping[str, Any], number: int) -> None:
        address_id = self.connection.value(CLAIM)
        fresh = {**row, "reference": f"PR-{time.time_ns():x}{number:06x}", "address_id": address_id}
        marks = ", ".join("?" * len(fresh))
        columns = ", ".join(fresh)
        self.connection.execute(f"INSERT INTO payment_request ({columns}) VALUES ({marks})", *fresh.values())
