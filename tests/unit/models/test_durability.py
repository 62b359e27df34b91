"""What was answered to a client, or sent to anybody, survives a power cut."""

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
from tests.support.rows import NOW, new_payment
from tests.support.waiting import wait_until
from tests.support.web_server import BODY, KEY, open_shop, stock

CALLERS, ENOUGH = 16, 200


@pytest.fixture
def ledger() -> Iterator[FsyncCounter]:
    """What is written to files, and what of it is synced."""
    with FsyncCounter() as opened:
        yield opened


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database with a file."""
    return f"sqlite:///{tmp_path / 'nodetill.db'}"


def test_an_answer_comes_after_the_sync(ledger: FsyncCounter, tmp_path: Path, url: str) -> None:
    """A request that a client knows of is on disk: each has at least one sync of its own."""
    with open_shop(tmp_path, url) as shop:
        for _ in range(5):
            before = ledger.syncs["nodetill.db-wal"]
            assert shop.post("/api/v1/payments", BODY).status == 201
            assert ledger.syncs["nodetill.db-wal"] > before
            assert not ledger.unsynced


def test_a_transaction_of_the_daemon_ends_after_the_sync(
    ledger: FsyncCounter, url: str, tmp_path: Path
) -> None:
    """So an event is on disk before anything is sent of it."""
    open_database(url)
    payment = new_payment()
    before = ledger.syncs["nodetill.db-wal"]
    with unit_of_work("assessed"):
        Event.create(reference="evt_1", payment=payment, revision=1, type="x", created_at=NOW, payload={})
        update_report(assessed_height=1)
    assert ledger.syncs["nodetill.db-wal"] == before + 1
    assert not ledger.unsynced
    disconnect()
    assert {path.name for path in tmp_path.iterdir()} <= {"nodetill.db", "nodetill.db.migrate.lock"}


def test_the_ledger_sees_what_is_not_synced(ledger: FsyncCounter, url: str) -> None:
    """With `synchronous=normal`, often advised with WAL, a commit is not on disk: it is not what we do."""
    open_database(url)
    database.obj.pragma("synchronous", "normal")
    before = ledger.syncs["nodetill.db-wal"]
    update_report(assessed_height=1)
    assert ledger.syncs["nodetill.db-wal"] == before
    assert ledger.unsynced["nodetill.db-wal"] > 0
    disconnect()


def test_what_many_were_answered_outlives_a_kill(tmp_path: Path, database_url: str) -> None:
    """They are written together. Who has an answer has a request; who has none has used up no address."""
    open_database(database_url)
    stock(addresses=2000)
    (port,) = free_ports(1)
    environ = environment({"DATABASE_URL": database_url, "WEB_PORT": str(port)})
    told: list[tuple[str, str]] = []
    body = {"seller_id": "company1", "amount_fiat": "20000", "currency": "SAT"}

    def ask_until_it_is_gone(client: Client) -> None:
        while True:
            try:
                answer = client.post("/api/v1/payments", body)
            except urllib3.exceptions.HTTPError:
                return
            assert answer.status == 201
            told.append((answer.document["payment_request_id"], answer.document["address"]))

    with Process("run_web.py", environ, tmp_path) as server, ThreadPoolExecutor(CALLERS) as callers:
        clients = [Client(f"http://127.0.0.1:{port}", KEY) for _ in range(CALLERS)]
        wait_until(partial(clients[0].try_get, "/health"), what="the web server")
        ends = [callers.submit(ask_until_it_is_gone, client) for client in clients]
        wait_until(lambda: len(told) >= ENOUGH)
        server.kill()
        for end in ends:
            end.result()
    rows = {row.reference: row.address.address for row in PaymentRequest.select().join(Address)}
    assert set(told) <= set(rows.items())
    assert len(rows) - len(told) <= CALLERS
    assert free_count() == 2000 - len(rows)
    disconnect()
