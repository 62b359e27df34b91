"""Only one process at a time holds a lock, and the lock ends with the process."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import peewee
import psycopg
import pytest

from models.db.connection import database, disconnect, is_sqlite
from models.db.lock import database_lock
from tests.support.prepared_database import open_prepared
from tests.support.programs import finish, run_program
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
    """Open a migrated database, and return its URL."""
    open_prepared(database_url)
    yield database_url
    disconnect()


def test_a_free_lock_is_acquired_and_released(opened: str) -> None:
    """It can be acquired again, and a second `acquire` has no effect."""
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


def test_a_released_lock_is_free_at_once(opened: str) -> None:
    """`release` waits until the server has ended the session."""
    for _ in range(30):
        lock = database_lock("daemon")
        assert lock.acquire()
        lock.release()


def test_a_lock_of_another_process_is_refused_until_its_release(opened: str) -> None:
    """After a refusal `is_held` is false."""
    lock = database_lock("daemon")
    with run_program(HOLDS, opened) as other:
        assert not lock.acquire()
        assert not lock.is_held()
        assert not lock.acquire()
        finish(other)
        wait_until(lock.acquire, what="the lock that was given back")
        assert lock.is_held()
        lock.release()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_lock_ends_with_its_process(opened: str, end: signal.Signals) -> None:
    """A killed process cannot release its lock."""
    lock = database_lock("daemon")
    with run_program(HOLDS, opened) as other:
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


def test_a_waiting_process_acquires_a_released_lock(opened: str) -> None:
    """A standby daemon takes over."""
    lock = database_lock("daemon")
    assert lock.acquire()
    with run_program(WAITS, opened) as other:
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(0.2)
        lock.release()
        assert finish(other) == "True True\n"


def test_the_two_locks_of_a_database_are_independent(opened: str) -> None:
    """The web process may migrate while a daemon works."""
    locks = [database_lock("daemon"), database_lock("migrate")]
    assert [lock.acquire() for lock in locks] == [True, True]
    for lock in locks:
        lock.release()


def test_a_second_lock_in_the_same_process_is_refused(opened: str) -> None:
    """A lock belongs to its object, not to its process."""
    first, second = database_lock("daemon"), database_lock("daemon")
    assert first.acquire()
    assert not second.acquire()
    first.release()
    wait_until(second.acquire, what="the lock that was given back")
    second.release()
    first.release()


def test_a_lock_is_lost_with_its_session(opened: str) -> None:
    """After a restart of PostgreSQL another daemon may hold the lock, so `is_held` is false.

    A lock on a file remains.
    """
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
    wait_until(lambda: not lock.is_held(), what="`is_held` to be false")
    wait_until(lock.acquire, what="the lock of the session that ended")
    lock.release()


def test_an_unreachable_server_raises_a_database_error(opened: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon handles this error by waiting for the database."""
    if is_sqlite():
        monkeypatch.setattr(database.obj, "database", "/proc/none/nodetill.db")
        with pytest.raises(peewee.OperationalError, match="is gone"):
            database_lock("daemon").acquire()
    else:
        monkeypatch.setattr(database.obj, "database", "postgresql://127.0.0.1:1/nodetill")
        with pytest.raises(peewee.OperationalError):
            database_lock("daemon").acquire()


def test_a_lock_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    """Root may have made the file by manage.py. The daemon then waits, and logs the reason."""
    open_prepared(f"sqlite:///{tmp_path}/nodetill.db")
    (tmp_path / "nodetill.db.daemon.lock").mkdir()
    try:
        with pytest.raises(peewee.OperationalError, match=r"cannot open .*\.daemon\.lock: Is a directory"):
            database_lock("daemon").acquire()
    finally:
        disconnect()
