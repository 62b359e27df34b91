"""`manage.py database copy` moves all rows to another database and checks them, or changes nothing."""

import importlib
import json
import pkgutil
import stat
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import peewee
import pytest
from click.testing import CliRunner, Result

import models
from admin.database import copy as duplicate
from admin.database.copy import TABLES
from manage import manage
from models.address import Address, newest_address_id
from models.block import Block
from models.command import request_redelivery
from models.daemon_status import beat, daemon_report, update_report
from models.db.connection import Table, bind, database, disconnect
from models.db.leadership import DaemonEpoch
from models.db.lock import database_lock
from models.db.witness import is_original, renewed_mark
from models.decision import DecidedBy, DecisionKind, add_decision
from models.delivery import add_delivery
from models.operator_session import FailedLogin, LoginAttempt, OperatorSalt, OperatorSession
from models.output import WatchedOutpoint
from models.payment import payment_by_reference
from models.rate import Rate
from models.seller import Seller
from models.wallet import make_default, wallet_added
from tests.conftest import sqlite_in
from tests.support.postgres import PostgresServer
from tests.support.prepared_database import open_prepared
from tests.support.rows import (
    BLOCK_HASH,
    NOW,
    TXID,
    fill_pool,
    new_event,
    new_key,
    new_link,
    new_message,
    new_output,
    new_payment,
    new_seller,
    new_webhook,
    script,
    webhook_message,
)

Copy = Callable[..., Result]
MANY = 2 * duplicate.BATCH_SIZE + 1
BIG = 2**62
NASTY = "Ünïcødé ☃ \U0001f980 'quoted' \\ %s ? \t\n{}"


def fill() -> None:
    """Store a row in each table, with values that the two kinds of database could treat differently."""
    new_seller("company1", email=NASTY, removed_at=NOW)
    webhook = new_webhook(url="https://shop.example/ü", event_types=[NASTY], is_enabled=False)
    # The rules of most languages order these names differently.
    for name in ("a", "B", "_", "Z9", "z"):
        new_seller(name)
    new_key(
        Seller.get(Seller.id == "a"),
        label=NASTY,
        permissions=["x"],
        last_used_at=NOW,
        expires_at=NOW,
        revoked_at=NOW,
    )
    fill_pool(MANY, first=1000)
    Address.create(
        id=5_000_000_000, script=bytes(range(256)), address="far", wallet="ü", created_at=NOW, claimed_at=None
    )
    paid = new_payment(
        1,
        note=NASTY,
        metadata={"cart": [1, NASTY, None, {"deep": True}]},
        idempotency_key="k",
        idempotency_digest="d" * 64,
        amount_sats=BIG,
        is_late=True,
        received_at=NOW - timedelta(days=20_000),
        txid=TXID,
    )
    link = new_link(1, seller="B", title=NASTY, suggested=["1", "2.50"], due_at=NOW, idempotency_key="k")
    new_payment(2, seller="B", label=None, metadata={}, link=link, counted_sats=BIG, link_units=BIG)
    new_output(paid, state="mined", block_hash=BLOCK_HASH, block_height=7, vout=2**32 - 1, amount_sats=BIG)
    new_output(paid, txid="0" * 64, state="replaced", replaced_by=TXID)
    WatchedOutpoint.create(txid=TXID, outpoint=b"\x00\xff" * 18, spending_txid=TXID)
    WatchedOutpoint.create(txid=TXID, outpoint=b"", spending_txid="0" * 64)
    Block.create(height=7, hash=BLOCK_HASH, chainwork="f" * 64, mined_at=NOW)
    event = new_event(paid, payload={"note": NASTY})
    message = new_message(event, last_error=NASTY, delivered_at=NOW, next_attempt_at=None)
    request_redelivery(message, NOW, database.atomic)
    told = webhook_message(event, webhook, invoice_event={"type": NASTY}, superseded_by=BIG)
    add_delivery(told, NOW, 500, NASTY)
    add_decision(paid, DecisionKind.SETTLED, NOW, DecidedBy.PAGE, NASTY)
    Rate.create(source="kraken", currency="EUR", price="61142.300", fetched_at=NOW)
    Rate.create(source="Kraken", currency="EUR", price="1", fetched_at=NOW)
    beat(NOW, 7, [NASTY])
    make_default(wallet_added("shop", NASTY, bytes(range(256)), "bech32", 5, NOW))
    DaemonEpoch.update(number=41).execute()
    OperatorSalt.create(salt=bytes(range(255, -1, -1)))
    OperatorSession.create(id="s" * 22, expires_at=NOW)
    LoginAttempt.create(client="2001:db8::/64", failures=3, next_at=NOW)
    FailedLogin.create(address="2001:db8::1", tries=3, last_at=NOW)


