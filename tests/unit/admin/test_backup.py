"""A backup that cannot be written changes no file, and the error names the next step."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from manage import manage
from models.db.connection import disconnect
from tests.support.prepared_database import open_prepared


@pytest.fixture(autouse=True)
def _disconnected() -> Iterator[None]:
    yield
    disconnect()


def backup(directory: Path, name: str) -> Result:
    environ = {"DATABASE_URL": f"sqlite:///{directory}/nodetill.db"}
    open_prepared(environ["DATABASE_URL"])
    disconnect()
    return CliRunner(env=environ).invoke(manage, ["database", "backup", str(directory / name)])


def test_a_file_that_is_there_already_stays(tmp_path: Path) -> None:
    """The same holds for a link that leads nowhere."""
    (tmp_path / "copy.db").write_text("last week's")
    (tmp_path / "link.db").symlink_to(tmp_path / "nowhere")
    for name in ("copy.db", "link.db"):
        refused = backup(tmp_path, name)
        assert refused.exit_code == 1
        line = f"nodetill: {tmp_path / name} is there already: choose another name\n"
        assert (refused.stdout, refused.stderr) == ("", line)
    assert (tmp_path / "copy.db").read_text() == "last week's"
    assert not list(tmp_path.glob("*.part"))


def test_a_file_that_appears_during_the_copy_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two backups may run at the same time."""
    monkeypatch.setattr("admin.database.backup.os.path.lexists", lambda _path: False)
    (tmp_path / "copy.db").write_text("the other backup's")
    refused = backup(tmp_path, "copy.db")
    assert refused.stderr == f"nodetill: {tmp_path / 'copy.db'} is there already: choose another name\n"
    assert (tmp_path / "copy.db").read_text() == "the other backup's"
    assert not list(tmp_path.glob("*.part"))


def test_the_rest_of_an_interrupted_backup_is_named(tmp_path: Path) -> None:
    """Another backup may still write the file, so the operator decides."""
    (tmp_path / "copy.db.part").write_text("half")
    refused = backup(tmp_path, "copy.db")
    assert "copy.db.part is there already: if no other backup runs, remove this file" in refused.stderr
    assert (tmp_path / "copy.db.part").read_text() == "half"


def test_a_copy_that_cannot_get_its_name_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty file would look like a backup."""

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("admin.database.backup.os.link", refuse)
    monkeypatch.setattr(Path, "replace", refuse)
    assert "cannot write" in backup(tmp_path, "copy.db").stderr
    assert not list(tmp_path.glob("copy*"))


def test_a_file_system_without_links_gets_the_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A USB stick usually has FAT or exFAT, where link() fails with EPERM (link(2))."""

    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", str(source), None, str(target))

    monkeypatch.setattr("admin.database.backup.os.link", refuse)
    done = backup(tmp_path, "copy.db")
    assert (done.exit_code, done.stderr) == (0, "")
    assert (tmp_path / "copy.db").read_bytes().startswith(b"SQLite format 3")
    assert not list(tmp_path.glob("*.part"))
    again = backup(tmp_path, "copy.db")
    assert "is there already" in again.stderr
