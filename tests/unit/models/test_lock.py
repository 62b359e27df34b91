"""One process at a time holds a lock, and it ends with the process, however that ends."""

import signal
import subprocess
from collections.abc import Iterator

import peewee
import psycopg
import pytest

from models.db.connection import database, disconnect, is_sqlite
from models.db.lock import database_lock
from models.db.schema import open_database
from tests.support.programs import go_on, program
from tests.support.waiting import wait_until

HOLDS = """
import sys
from models.db.lock import database_lock
from models.db.schema import open_database
open_database(sys.argv[1])
lock = database_lock("daemon")
assert lock.acquire()
print("ready", flush=True)
sys.stdin.readline()
lock.release()
"""


@pytest.fixture
def opened(database_url: str) -> Iterator[str]:
    """A migrated database; its URL."""
    open_database(database_url)
    yield database_url
    disconnect()


def test_a_lock_that_nobody_has_is_taken_and_given_back(opened: str) -> None:
    """And can be taken again; asking twice doesn't hurt."""
    lock = database_lock("daemon")
    assert not lock.is_held()
    assert lock.acquire()
    assert lock.acquire()
    assert lock.is_held()
    lock.release()
    assert not lock.is_held()
    lock.release()
    assert lock.acquire(wait=True)
    lock.release()


def test_a_lock_is_free_as_soon_as_it_is_given_back(opened: str) -> None:
    """Not a moment later, when the server has noted that the session is over."""
    for _ in range(30):
        lock = database_lock("daemon")
        assert lock.acquire()
        lock.release()


def test_a_lock_that_another_process_has_is_refused_until_it_gives_it_back(opened: str) -> None:
    """And whoever was refused doesn't think that it has it."""
    lock = database_lock("daemon")
    with program(HOLDS, opened) as other:
        assert not lock.acquire()
        assert not lock.is_held()
        assert not lock.acquire()
        go_on(other)
        wait_until(lock.acquire, what="the lock that was given back")
        assert lock.is_held()
        lock.release()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_lock_ends_with_the_process_that_has_it(opened: str, end: signal.Signals) -> None:
    """Killed without a chance to give it back."""
    lock = database_lock("daemon")
    with program(HOLDS, opened) as other:
        assert not lock.acquire()
        other.send_signal(end)
        wait_until(lock.acquire, what="the lock of a killed process")
        lock.release()


WAITS = """
import sys
from models.db.lock import database_lock
from models.db.schema import open_database
open_database(sys.argv[1])
print("ready", flush=True)
lock = database_lock("daemon")
print(lock.acquire(wait=True), lock.is_held(), flush=True)
"""


def test_who_waits_gets_the_lock_when_it_is_given_back(opened: str) -> None:
    """A daemon that stands by takes over."""
    lock = database_lock("daemon")
    assert lock.acquire()
    with program(WAITS, opened) as other:
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(0.2)
        lock.release()
        assert go_on(other) == "True True\n"


def test_the_two_locks_of_a_database_have_nothing_to_do_with_each_other(opened: str) -> None:
    """The web process may migrate while a daemon works."""
    locks = [database_lock("daemon"), database_lock("migrate")]
    assert [lock.acquire() for lock in locks] == [True, True]
    for lock in locks:
        lock.release()


def test_a_second_one_in_the_same_process_is_refused_as_well(opened: str) -> None:
    """It isn't the process that is counted, but who holds it."""
    first, second = database_lock("daemon"), database_lock("daemon")
    assert first.acquire()
    assert not second.acquire()
    first.release()
    wait_until(second.acquire, what="the lock that was given back")
    second.release()
    first.release()


def test_a_lock_is_lost_with_its_session(opened: str) -> None:
    """PostgreSQL restarted: another daemon may have the lock by now, so this one must know. A file stays."""
    lock = database_lock("daemon")
    assert lock.acquire()
    if is_sqlite():
        assert lock.is_held()
        lock.release()
        return
    with psycopg.connect(opened, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
    wait_until(lambda: not lock.is_held(), what="the loss of the lock to be seen")
    wait_until(lock.acquire, what="the lock of the session that ended")
    lock.release()


def test_a_server_that_cannot_be_reached_is_database_trouble(
    opened: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for the lock waits for the server as well."""
    if is_sqlite():
        monkeypatch.setattr(database.obj, "database", "/proc/none/nodetill.db")
        with pytest.raises(peewee.OperationalError, match="is gone"):
            database_lock("daemon").acquire()
    else:
        monkeypatch.setattr(database.obj, "database", "postgresql://127.0.0.1:1/nodetill")
        with pytest.raises(peewee.OperationalError):
            database_lock("daemon").acquire()