def contents(url: str) -> dict[str, list[str]]:
    """Return each row of each table, as the tables' own fields read it."""
    open_prepared(url)
    found = {table.__name__: sorted(map(repr, table.select().tuples())) for table in TABLES}
    disconnect()
    return found


@pytest.fixture
def old_url(tmp_path: Path) -> Iterator[str]:
    """Return the DATABASE_URL of a SQLite database with rows in each table."""
    url = sqlite_in(tmp_path)
    open_prepared(url)
    fill()
    disconnect()
    yield url
    disconnect()


@pytest.fixture
def new_url(postgres: PostgresServer) -> str:
    """Return the DATABASE_URL of an empty PostgreSQL database, without a password."""
    return postgres.new_database().replace(":unused@", "@")


def copy(old_url: str, *arguments: str, **environ: str) -> Result:
    result = CliRunner(env={"DATABASE_URL": old_url, **environ}).invoke(
        manage, ["database", "copy", *arguments]
    )
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def refusal(result: Result) -> str:
    """Return the one line with the reason."""
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("nodetill: ")
    return line


def test_each_table_is_copied_after_those_it_refers_to() -> None:
    for module in pkgutil.iter_modules(models.__path__):
        if not module.ispkg:
            importlib.import_module(f"models.{module.name}")
    assert set(TABLES) == {t for t in Table.__subclasses__() if t.__module__.startswith("models.")}
    for number, table in enumerate(TABLES):
        assert set(table._meta.refs.values()) <= set(TABLES[:number])


def test_all_rows_are_copied_unchanged(old_url: str, new_url: str) -> None:
    """The values include bytes, NULLs, many scripts and the largest numbers.

    With --json the rows are counted.
    """
    result = copy(old_url, "--to", new_url, "--json")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    counts: dict[str, Any] = json.loads(result.stdout)["copied"]
    assert all(counts.values())
    assert counts["address"] == MANY + 3
    assert contents(new_url) == contents(old_url)
    assert all(contents(new_url).values())


def test_new_rows_after_a_copy_get_new_ids(old_url: str, new_url: str) -> None:
    """They are above the highest id of the old database."""
    assert copy(old_url, "--to", new_url).exit_code == 0
    open_prepared(new_url)
    highest = newest_address_id()
    fill_pool(1, first=90_000)
    assert Address.get(Address.script == script(90_000)).id == highest + 1 > 5_000_000_000
    late = new_payment(3)
    new_message(new_event(late, type="payment.late"))
    new_output(late, txid="1" * 64)
    found = payment_by_reference("PR-1")
    assert found is not None
    assert found.metadata["cart"][1] == NASTY
    disconnect()


def test_a_copy_back_to_sqlite_is_equal(old_url: str, new_url: str, tmp_path: Path) -> None:
    """Only its owner can read the new file."""
    before = contents(old_url)
    assert copy(old_url, "--to", new_url).exit_code == 0
    back = sqlite_in(tmp_path / "back")
    assert copy(new_url, "--to", back).exit_code == 0
    assert contents(back) == before
    assert stat.S_IMODE((tmp_path / "back" / "nodetill.db").stat().st_mode) == 0o600


def test_the_url_may_come_from_a_file_or_the_environment(old_url: str, new_url: str, tmp_path: Path) -> None:
    """Its password is then on no command line, and no error shows it."""
    (tmp_path / "url").write_text(f"{new_url}\n")
    assert copy(old_url, "--to-file", str(tmp_path / "url")).exit_code == 0
    assert "rows already" in refusal(copy(old_url, DATABASE_COPY_TO=new_url))
    (tmp_path / "url").write_text("postgres//u:secret@h")
    result = copy(old_url, "--to-file", str(tmp_path / "url"))
    assert result.exit_code == 2
    assert "allowed: sqlite:///PATH or postgresql://" in result.stderr
    assert "secret" not in result.output
    assert copy(old_url).exit_code == 2
    assert copy(old_url, "--to-file", str(tmp_path / "nothing")).exit_code == 2


def test_a_new_database_with_a_row_is_refused(old_url: str, new_url: str) -> None:
    """The row stays."""
    open_prepared(new_url)
    new_seller("theirs")
    disconnect()
    assert "the new database has rows already" in refusal(copy(old_url, "--to", new_url))
    assert [row for row in contents(new_url).values() if row] == [
        contents(new_url)["Wallet"],
        contents(new_url)["Seller"],
        contents(new_url)["DaemonEpoch"],
    ]


@pytest.mark.parametrize("busy", ["old", "new"])
def test_a_copy_is_refused_while_a_daemon_works(old_url: str, new_url: str, busy: str) -> None:
    """The daemon may work on either database."""
    open_prepared({"old": old_url, "new": new_url}[busy])
    lock = database_lock("daemon")
    assert lock.acquire()
    disconnect()
    assert f"works on the {busy} database" in refusal(copy(old_url, "--to", new_url))
    lock.release()
    assert copy(old_url, "--to", new_url).exit_code == 0


