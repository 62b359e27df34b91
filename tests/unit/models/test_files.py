"""A SQLite database and its files belong to one user, or to a group where the directory allows it."""

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
from tests.support.programs import finish, run_program
from tests.support.rows import new_seller

DAEMON, WEB, GROUP = 61001, 61002, 61000
"""Users and a group without a name in the system."""

AS_USER = """
import os, secrets, sys
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
Seller.create(id=name, created_at=datetime.now(UTC))
print("ready", flush=True)
sys.stdin.readline()
print(",".join(seller.id for seller in Seller.select().order_by(Seller.id)))
disconnect()
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    """Create a directory that other users can enter, which pytest's own directories do not allow."""
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
def test_files_are_shared_only_in_a_shared_directory(
    directory: Path, of_directory: int, of_files: int
) -> None:
    """A directory is shared if it has the set-group-ID bit and the group can write."""
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


def test_an_existing_file_keeps_its_mode(directory: Path) -> None:
    """The operator may choose another mode."""
    directory.chmod(0o2770)
    path = directory / "till.db"
    path.touch()
    path.chmod(0o600)
    open_database(f"sqlite:///{path}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert database.obj is not None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
@pytest.mark.parametrize("first", [DAEMON, pytest.param(WEB, marks=pytest.mark.broad)])
def test_two_users_work_on_one_database(directory: Path, first: int) -> None:
    """Daemon and web server start in either order, and work at the same time or one after the other."""
    os.chown(directory, DAEMON, GROUP)
    directory.chmod(0o2770)
    url = f"sqlite:///{directory / 'till.db'}"
    second = WEB if first == DAEMON else DAEMON
    with (
        run_program(AS_USER, url, "a", str(first), str(GROUP)) as one,
        run_program(AS_USER, url, "b", str(second), str(GROUP)) as other,
    ):
        assert finish(one) == "a,b\n"
        assert finish(other) == "a,b\n"
    with run_program(AS_USER, url, "c", str(second), str(GROUP)) as again:
        assert finish(again) == "a,b,c\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
def test_a_user_outside_the_group_has_no_access(directory: Path) -> None:
    os.chown(directory, DAEMON, GROUP)
    directory.chmod(0o2770)
    with run_program(AS_USER, f"sqlite:///{directory / 'till.db'}", "a", str(DAEMON), str(GROUP)) as one:
        finish(one)
    for path in (directory, *directory.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0
