"""Data that was sent to a client or in a message survives a power cut."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import urllib3

from daemon.unit_of_work import unit_of_work
from models.address import Address, free_count
from models.daemon_status import update_report
from models.db.connection import database, disconnect
from models.db.schema import open_database
from models.outbox import Event
from models.payment import PaymentRequest
from regtest.child import free_ports
from regtest.client import Client
from regtest.installation import environment
from regtest.process import Process
from tests.support.fsync_counter import FsyncCounter
from tests.support.prepared_database import open_prepared
from tests.support.rows import NOW, new_payment
from tests.support.waiting import wait_until
from tests.support.web_server import BODY, KEY, open_shop, stock

CALLERS, ENOUGH = 16, 200


@pytest.fixture
def fsync_counter() -> Iterator[FsyncCounter]:
    with FsyncCounter() as opened:
        yield opened


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Return the URL of a database in a file."""
    return f"sqlite:///{tmp_path / 'nodetill.db'}"


def test_a_request_is_synced_to_disk_before_its_answer(
    fsync_counter: FsyncCounter, tmp_path: Path, url: str
) -> None:
    with open_shop(tmp_path, url) as shop:
        for _ in range(5):
            before = fsync_counter.syncs["nodetill.db-wal"]
            assert shop.post("/api/v1/payments", BODY).status == 201
            assert fsync_counter.syncs["nodetill.db-wal"] > before
            assert not fsync_counter.unsynced


def test_a_daemon_transaction_is_synced_to_disk(
    fsync_counter: FsyncCounter, url: str, tmp_path: Path
) -> None:
    """An event is on disk before its messages are sent."""
    open_prepared(url)
    payment = new_payment()
    before = fsync_counter.syncs["nodetill.db-wal"]
    with unit_of_work("assessed"):
        Event.create(reference="evt_1", payment=payment, revision=1, type="x", created_at=NOW, payload={})
        update_report(assessed_height=1)
    assert fsync_counter.syncs["nodetill.db-wal"] == before + 1
    assert not fsync_counter.unsynced
    disconnect()
    assert {path.name for path in tmp_path.iterdir()} <= {"nodetill.db", "nodetill.db.migrate.lock"}


def test_the_counter_detects_an_unsynced_commit(fsync_counter: FsyncCounter, url: str) -> None:
    """With `synchronous=normal` a commit is not yet on disk, so the tests above would fail."""
    open_database(url)
    database.obj.pragma("synchronous", "normal")
    before = fsync_counter.syncs["nodetill.db-wal"]
    update_report(assessed_height=1)
    assert fsync_counter.syncs["nodetill.db-wal"] == before
    assert fsync_counter.unsynced["nodetill.db-wal"] > 0
    disconnect()


def test_answered_requests_survive_a_kill(tmp_path: Path, database_url: str) -> None:
    """Requests of several clients are committed together. A client without an answer has used no address."""
    open_prepared(database_url)
    stock(addresses=2000)
    (port,) = free_ports(1)
    environ = environment({"DATABASE_URL": database_url, "WEB_PORT": str(port)})
    answered: list[tuple[str, str]] = []
    body = {"seller_id": "company1", "amount_fiat": "20000", "currency": "SAT"}

    def create_requests_until_the_kill(client: Client) -> None:
        while True:
            try:
                answer = client.post("/api/v1/payments", body)
            except urllib3.exceptions.HTTPError:
                return
            assert answer.status == 201
            answered.append((answer.document["payment_request_id"], answer.document["address"]))

    with Process("run_web.py", environ, tmp_path) as server, ThreadPoolExecutor(CALLERS) as callers:
        clients = [Client(f"http://127.0.0.1:{port}", KEY) for _ in range(CALLERS)]
        wait_until(partial(clients[0].try_get, "/health"), what="the web server")
        ends = [callers.submit(create_requests_until_the_kill, client) for client in clients]
        wait_until(lambda: len(answered) >= ENOUGH)
        server.kill()
        for end in ends:
            end.result()
    rows = {row.reference: row.address.address for row in PaymentRequest.select().join(Address)}
    assert set(answered) <= set(rows.items())
    assert len(rows) - len(answered) <= CALLERS
    assert free_count() == 2000 - len(rows)
    disconnect()
