"""A SQLite database and the files beside it: one user's alone, or shared by a group where that is wanted."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.db.connection import database, disconnect
from models.db.lock import database_lock
from models.db.schema import open_database
from tests.support.programs import go_on, program
from tests.support.rows import new_seller

DAEMON, WEB, GROUP = 61001, 61002, 61000
"""Users and a group that the system has no names for."""

AS_USER = """
import os, sys
from datetime import UTC, datetime
from models.db.connection import database, disconnect
from models.db.lock import database_lock
from models.db.schema import open_database
from models.seller import Seller

url, name, user, group = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
os.umask(0o077)
os.setgroups([])
os.setresgid(group, group, group)
os.setresuid(user, user, user)
open_database(url)
Seller.create(id=name, api_key_hash=name, webhook_secret="x", created_at=datetime.now(UTC))
print("ready", flush=True)
sys.stdin.readline()
print(",".join(seller.id for seller in Seller.select().order_by(Seller.id)))
disconnect()
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that other users can reach, as pytest's own can't be."""
    made = Path(tempfile.mkdtemp(prefix="nodetill-files-"))
    yield made
    disconnect()
    shutil.rmtree(made)


def modes(directory: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}


@pytest.mark.parametrize(
    ("of_directory", "of_files"),
    [(0o700, 0o600), (0o2700, 0o600), (0o770, 0o600), (0o2750, 0o600), (0o2770, 0o660)],
)
def test_files_are_shared_where_their_directory_is(directory: Path, of_directory: int, of_files: int) -> None:
    """The set-group-ID bit and the group's right to write, both: one of them alone means nothing."""
    directory.chmod(of_directory)
    umask = os.umask(0o077)
    try:
        open_database(f"sqlite:///{directory / 'till.db'}")
        new_seller()
        lock = database_lock("daemon")
        assert lock.acquire()
        found = modes(directory)
        lock.release()
    finally:
        os.umask(umask)
    assert set(found) >= {"till.db", "till.db-wal", "till.db-shm", "till.db.daemon.lock"}
    assert set(found.values()) == {of_files}


def test_a_file_that_is_there_keeps_its_mode(directory: Path) -> None:
    """The operator has the last word."""
    directory.chmod(0o2770)
    path = directory / "till.db"
    path.touch()
    path.chmod(0o600)
    open_database(f"sqlite:///{path}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert database.obj is not None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
@pytest.mark.parametrize("first", [DAEMON, WEB])
def test_two_users_work_on_one_database(directory: Path, first: int) -> None:
    """The daemon's and the web server's, whichever comes first, at the same time and one after the other."""
    os.chown(directory, DAEMON, GROUP)
    directory.chmod(0o2770)
    url = f"sqlite:///{directory / 'till.db'}"
    second = WEB if first == DAEMON else DAEMON
    with (
        program(AS_USER, url, "a", str(first), str(GROUP)) as one,
        program(AS_USER, url, "b", str(second), str(GROUP)) as other,
    ):
        assert go_on(one) == "a,b\n"
        assert go_on(other) == "a,b\n"
    with program(AS_USER, url, "c", str(second), str(GROUP)) as again:
        assert go_on(again) == "a,b,c\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
def test_a_third_user_reads_nothing(directory: Path) -> None:
    """Who is not in the group does not even see the files."""
    os.chown(directory, DAEMON, GROUP)
    directory.chmod(0o2770)
    with program(AS_USER, f"sqlite:///{directory / 'till.db'}", "a", str(DAEMON), str(GROUP)) as one:
        go_on(one)
    for path in (directory, *directory.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0
