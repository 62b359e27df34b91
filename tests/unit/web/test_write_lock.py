"""Calls that write nothing do not wait for SQLite's single writer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import apsw
import pytest

from daemon.chain.mempool import MempoolUpdate, _Outcomes
from daemon.chain.statuses import Assessor
from daemon.chain.watchlist import Watchlist
from daemon.counters import Counters
from models.address import Address
from models.api_key import keys_of
from models.db.connection import database
from models.payment import PaymentRequest
from tests.conftest import sqlite_in
from tests.support.operator_client import PASSWORD, OperatorClient
from tests.support.web_server import NOW, TIP, WebServer, open_shop, settings_of
from web.http.database import Writers

TXID = "ab" * 32


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """Serve a web server on SQLite, whose writers give up at once."""
    monkeypatch.setattr("models.db.connection.LOCK_TIMEOUT_SECONDS", 0.05)
    with open_shop(tmp_path, sqlite_in(tmp_path), {"OPERATOR_PASSWORD": PASSWORD}) as opened:
        yield opened


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the write lock as another process."""
    other = apsw.Connection(str(directory / "nodetill.db"))
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.close()


def test_calls_that_write_nothing_are_answered_while_another_writes(shop: WebServer, tmp_path: Path) -> None:
    """They include a repeated command, a refused one, an outdated form, and a request with an empty pool."""
    made, other = shop.created(), shop.created()
    own = f"/api/v1/payments/{made['payment_request_id']}"
    PaymentRequest.update(is_late=True, status="expired").where(
        PaymentRequest.reference == made["payment_request_id"]
    ).execute()
    shop.create(key="k")
    assert shop.post(f"{own}/transactions", {"txid": TXID}).status == 202
    assert shop.post(f"{own}/accept").status == 200
    cancelled = f"/api/v1/payments/{other['payment_request_id']}/cancel"
    assert shop.post(cancelled).status == 202
    client = OperatorClient(shop)
    client.log_in()
    operator = f"/operator/payments/{made['payment_request_id']}"
    with locked(tmp_path):
        assert shop.post(f"{own}/transactions", {"txid": TXID}).status == 202
        assert shop.post(f"{own}/accept").status == 200
        assert shop.post(f"/api/v1/payments/{other['payment_request_id']}/accept").status == 409
        assert shop.post(cancelled).status == 202
        assert shop.post(f"{own}/cancel").status == 409
        assert shop.create(key="k").status == 200
        assert client.post(f"{operator}/accept").status == 303
        assert client.post(f"{operator}/settle", revision="99").status == 409
        assert client.post("/operator/settle", **{made["payment_request_id"]: "99"}).status == 303
        # A call that writes is refused, so the lock is really held.
        assert shop.post(f"{own}/transactions", {"txid": "cd" * 32}).status == 503
    Address.update(claimed_at=NOW).execute()
    with locked(tmp_path):
        assert shop.create().json["type"].endswith("no-address")
    for number in range(100):
        shop.post(f"{own}/transactions", {"txid": f"{number:064x}"})
    with locked(tmp_path):
        assert shop.post(f"{own}/transactions", {"txid": "ee" * 32}).status == 429


def test_a_read_does_not_wait_to_note_the_use_of_its_key(
    shop: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another writer is at work, the time of the last use stays. Later writers wait as before."""
    waits: list[int] = []
    noted = Writers.run_if_free

    def watched(self: Writers, action: Callable[[], object]) -> bool:
        is_done = noted(self, action)
        waits.append(database.execute_sql("PRAGMA busy_timeout").fetchone()[0])
        return is_done

    monkeypatch.setattr(Writers, "run_if_free", watched)
    with locked(tmp_path):
        assert shop.get("/api/v1/rates").status == 200
        assert keys_of("company1")[0].last_used_at is None
    assert shop.get("/api/v1/rates").status == 200
    assert keys_of("company1")[0].last_used_at == NOW
    assert waits == [50, 50]


def test_the_daemon_needs_no_lock_if_nothing_is_due(shop: WebServer, tmp_path: Path) -> None:
    """There is nothing to assess at an assessed tip, and nothing new in the mempool."""
    shop.created()
    settings = settings_of(tmp_path, sqlite_in(tmp_path))
    assessor = Assessor(settings, lambda: None, Counters())
    assessor.assess_due(TIP, NOW, NOW)
    with locked(tmp_path):
        assert assessor.assess_due(TIP, NOW, NOW) == 0
        MempoolUpdate(_Outcomes(), [], True, Watchlist()).apply_in_transaction()
    assert assessor.assess_due(TIP, NOW + timedelta(days=1), NOW + timedelta(days=1)) == 1
