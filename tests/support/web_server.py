"""A web server on a free port, with a seller, addresses and prices, and an HTTP client for it."""

import http.client
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from config import Settings, load_settings
from models.address import add_addresses
from models.api_key import ApiKey, hash_of, new_key_reference
from models.daemon_status import beat, update_report
from models.db.connection import disconnect
from models.operator_session import store_operator_salt
from models.output import Output
from models.payment import PaymentRequest
from models.rate import store_rates
from models.seller import Seller
from tests.support.prepared_database import open_prepared
from web.app import create_app
from web.greenfield.errors import refusal
from web.http.server import Server
from web.http.threads import Threads

NOW = datetime(2026, 11, 23, 12, 0, 0, 250_000, tzinfo=UTC)
KEY = "nt_company1"
TIP = 907_000
END_SECONDS = 10.0
THREADS = 4
"""Each thread opens a database connection at its first call."""
SALT = b"the salt of each test shop"
BODY = {"seller_id": "company1", "amount_fiat": "135.99", "currency": "EUR"}


@dataclass(frozen=True)
class Reply:
    """A response, with its headers' names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The JSON document of the body, which can be a problem document."""
        assert self.headers["content-type"] in ("application/json", "application/problem+json")
        return json.loads(self.body)


@dataclass
class WebServer:
    """A running web server, the clock that it reads, and a client that calls it."""

    server: Server
    now: datetime = NOW
    common_headers: dict[str, str] = field(default_factory=lambda: {"Authorization": f"Bearer {KEY}"})

    @property
    def port(self) -> int:
        return self.server.addresses[0][1]

    def call(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str | None] | None = None
    ) -> Reply:
        """Send one request on a new connection.

        Bytes are sent unchanged; a header that is None is left out.
        """
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {**self.common_headers, **(headers or {})}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            # A server that refuses a large body ends the connection, and its response can still be read.
            with suppress(BrokenPipeError):
                connection.request(method, path, raw, {k: v for k, v in sent.items() if v is not None})
            answer = connection.getresponse()
            return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path: str, headers: Mapping[str, str | None] | None = None) -> Reply:
        return self.call("GET", path, None, headers)

    def post(self, path: str, body: Any = None, headers: Mapping[str, str | None] | None = None) -> Reply:
        return self.call("POST", path, body, headers)

    def create(self, key: str | None = None, **fields: Any) -> Reply:
        """POST a payment request: BODY with these fields."""
        return self.post("/api/v1/payments", {**BODY, **fields}, {"Idempotency-Key": key})

    def created(self, **fields: Any) -> dict[str, Any]:
        """Create a payment request, and return its document."""
        reply = self.create(**fields)
        assert reply.status == 201, reply.body
        document: dict[str, Any] = reply.json
        return document

    def wait(self, **span: float) -> None:
        """Advance the server's clock."""
        self.now += timedelta(**span)


@contextmanager
def open_shop(
    directory: Path, database_url: str, environ: Mapping[str, str] | None = None, addresses: int = 50
) -> Iterator[WebServer]:
    """Open the database, store the rows of the daemon and the operator, and serve inside the `with` block."""
    settings = load_settings({"DATABASE_URL": database_url, **(environ or {})}, directory)
    open_prepared(database_url, _fill, addresses)
    with serving(settings) as shop:
        yield shop
    disconnect()


def _fill(addresses: int) -> None:
    stock(addresses)
    # A key is derived slowly from password and salt. With the same salt, a process derives the key once.
    store_operator_salt(SALT)


@contextmanager
def serving(settings: Settings) -> Iterator[WebServer]:
    """Run a server on the open database inside the `with` block."""
    shop: WebServer
    threads = Threads(disconnect, THREADS)
    server = Server(create_app(settings, lambda: shop.now), "127.0.0.1", 0, threads, refusal=refusal)
    shop = WebServer(server)
    threading.Thread(target=server.run).start()
    try:
        yield shop
    finally:
        server.stop()
        # No request is under way. The server itself ends some tenths of a second later, beside the next test.
        threads.end(time.monotonic() + END_SECONDS)


def settings_of(directory: Path, database_url: str) -> Settings:
    """Return the default settings with this database."""
    return load_settings({"DATABASE_URL": database_url}, directory)


def stock(addresses: int) -> None:
    """Store a seller, addresses, prices, and the report of a healthy daemon."""
    add_seller("company1", KEY)
    if addresses:
        pool = [(f"bcrt1q{number:038x}", b"\x00\x14" + number.to_bytes(20)) for number in range(addresses)]
        add_addresses(pool, "nodetill", NOW)
    store_rates("kraken", {"EUR": Decimal("61142.30"), "JPY": Decimal("9000000")}, NOW)
    store_rates("bitpay", {"EUR": Decimal("61150.30")}, NOW)
    beat(NOW, TIP, [])
    update_report(assessed_height=TIP, chain="main")


def add_seller(name: str, key: str, removed_at: datetime | None = None) -> None:
    """Store a seller with a key, as `manage.py seller add` does."""
    Seller.create(id=name, created_at=NOW, removed_at=removed_at)
    give_key(name, key)


def give_key(name: str, key: str, **values: Any) -> ApiKey:
    """Store one more key of a seller, by default with all permissions."""
    usual = {"reference": new_key_reference(), "key_hash": hash_of(key), "created_at": NOW}
    row: ApiKey = ApiKey.create(**{**usual, "seller": name, **values})
    return row


def stored(document: Mapping[str, Any]) -> PaymentRequest:
    """Return the row of an answer's document."""
    row: PaymentRequest = PaymentRequest.get(PaymentRequest.reference == document["payment_request_id"])
    return row


def pay(document: Mapping[str, Any], txid: str, amount_sats: int = 1000, **values: Any) -> Output:
    """Store an output to the request's address. The status of the request does not change."""
    row: Output = Output.create(
        address=stored(document).address,
        txid=txid,
        vout=0,
        amount_sats=amount_sats,
        **{"first_seen_at": NOW, "present_since": NOW, "state": "mempool", **values},
    )
    return row
