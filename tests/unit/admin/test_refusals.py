"""Commands refuse a missing or damaged database and odd arguments with one sentence."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import apsw
import peewee
import pytest
from click.testing import CliRunner, Result

from manage import manage
from models.db.connection import disconnect
from tests.support.prepared_database import open_prepared

BYTES = "\udcff"
"""The byte FF of a command line, as Python decodes it."""

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    monkeypatch.chdir(tmp_path)
    runner = CliRunner(env={"DATABASE_URL": "sqlite:///nodetill.db"})

    def invoke(*arguments: str, answer: str | None = None) -> Result:
        disconnect()
        result = runner.invoke(manage, arguments, input=answer)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    yield invoke
    disconnect()


@pytest.mark.parametrize(
    "arguments",
    [("backup", "copy.db"), ("copy", "--to", "sqlite:///new.db"), ("retire-pool",)],
    ids=lambda arguments: arguments[0],
)
def test_no_database_is_made_where_there_is_none(
    run: Run, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """In a wrong directory, an empty database would be copied without an error."""
    refused = run("database", *arguments)
    assert refused.exit_code == 1
    assert "there is no database nodetill.db" in refused.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ("payment", "list", "--seller", BYTES),
        ("link", "list", "--search", BYTES),
        ("link", "create", "company1", BYTES, "EUR", "--amount", "10"),
        ("wallet", "default", BYTES),
        ("wallet", "labels", BYTES),
        ("seller", "add", "company1", "--wallet", BYTES),
        ("database", "backup", BYTES),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_bytes_that_are_not_utf_8_are_refused(run: Run, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    open_prepared(f"sqlite:///{tmp_path}/nodetill.db")
    run("seller", "add", "company1")
    refused = run(*arguments, "--json")
    assert refused.exit_code == 2
    assert "not UTF-8" in json.loads(refused.stdout)["error"]


def damage(path: Path, table: str) -> None:
    """Overwrite the first page of a table."""
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("PRAGMA journal_mode = delete")
        size = connection.execute("PRAGMA page_size").get
        page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).get
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


def test_a_damaged_database_is_named(run: Run, tmp_path: Path) -> None:
    """A backup must not blame the place of the copy."""
    open_prepared(f"sqlite:///{tmp_path}/nodetill.db")
    disconnect()
    damage(tmp_path / "nodetill.db", "payment_request")
    refused = run("payment", "list")
    assert refused.exit_code == 1
    assert refused.stderr.startswith("nodetill: the database cannot be read (")
    refused = run("database", "backup", "copy.db")
    assert refused.stderr.startswith("nodetill: the copy is damaged (")
    assert not list(tmp_path.glob("copy*"))


def test_lists_refuse_a_seller_that_does_not_exist(run: Run, tmp_path: Path) -> None:
    """An empty list would look as if the seller had no payments."""
    open_prepared(f"sqlite:///{tmp_path}/nodetill.db")
    for name in ("payment", "link"):
        refused = run(name, "list", "--seller", "compnay1")
        assert (refused.exit_code, "there is no seller compnay1" in refused.stderr) == (1, True)


def test_only_a_seller_that_exists_is_restored(run: Run, tmp_path: Path) -> None:
    """A misspelt id would make a new seller."""
    open_prepared(f"sqlite:///{tmp_path}/nodetill.db")
    refused = run("seller", "add", "compnay1", "--restore")
    assert (refused.exit_code, "there is no seller compnay1 to restore" in refused.stderr) == (1, True)


@pytest.mark.parametrize("seconds", ["nan", "1e400", "-1"])
def test_the_audit_has_a_finite_patience(run: Run, tmp_path: Path, seconds: str) -> None:
    """With another number it would never end."""
    open_prepared(f"sqlite:///{tmp_path}/nodetill.db")
    refused = run("audit", "--patience", seconds)
    assert (refused.exit_code, "--patience" in refused.stderr) == (2, True)


def test_a_database_that_fails_during_the_audit_is_one_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_prepared(f"sqlite:///{tmp_path}/nodetill.db")

    def fail(_audit: object) -> None:
        raise peewee.OperationalError("server closed the connection")

    monkeypatch.setattr("admin.audit.command.Audit.run", fail)
    refused = run("audit")
    assert refused.stderr == (
        "nodetill: the database cannot be used now (server closed the connection); try again\n"
    )


def test_a_refused_confirmation_is_a_json_document(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_prepared(f"sqlite:///{tmp_path}/nodetill.db")
    run("seller", "add", "company1")
    monkeypatch.setattr("admin.cli.is_interactive", lambda: True)
    refused = run("seller", "remove", "company1", "--json", answer="n\n")
    assert refused.exit_code == 1
    assert "not confirmed" in json.loads(refused.stdout)["error"]


def test_chain_follow_without_a_terminal_names_yes(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_prepared(f"sqlite:///{tmp_path}/nodetill.db")
    chains = {"block_hash": "00" * 32, "height": 1, "is_begun_anew": False, "read_height": 2}
    found = {**chains, "fork_height": 1, "outputs_taken_back": 0}
    monkeypatch.setattr("admin.chain._compared", lambda _rpc: found)
    refused = run("chain", "follow", "--json")
    assert refused.exit_code == 1
    assert "add --yes to confirm" in json.loads(refused.stdout)["error"]
