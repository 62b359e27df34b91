"""If two daemons believe that they hold the lock, only the one with the newer epoch can write."""

from collections.abc import Iterator
from threading import Thread

import psycopg
import pytest

from daemon.unit_of_work import unit_of_work
from models.daemon_status import daemon_report, update_report
from models.db.connection import database, disconnect, is_sqlite
from models.db.leadership import LockLost, begin_epoch, check_epoch, end_epoch, fence, node_changed
from models.db.lock import database_lock
from tests.support.postgres import PostgresServer
from tests.support.prepared_database import open_prepared
from tests.support.programs import finish, run_program
from tests.support.waiting import wait_until


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    """Return the URL of a migrated database on a PostgreSQL server, where a lock can be lost."""
    url = postgres.new_database()
    open_prepared(url)
    yield url
    end_epoch()
    disconnect()


BEGINS_EPOCH = """
import sys
from daemon.unit_of_work import unit_of_work
from models.db.lock import database_lock
from models.daemon_status import update_report
from models.db.schema import open_database
from models.db.leadership import LockLost, begin_epoch
open_database(sys.argv[1])
assert database_lock("daemon").acquire()
begin_epoch("a node")
"""
WRITES_LATER = """
print("ready", flush=True)
sys.stdin.readline()
try:
    with unit_of_work("heartbeat"):
        update_report(node_height=1)
except LockLost:
    print("lock lost", flush=True)
"""
IS_WRITING = """
with unit_of_work("heartbeat"):
    update_report(node_height=1)
    print("ready", flush=True)
    sys.stdin.readline()
"""


def end_session_of_the_lock(url: str) -> None:
    """End the session on the server, so that the daemon does not notice it."""
    with psycopg.connect(url, autocommit=True) as operator:
        operator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )


def test_a_daemon_that_lost_its_lock_unnoticed_writes_nothing(url: str) -> None:
    """Its other connections still work, and it has not checked its lock since."""
    with run_program(BEGINS_EPOCH + WRITES_LATER, url) as first:
        end_session_of_the_lock(url)
        lock = database_lock("daemon")
        wait_until(lock.acquire, what="the lock whose session was cut")
        begin_epoch("a node")
        assert finish(first) == "lock lost\n"
    assert daemon_report().node_height is None
    with unit_of_work("heartbeat"):
        update_report(node_height=2)
    assert daemon_report().node_height == 2
    lock.release()


def test_a_new_epoch_waits_for_a_transaction_of_the_old_one(url: str) -> None:
    """The old daemon's transaction is committed first or not at all."""
    with run_program(BEGINS_EPOCH + IS_WRITING, url) as first:
        end_session_of_the_lock(url)
        lock = database_lock("daemon")
        wait_until(lock.acquire, what="the lock whose session was cut")
        seen: list[int | None] = []

        def succeed() -> None:
            begin_epoch("a node")
            seen.append(daemon_report().node_height)
            disconnect()

        successor = Thread(target=succeed)
        successor.start()
        successor.join(0.3)
        assert seen == []
        assert finish(first) == ""
        successor.join()
    assert seen == [1]
    lock.release()


def test_a_change_of_the_bitcoind_is_detected(url: str) -> None:
    """The stored mempool state is another node's. The very first node is no change."""
    moves = []
    for node in ("a", "a", "b", "b", "a"):
        begin_epoch(node)
        moves.append(node_changed())
    assert moves == [False, False, True, False, True]


def test_only_a_daemon_on_postgresql_is_checked_for_its_epoch(database_url: str) -> None:
    """Tests have no epoch, and on SQLite a lock ends only with its process."""
    open_prepared(database_url)
    check_epoch()
    begin_epoch("a node")
    check_epoch()
    if not is_sqlite():
        with psycopg.connect(database_url, autocommit=True) as other:
            other.execute("UPDATE daemon_epoch SET number = number + 1")
        with pytest.raises(LockLost):
            check_epoch()
        with pytest.raises(LockLost), database.atomic():
            fence()
    end_epoch()
    check_epoch()
    disconnect()
