"""A Nodetill as it is operated, with as many addresses in its table as a benchmark asks for."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.database import Database, NewDatabase, sqlite_in
from bench.load import Load
from bench.part import Options
from models.db.connection import disconnect
from models.db.schema import open_database
from regtest.child import free_ports
from regtest.installation import Installation
from regtest.process import Process

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

    def __init__(
        self,
        load: Load,
        directory: Path,
        address_count: int,
        request_count: int,
        *,
        webhook_url: str | None = None,
        new_database: NewDatabase = sqlite_in,
    ) -> None:
        """Fill the table up to `address_count`; `request_count` is how many requests may be made at once."""
        self.address_count = address_count
        self.database = new_database(directory)
        self._load = load
        self._installation = Installation(
            load.node,
            directory,
            DATABASE_URL=self.database.url,
            ADDRESS_POOL=str(request_count + SPARE),
            MAX_OPEN_REQUESTS="0",
            MAX_REQUESTS_PER_MINUTE="0",
        )
        with self._installation as installation:
            installation.start()
            webhook = ["--webhook-url", webhook_url] if webhook_url else []
            self.key = installation.managed("seller", "add", SELLER, *webhook)["api_key"]
        self._client = self._installation.client(self.key)
        fill(self.database, address_count)

    @contextmanager
    def running(self) -> Iterator[Process]:
        """The daemon at work, and the web server."""
        with self._installation:
            self._installation.start()
            yield self._installation.daemon

    @contextmanager
    def daemon_alone(self) -> Iterator[None]:
        """The daemon at work, without waiting for anything."""
        with self._installation.daemon:
            yield

    @contextmanager
    def second_web_server(self) -> Iterator[int]:
        """Beside the first, on another core where there are several; its port, which the core goes by."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        apart = [port for port in free_ports(64) if (port - self.port) % cores or cores == 1]
        environ = {**self._installation.environ, "WEB_PORT": str(apart[0])}
        with Process("run_web.py", environ, self._installation.directory, "second_web_server") as server:
            server.wait_for_line("web server started")
            yield apart[0]

    @property
    def daemon(self) -> Process:
        """The daemon's process."""
        return self._installation.daemon

    @property
    def web(self) -> Process:
        """The web server's."""
        return self._installation.web

    @property
    def port(self) -> int:
        """The web server's."""
        return int(self._installation.environ["WEB_PORT"])

    def requests(self, count: int) -> list[Request]:
        """Fresh payment requests, at addresses of the wallet."""
        made = [self._create() for _ in range(count)]
        return [Request(row["payment_request_id"], self._load.script(row["address"])) for row in made]

    def status_page(self) -> tuple[str, str]:
        """What the checkout page of a fresh payment request asks for: its path, and the ETag that it has."""
        path = f"/pay/{self._create()['payment_request_id']}/status"
        return path, self._client.get(path).headers["ETag"]

    def _create(self) -> dict[str, Any]:
        """As a shop does."""
        body = {"seller_id": SELLER, "amount_fiat": AMOUNT_EUR, "currency": "EUR"}
        document: dict[str, Any] = self._client.post("/api/v1/payments", body).document
        return document


def fill(database: Database, address_count: int, *, is_free: bool = False) -> None:
    """Put addresses of nobody into the table until there are so many, claimed long ago or free."""
    with database.connect() as connection:
        if connection.is_sqlite:
            connection.execute("PRAGMA cache_size = -400000")
        present = connection.value("SELECT count(*) FROM address")
        if present >= address_count:
            return
        # The daemon asks the wallet whether it knows the oldest and the newest: those stay its own.
        connection.execute("BEGIN")
        connection.execute("UPDATE address SET id = id + ? WHERE id > 1", address_count)
        rows = _nobody(range(2, 2 + address_count - present), None if is_free else 1)
        connection.fill("address", "id, script, address, wallet, created_at, claimed_at", rows)
        if not connection.is_sqlite:
            connection.execute("SELECT setval('address_id_seq', (SELECT max(id) FROM address))")
        connection.execute("COMMIT")
        connection.settle()


def filled(options: Options, address_count: int) -> Database:
    """A database with so many addresses of nobody; SQLite's is made once a run: ten million take a minute."""
    database = options.new_database(options.shared / str(address_count))
    open_database(database.url)
    disconnect()
    fill(database, address_count)
    return database


def _nobody(ids: range, claimed_at: int | None) -> Iterator[tuple[Any, ...]]:
    """Rows of addresses, as random as real ones but in order: ten million at random take an hour."""
    step = 2**160 // max(len(ids), 1)
    for number, row_id in enumerate(ids):
        key = (number * step + secrets.randbelow(step)).to_bytes(20)
        yield row_id, b"\x00\x14" + key, f"bcrt1q{key.hex()}", "nodetill", 1, claimed_at
