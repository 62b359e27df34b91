"""A Nodetill as it is operated, with as many addresses in its table as a benchmark asks for."""

import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pysqlite3 import dbapi2 as sqlite3

from admin.installation import Installation
from admin.processes import Process
from bench.load import Load, random_script

SELLER = "bench"
AMOUNT_EUR, AMOUNT_SATS = "5.00", 10_000
SPARE = 10


@dataclass(frozen=True, slots=True)
class Request:
    """A payment request that waits for AMOUNT_SATS."""

    reference: str
    script: bytes


class Site:
    """One installation. It is started for a round of measurements, and stopped after it."""

    def __init__(self, load: Load, directory: Path, address_count: int, request_count: int) -> None:
        """Fill the table up to `address_count`; `request_count` is how many requests may be made."""
        self.address_count = address_count
        self.database = directory / "nodetill.db"
        self._load = load
        self._installation = Installation(load.node, directory, ADDRESS_POOL=str(request_count + SPARE))
        with self._installation as installation:
            installation.start()
            self._key = installation.managed("seller", "add", SELLER)["api_key"]
        fill(self.database, address_count)

    @contextmanager
    def running(self) -> Iterator[Process]:
        """The daemon at work, and the web server."""
        with self._installation:
            self._installation.start()
            yield self._installation.daemon

    def requests(self, count: int) -> list[Request]:
        """Fresh payment requests, made as a shop makes them."""
        client = self._installation.client(self._key)
        body = {"seller_id": SELLER, "amount_fiat": AMOUNT_EUR, "currency": "EUR"}
        made = [client.post("/api/v1/payments", body).document for _ in range(count)]
        return [Request(row["payment_request_id"], self._load.script(row["address"])) for row in made]


def fill(database: Path, address_count: int) -> None:
    """Put addresses of nobody, claimed long ago, into the table."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA cache_size = -400000")
        (present,) = connection.execute("SELECT count(*) FROM address").fetchone()
        # The daemon asks the wallet whether it knows the oldest and the newest: those stay its own.
        connection.execute("UPDATE address SET id = id + ? WHERE id > 1", (address_count,))
        rows = ((number, *_nobody()) for number in range(2, 2 + address_count - present))
        columns = "id, script, address, wallet, created_at, claimed_at"
        connection.executemany(f"INSERT INTO address ({columns}) VALUES (?, ?, ?, 'nodetill', 1, 1)", rows)
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _nobody() -> tuple[bytes, str]:
    return random_script(), f"bcrt1q{secrets.token_hex(18)}"
