"""A Nodetill as it is operated, with as many addresses in its table as a benchmark needs."""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.database import connect, fill, value
from bench.load import Load
from regtest.installation import Installation
from regtest.process import Process

SELLER = "bench"
AMOUNT_EUR, AMOUNT_SATS = "5.00", 10_000
FIRST_ADDRESS_ID = 2
"""The id of the first made-up address."""
SPARE = 10
TRIES, TRY_SECONDS = 20, 0.5


@dataclass(frozen=True, slots=True)
class Request:
    """A payment request that waits for AMOUNT_SATS."""

    reference: str
    script: bytes


class Site:
    """One installation, which runs for a round of measurements at a time."""

    def __init__(
        self,
        load: Load,
        directory: Path,
        address_count: int,
        request_count: int,
        *,
        webhook_url: str | None = None,
    ) -> None:
        """Fill the table up to `address_count`; `request_count` is the most requests made at once."""
        self.database = directory / "nodetill.db"
        self._load = load
        self._installation = Installation(
            load.node,
            directory,
            ADDRESS_POOL=str(request_count + SPARE),
            MAX_OPEN_REQUESTS="0",
            MAX_REQUESTS_PER_MINUTE="0",
        )
        with self._installation as installation:
            installation.start()
            webhook = ["--webhook-url", webhook_url] if webhook_url else []
            self.key = installation.manage_json("seller", "add", SELLER, *webhook)["api_key"]
        self._client = self._installation.client(self.key)
        fill_addresses(self.database, address_count)

    @contextmanager
    def running(self) -> Iterator[Process]:
        """Run the daemon and the web server."""
        with self._installation:
            self._installation.start()
            yield self._installation.daemon

    @property
    def daemon(self) -> Process:
        return self._installation.daemon

    @property
    def web(self) -> Process:
        return self._installation.web

    @property
    def port(self) -> int:
        """The web server's port."""
        return int(self._installation.environ["WEB_PORT"])

    def requests(self, count: int) -> list[Request]:
        """Make payment requests at addresses of the wallet."""
        made = [self._create() for _ in range(count)]
        return [Request(row["payment_request_id"], self._load.script(row["address"])) for row in made]

    def status_page(self) -> tuple[str, str]:
        """Return the status path of a new payment request's checkout page, and its ETag."""
        path = f"/pay/{self._create()['payment_request_id']}/status"
        return path, self._client.get(path).headers["ETag"]

    def _create(self) -> dict[str, Any]:
        body = {"seller_id": SELLER, "amount_fiat": AMOUNT_EUR, "currency": "EUR"}
        for _ in range(TRIES):
            answer = self._client.post("/api/v1/payments", body)
            if answer.status != 503:
                break
            # A server that has just started may not be ready to give an address.
            time.sleep(TRY_SECONDS)
        assert answer.status == 201, answer.document
        document: dict[str, Any] = answer.document
        return document


def fill_addresses(database: Path, address_count: int, *, is_free: bool = False) -> None:
    """Add made-up addresses until there are `address_count`, claimed long ago or free."""
    connection = connect(database)
    connection.execute("PRAGMA cache_size = -400000")
    missing = address_count - value(connection, "SELECT count(*) FROM address")
    if missing > 0:
        # The daemon asks the wallet for the oldest and the newest address: those stay its own.
        connection.execute("UPDATE address SET id = id + ? WHERE id >= ?", (address_count, FIRST_ADDRESS_ID))
        rows = _nobody(range(FIRST_ADDRESS_ID, FIRST_ADDRESS_ID + missing), None if is_free else 1)
        fill(connection, "address", "id, script, address, wallet, created_at, claimed_at", rows)
    connection.close()


def _nobody(ids: range, claimed_at: int | None) -> Iterator[tuple[Any, ...]]:
    """Yield rows with random scripts in ascending order, because in random order SQLite needs an hour."""
    step = 2**160 // len(ids)
    for number, row_id in enumerate(ids):
        key = (number * step + secrets.randbelow(step)).to_bytes(20)
        yield row_id, b"\x00\x14" + key, f"bcrt1q{key.hex()}", "nodetill", 1, claimed_at
