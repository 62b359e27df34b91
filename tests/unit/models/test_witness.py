"""The daemon recognises an older copy of its database."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.address import Address
from models.db import witness
from models.db.connection import database, disconnect
from models.db.schema import open_database
from models.db.witness import is_original, renewed_mark


@pytest.fixture
def opened(database_url: str) -> Iterator[str]:
    open_database(database_url)
    yield database_url
    disconnect()


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """Open a SQLite database, and return its path."""
    found = tmp_path / "till.db"
    open_database(f"sqlite:///{found}")
    yield found
    disconnect()


def test_the_same_database_is_no_copy(opened: str) -> None:
    """Each change of the pools makes a new mark, or the same one on PostgreSQL."""
    assert is_original(None)
    mark = renewed_mark(None)
    assert is_original(mark)
    mark = renewed_mark(mark)
    assert is_original(mark)


def test_a_kill_before_the_commit_is_no_restore(opened: str) -> None:
    """The file has the next number already. Commits that fail repeat this number."""
    mark = renewed_mark(None)
    for _ in range(3):
        renewed_mark(mark)
    assert is_original(mark)


def test_a_restored_file_has_a_lower_number(path: Path) -> None:
    old = renewed_mark(None)
    renewed_mark(renewed_mark(old))
    assert not is_original(old)
    assert is_original(renewed_mark(old))


def test_on_a_new_machine_there_is_no_file(path: Path) -> None:
    mark = renewed_mark(None)
    path.with_name("till.db.witness").unlink()
    assert not is_original(mark)


def test_a_restored_directory_has_another_ctime(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """cp -a, tar and rsync keep the other times."""
    mark = renewed_mark(None)
    ours = path.with_name("till.db.witness")
    number, _, ctime = mark.partition(":")
    assert is_original(mark)
    shutil.copy2(ours, path.with_name("copy"))
    path.with_name("copy").replace(ours)
    assert int(ours.stat().st_ctime) - int(ctime) in (0, 1, 2, 3)
    assert not is_original(f"{number}:{int(time.time()) - 60}")


def test_the_file_is_readable_to_its_owner_alone(path: Path) -> None:
    renewed_mark(None)
    assert path.with_name("till.db.witness").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_restored_dump_has_another_table(opened: str) -> None:
    mark = renewed_mark(None)
    database.drop_tables([Address], cascade=True)
    database.create_tables([Address])
    assert not is_original(mark)
    assert witness.renewed_mark(mark) != mark
