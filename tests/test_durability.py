"""What was answered to a client, or sent to anybody, survives a power cut."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.failpoint import transaction
from models.database import database, disconnect
from models.outbox import Event
from models.report import update_report
from models.schema import open_database
from tests.rows import NOW, new_payment
from tests.sync_ledger import SyncLedger
from tests.web_server import BODY, open_shop


@pytest.fixture
def ledger() -> Iterator[SyncLedger]:
    """What is written to files, and what of it is synced."""
    with SyncLedger() as opened:
        yield opened


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database with a file."""
    return f"sqlite:///{tmp_path / 'nodetill.db'}"


def test_an_answer_comes_after_the_sync(ledger: SyncLedger, tmp_path: Path, url: str) -> None:
    """A request that a client knows of is on disk: each has at least one sync of its own."""
    with open_shop(tmp_path, url) as shop:
        for _ in range(5):
            before = ledger.syncs["nodetill.db-wal"]
            assert shop.post("/api/v1/payments", BODY).status == 201
            assert ledger.syncs["nodetill.db-wal"] > before
            assert not ledger.unsynced


def test_a_transaction_of_the_daemon_ends_after_the_sync(
    ledger: SyncLedger, url: str, tmp_path: Path
) -> None:
    """So an event is on disk before anything is sent of it."""
    open_database(url)
    payment = new_payment()
    before = ledger.syncs["nodetill.db-wal"]
    with transaction("assessed"):
        Event.create(reference="evt_1", payment=payment, revision=1, type="x", created_at=NOW, payload={})
        update_report(assessed_height=1)
    assert ledger.syncs["nodetill.db-wal"] == before + 1
    assert not ledger.unsynced
    disconnect()
    assert {path.name for path in tmp_path.iterdir()} <= {"nodetill.db", "nodetill.db.migrate.lock"}


def test_the_ledger_sees_what_is_not_synced(ledger: SyncLedger, url: str) -> None:
    """With `synchronous=normal`, often advised with WAL, a commit is not on disk: it is not what we do."""
    open_database(url)
    database.obj.pragma("synchronous", "normal")
    before = ledger.syncs["nodetill.db-wal"]
    update_report(assessed_height=1)
    assert ledger.syncs["nodetill.db-wal"] == before
    assert ledger.unsynced["nodetill.db-wal"] > 0
    disconnect()
