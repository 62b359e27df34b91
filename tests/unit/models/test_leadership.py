"""Of two daemons that both believe in their lock, only the one that took office last can write."""

from collections.abc import Iterator
from threading import Thread

import psycopg
import pytest

from daemon.unit_of_work import unit_of_work
from models.daemon_status import daemon_report, update_report
from models.db.connection import database, disconnect, is_sqlite
from models.db.leadership import LockLost, begin_epoch, check_epoch, end_epoch, fence, node_changed
from models.db.lock import database_lock
from models.db.schema import open_database
from tests.support.postgres import PostgresServer
from tests.support.programs import go_on, program
from tests.support.waiting import wait_until


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    """A migrated database on a server, where a lock can be lost."""
    url = postgres.new_database()
    open_database(url)
    yield url
    end_epoch()
    disconnect()


IN_OFFICE = """
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


def cut_the_lock_s_session(url: str) -> None:
    """The server ends it, and the daemon that had it is not told."""
    with psycopg.connect(url, autocommit=True) as operator:
        operator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )


def test_who_has_lost_the_lock_unknowingly_writes_nothing(url: str) -> None:
    """Its other connections are whole, and it has not looked at its lock since."""
    with program(IN_OFFICE + WRITES_LATER, url) as first:
        cut_the_lock_s_session(url)
        lock = database_lock("daemon")
        wait_until(lock.acquire, what="the lock whose session was cut")
        begin_epoch("a node")
        assert go_on(first) == "lock lost\n"
    assert daemon_report().node_height is None
    with unit_of_work("heartbeat"):
        update_report(node_height=2)
    assert daemon_report().node_height == 2
    lock.release()


def test_nobody_takes_office_while_the_last_one_writes(url: str) -> None:
    """What it has under way is stored before, or not at all."""
    with program(IN_OFFICE + IS_WRITING, url) as first:
        cut_the_lock_s_session(url)
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
        assert go_on(first) == ""
        successor.join()
    assert seen == [1]
    lock.release()


def test_a_daemon_with_another_bitcoind_knows_that_it_is_new_there(url: str) -> None:
    """What is stored of the mempool is another node's word at first. The very first has nobody's."""
    moves = []
    for node in ("a", "a", "b", "b", "a"):
        begin_epoch(node)
        moves.append(node_changed())
    assert moves == [False, False, True, False, True]


def test_only_a_daemon_is_asked_for_its_office(database_url: str) -> None:
    """The tests' own writing, and a daemon on SQLite, whose lock ends with its process alone."""
    open_database(database_url)
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