def test_a_database_of_a_newer_version_is_refused(old_url: str, new_url: str) -> None:
    """This version does not know the meaning of newer tables."""
    open_prepared(new_url)
    database.execute_sql(
        "INSERT INTO schema_migration (name, applied) VALUES ('9999_x', '2030-01-01 00:00:00')"
    )
    disconnect()
    assert "changed by a newer Nodetill" in refusal(copy(old_url, "--to", new_url))


def test_a_move_is_no_restore(old_url: str, new_url: str) -> None:
    """Only an older copy of the database skips addresses. A copy of an older copy stays one."""
    open_prepared(old_url)
    update_report(witness=renewed_mark(None))
    disconnect()
    assert copy(old_url, "--to", new_url).exit_code == 0
    open_prepared(new_url)
    assert is_original(daemon_report().witness)
    assert daemon_report().witness is not None
    disconnect()


def test_a_copy_of_an_older_copy_stays_one(old_url: str, new_url: str) -> None:
    open_prepared(old_url)
    update_report(witness="1:1")
    disconnect()
    assert copy(old_url, "--to", new_url).exit_code == 0
    open_prepared(new_url)
    assert not is_original(daemon_report().witness)
    disconnect()


def test_a_copy_onto_itself_is_refused(old_url: str) -> None:
    """Another spelling of the same file is refused, too."""
    assert "is the old one" in refusal(copy(old_url, "--to", old_url))
    assert "works on the new database" in refusal(
        copy(old_url, "--to", old_url.replace("nodetill.db", "./nodetill.db"))
    )


def test_a_value_that_the_new_database_refuses_leaves_it_empty(old_url: str, new_url: str) -> None:
    """PostgreSQL enforces the length of a text, and SQLite does not."""
    bind(old_url)
    Address.create(script=b"x", address="x" * 200, wallet="", created_at=NOW)
    disconnect()
    assert "nothing was copied" in refusal(copy(old_url, "--to", new_url))
    assert [name for name, rows in contents(new_url).items() if rows] == ["Wallet", "DaemonEpoch"]


def test_a_damaged_file_is_not_copied(old_url: str, new_url: str) -> None:
    """The damage is found while rows are read, and not when the query begins."""
    path = Path(old_url.removeprefix("sqlite:///"))
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xff" * (size // 4))
    assert "nothing was copied: " in refusal(copy(old_url, "--to", new_url))
    assert [name for name, rows in contents(new_url).items() if rows] == ["Wallet", "DaemonEpoch"]


def test_a_changed_row_is_found_and_nothing_kept(
    old_url: str, new_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copy_and_change(source: peewee.Database, target: Any, advance: Callable[[int], None]) -> None:
        duplicate.copy_rows(source, target, advance)
        target.execute_sql("UPDATE payment_request SET note = 'another' WHERE reference = 'PR-2'")

    monkeypatch.setattr("admin.database.command.copy_rows", copy_and_change)
    assert "row 2 of the table payment_request differs from its original" in refusal(
        copy(old_url, "--to", new_url)
    )
    assert [name for name, rows in contents(new_url).items() if rows] == ["Wallet", "DaemonEpoch"]


def test_a_missing_row_is_found(old_url: str, new_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def copy_and_lose(source: peewee.Database, target: Any, advance: Callable[[int], None]) -> None:
        duplicate.copy_rows(source, target, advance)
        target.execute_sql("DELETE FROM rate WHERE source = 'kraken'")

    monkeypatch.setattr("admin.database.command.copy_rows", copy_and_lose)
    assert "row 2 of the table rate differs from its original" in refusal(copy(old_url, "--to", new_url))


def test_an_unreachable_server_is_reported_in_one_line(old_url: str) -> None:
    """The line has no password."""
    line = refusal(copy(old_url, DATABASE_COPY_TO="postgresql://till:secret@127.0.0.1:1/nodetill"))
    assert "cannot open the database" in line
    assert "secret" not in line


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://till:secret@127.0.0.1:1/nodetill",
        "postgresql://till@127.0.0.1:1/nodetill?password=secret",
        "postgresql://till@127.0.0.1:1/nodetill?sslmode=require&sslpassword=secret",
        "postgresql://till:secret@[::1/nodetill",
    ],
)
def test_a_password_on_the_command_line_is_refused(old_url: str, url: str) -> None:
    """Each user of the machine can read a command line. The refusal names the two other ways."""
    result = copy(old_url, "--to", url)
    assert result.exit_code == 2
    assert "secret" not in result.output
    assert "[" in url or ("--to-file" in result.stderr and "DATABASE_COPY_TO" in result.stderr)
