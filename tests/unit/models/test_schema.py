"""Migrations alone make the schema, and constraints refuse impossible rows."""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import peewee
import pytest

import models
from models.address import Address, claim_address, free_count
from models.api_key import REFERENCE, ApiKey, add_key, key_holder, keys_of
from models.block import Block
from models.command import DaemonCommand
from models.daemon_status import DaemonReport, daemon_report
from models.db import schema
from models.db.connection import (
    DatabaseError,
    Table,
    UtcDateTimeField,
    database,
    disconnect,
    from_microseconds,
    is_sqlite,
    with_paramstyle,
)
from models.outbox import Event, Message
from models.output import Output, WatchedOutpoint
from models.payment import PaymentRequest
from models.rate import Rate
from models.seller import Seller
from models.wallet import Wallet
from tests.support.programs import run_program
from tests.support.rows import (
    BLOCK_HASH,
    NOW,
    TXID,
    new_address,
    new_event,
    new_key,
    new_message,
    new_output,
    new_payment,
    new_seller,
    script,
)

REFUSED = peewee.IntegrityError


@pytest.fixture
def opened(empty_database_url: str) -> Iterator[str]:
    """Open a migrated database, and return its URL."""
    schema.open_database(empty_database_url)
    yield empty_database_url
    disconnect()


# Migrations


def applied_migrations() -> list[str]:
    return [
        name for (name,) in database.execute_sql("SELECT name FROM schema_migration ORDER BY name").fetchall()
    ]


def test_an_empty_database_is_migrated_once(opened: str) -> None:
    """A second start keeps the rows."""
    new_payment()
    done = applied_migrations()
    assert done[0] == "0001_initial"
    disconnect()
    schema.open_database(opened)
    assert applied_migrations() == done
    assert PaymentRequest.select().count() == 1


OPENS = """
import sys
from models.db.schema import open_database
print("ready", flush=True)
sys.stdin.readline()
open_database(sys.argv[1])
"""


def test_processes_that_start_together_migrate_once(empty_database_url: str) -> None:
    """Daemon and web server may start at the same time with a new database."""
    with ExitStack() as stack:
        processes = [stack.enter_context(run_program(OPENS, empty_database_url)) for _ in range(3)]
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        assert [process.wait(60) for process in processes] == [0, 0, 0]
    schema.open_database(empty_database_url)
    assert len(applied_migrations()) == len(list(schema.MIGRATIONS.glob("[0-9]*.py")))
    disconnect()


def test_a_database_of_a_newer_version_is_refused(opened: str) -> None:
    """The message names the unknown migration, because an older program could damage its data."""
    database.execute_sql(
        "INSERT INTO schema_migration (name, applied) VALUES ('9999_future', '2030-01-01 00:00:00')"
    )
    disconnect()
    with pytest.raises(DatabaseError, match=r"newer Nodetill.*9999_future"):
        schema.open_database(opened)


def test_a_database_of_the_first_version_is_migrated_with_its_rows(
    empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as then:
        (tmp_path / "0001_initial.py").write_text((schema.MIGRATIONS / "0001_initial.py").read_text())
        then.setattr(schema, "MIGRATIONS", tmp_path)
        schema.open_database(empty_database_url)
        database.execute_sql("INSERT INTO daemon_report VALUES (1, 'main', 5, 907000, 907001, '[\"odd\"]')")
        disconnect()
    schema.open_database(empty_database_url)
    report = daemon_report()
    assert (report.assessed_height, report.node_height, report.problems) == (907000, 907001, ["odd"])
    assert report.counters == {}
    disconnect()


def test_the_migration_to_present_since_keeps_the_age_of_outputs(
    empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A live output is present since it was first seen. A dropped output begins anew when it comes back."""
    with monkeypatch.context() as then:
        for path in schema.MIGRATIONS.glob("000[1-5]_*.py"):
            (tmp_path / path.name).write_text(path.read_text())
        then.setattr(schema, "MIGRATIONS", tmp_path)
        schema.open_database(empty_database_url)
        seen_at = Output.first_seen_at.db_value(NOW)
        database.execute_sql(
            "INSERT INTO address (script, address, wallet, created_at) "
            f"VALUES ('{'00' * 22}', 'bcrt1q', 'nodetill', {seen_at})"
        )
        for vout, state in enumerate(("mempool", "dropped")):
            database.execute_sql(
                "INSERT INTO output (address_id, txid, vout, amount_sats, first_seen_at, state) "
                f"VALUES (1, '{TXID}', {vout}, 1000, {seen_at}, '{state}')"
            )
        disconnect()
    schema.open_database(empty_database_url)
    there, gone = Output.select().order_by(Output.vout)
    assert (there.present_since, there.gone_since, there.is_coinbase) == (NOW, None, False)
    assert (gone.present_since, gone.gone_since) == (NOW, NOW)
    disconnect()


def test_addresses_of_before_belong_to_the_wallet_in_bitcoind(
    empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An installation from before wallets of descriptors goes on with its wallet, which is the default."""
    with monkeypatch.context() as then:
        for path in schema.MIGRATIONS.glob("00*.py"):
            if path.name < "0016":
                (tmp_path / path.name).write_text(path.read_text())
        then.setattr(schema, "MIGRATIONS", tmp_path)
        schema.open_database(empty_database_url)
        for number, claimed_at in enumerate((None, 5, None)):
            database.execute_sql(
                with_paramstyle(
                    "INSERT INTO address (script, address, wallet, created_at, claimed_at) "
                    "VALUES (?, ?, 'till', 5, ?)"
                ),
                (script(number), f"bcrt1q{number}", claimed_at),
            )
        database.execute_sql(
            "INSERT INTO seller (id, name, email, api_key_hash, webhook_secret, created_at, webhook_set_by) "
            "VALUES ('company1', '', '', 'x', 'y', 5, 'operator')"
        )
        disconnect()
    schema.open_database(empty_database_url)
    assert [(wallet.id, wallet.name, wallet.is_default) for wallet in Wallet.select()] == [
        (1, "bitcoind", True)
    ]
    assert free_count("till") == 2
    claimed = [claim_address(NOW, "company1") for _ in range(3)]
    assert [address and address.address for address in claimed] == ["bcrt1q0", "bcrt1q2", None]
    new = Wallet.create(name="shop", descriptor="d")
    assert new.id > 1
    disconnect()


def test_requests_of_before_keep_that_they_were_covered_and_confirmed(
    empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their events have both times. An invoice that lost its money is invalid, and not only expired."""
    with monkeypatch.context() as then:
        for path in schema.MIGRATIONS.glob("00*.py"):
            if path.name < "0021":
                (tmp_path / path.name).write_text(path.read_text())
        then.setattr(schema, "MIGRATIONS", tmp_path)
        schema.open_database(empty_database_url)
        database.execute_sql(
            "INSERT INTO seller (id, name, email, api_key_hash, webhook_secret, created_at, webhook_set_by) "
            "VALUES ('company1', '', '', 'x', 'y', 5, 'operator')"
        )
        for number in (1, 2):
            database.execute_sql(
                with_paramstyle(
                    "INSERT INTO address (script, address, wallet, created_at) VALUES (?, ?, 'till', 5)"
                ),
                (script(number), f"bcrt1q{number}"),
            )
            columns = {
                "reference": f"PR-{number}", "seller_id": "company1", "amount_fiat": "1", "currency": "EUR",
                "price": "1", "price_at": 5, "price_source": "fixed", "amount_sats": 1000,
                "tolerance_sats": 0, "address_id": number, "confirmations_required": 1, "created_at": 5,
                "expires_at": 5, "monitored_until": 5, "note": "", "metadata": "{}", "status": "expired",
                "received_sats": 0,
                "due_sats": 1000, "overpaid_sats": 0, "is_late": False, "notified_sats": 0, "revision": 4,
            }  # fmt: skip
            # The text contains only the names above.
            database.execute_sql(
                with_paramstyle(
                    f"INSERT INTO payment_request ({', '.join(columns)}) "
                    f"VALUES ({', '.join('?' * len(columns))})"
                ),
                tuple(columns.values()),
            )
        events = [(1, "received", 7), (2, "confirmed", 8), (3, "reverted", 9), (4, "received", 10)]
        for revision, name, at in events:
            database.execute_sql(
                with_paramstyle(
                    "INSERT INTO event (reference, payment_id, revision, type, created_at, payload) "
                    "VALUES (?, 1, ?, ?, ?, '{}')"
                ),
                (f"evt_{revision}", revision, f"payment.{name}", at),
            )
        disconnect()
    schema.open_database(empty_database_url)
    paid, unpaid = PaymentRequest.select().order_by(PaymentRequest.id)
    assert (paid.first_covered_at, paid.first_confirmed_at) == (from_microseconds(7), from_microseconds(8))
    assert (unpaid.first_covered_at, unpaid.first_confirmed_at) == (None, None)
    assert {paid.order_id, paid.checkout, paid.archived_at, paid.marked, paid.invoice_reported} == {None}
    disconnect()


def test_keys_of_before_go_on_working(
    empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Present and previous keys move to their own table. A removed seller's keys stay without effect."""
    until = NOW + timedelta(hours=1)
    with monkeypatch.context() as then:
        for path in schema.MIGRATIONS.glob("00*.py"):
            if path.name < "0021":
                (tmp_path / path.name).write_text(path.read_text())
        then.setattr(schema, "MIGRATIONS", tmp_path)
        schema.open_database(empty_database_url)
        removed = UtcDateTimeField().db_value(NOW)
        for name, previous, at, removed_at in (
            ("company1", "old1", UtcDateTimeField().db_value(until), None),
            ("company2", "old2", None, None),
            ("company3", None, None, None),
            ("company4", "old4", UtcDateTimeField().db_value(until), removed),
        ):
            database.execute_sql(
                with_paramstyle(
                    "INSERT INTO seller (id, name, email, api_key_hash, previous_api_key_hash, "
                    "previous_api_key_until, webhook_secret, created_at, webhook_set_by, removed_at) "
                    "VALUES (?, 'Alpaca', '', ?, ?, ?, 'y', 5, 'operator', ?)"
                ),
                (name, f"new{name[-1]}", previous, at, removed_at),
            )
        disconnect()
    schema.open_database(empty_database_url)
    holders = {
        name: key.seller.id
        for name in ("new1", "old1", "new2", "old2", "new3", "new4", "old4")
        if (key := key_holder(name, NOW))
    }
    assert holders == {"new1": "company1", "old1": "company1", "new2": "company2", "new3": "company3"}
    assert [key_holder(name, until) is None for name in ("new1", "old1")] == [False, True]
    Seller.update(removed_at=None).execute()
    assert [key_holder(name, NOW) for name in ("new4", "old4")] == [None, None]
    keys = keys_of("company1")
    assert {(key.label, key.permissions, key.expires_at) for key in keys} == {
        ("previous key", None, until),
        ("first key", None, None),
    }
    assert all(REFERENCE.fullmatch(key.reference) for key in keys)
    add_key("company1", NOW)
    assert Seller.get(Seller.id == "company1").name == "Alpaca"
    disconnect()


def test_a_failed_migration_changes_nothing(
    opened: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The earlier migrations remain."""
    disconnect()
    for path in schema.MIGRATIONS.glob("[0-9]*.py"):
        (tmp_path / path.name).write_text(path.read_text())
    (tmp_path / "9999_broken.py").write_text(
        "def up(migrator, db):\n"
        "    db.execute_sql('CREATE TABLE half (id INTEGER)')\n"
        "    db.execute_sql('SELECT 1 FROM nothing')\n"
    )
    monkeypatch.setattr(schema, "MIGRATIONS", tmp_path)
    with pytest.raises(DatabaseError, match="cannot bring the database up to date"):
        schema.open_database(opened)
    assert not database.table_exists("half")
    assert "9999_broken" not in applied_migrations()


# Models and migrations


def all_tables() -> list[type[Table]]:
    for module in pkgutil.walk_packages(models.__path__, "models."):
        importlib.import_module(module.name)
    return [table for table in Table.__subclasses__() if table.__module__.startswith("models.")]


def table_shape(table: type[Table]) -> dict[str, Any]:
    """Return the columns, unique indexes and references of a table, as the database lists them."""
    name = table._meta.table_name
    indexes = database.get_indexes(name)
    return {
        "columns": {(c.name, c.full_type, c.null, c.primary_key) for c in database.get_columns(name)},
        "unique": {tuple(sorted(index.columns)) for index in indexes if index.unique},
        "references": {
            (f.column, f.dest_table, f.dest_column, f.on_delete) for f in database.get_foreign_keys(name)
        },
    }


def test_the_migrated_schema_equals_that_of_the_models(opened: str) -> None:
    """A change of a model without a migration fails here."""
    tables = all_tables()
    migrated = {table._meta.table_name: table_shape(table) for table in tables}
    assert set(database.get_tables()) == {*migrated, "schema_migration"}
    database.drop_tables(tables)
    database.create_tables(tables)
    assert migrated == {table._meta.table_name: table_shape(table) for table in tables}


def test_a_table_with_another_column_has_another_shape(opened: str) -> None:
    """The test above would fail."""
    migrated = table_shape(Seller)
    columns = migrated["columns"]
    assert {name for name, *_ in columns} == {field.column_name for field in Seller._meta.sorted_fields}
    assert ("key_hash",) in table_shape(ApiKey)["unique"]
    database.execute_sql("ALTER TABLE seller ADD COLUMN city VARCHAR(20)")
    assert {name for name, *_ in table_shape(Seller)["columns"] - columns} == {"city"}
    assert table_shape(DaemonCommand)["references"] == {
        ("payment_id", "payment_request", "id", "CASCADE"),
        ("message_id", "message", "id", "CASCADE"),
        ("webhook_id", "webhook", "id", "CASCADE"),
    }


# Constraints


def is_refused(action: Callable[[], object]) -> bool:
    try:
        with database.atomic():
            action()
    except REFUSED:
        return True
    return False


def test_foreign_keys_are_enforced(opened: str) -> None:
    """SQLite enforces them only if each connection requests it."""
    assert is_refused(lambda: new_payment(seller="nobody"))
    assert is_refused(lambda: new_payment(address=4711))
    assert PaymentRequest.select().count() == 0


def test_an_address_is_used_once(opened: str) -> None:
    """It serves one request, and is in the table once, as text and as script."""
    first = new_payment(1)
    assert is_refused(lambda: new_payment(2, address=first.address))
    assert is_refused(lambda: new_address(1))
    other = {"wallet": "nodetill", "created_at": NOW}
    assert is_refused(lambda: Address.create(script=script(1), address="bcrt1qother", **other))
    assert is_refused(lambda: Address.create(script=script(9), address=first.address.address, **other))


def test_an_output_is_stored_once(opened: str) -> None:
    """Another index of the same transaction is another output."""
    payment = new_payment()
    new_output(payment)
    assert is_refused(lambda: new_output(payment))
    assert is_refused(lambda: new_output(new_payment(2)))
    assert not is_refused(lambda: new_output(payment, vout=1))


def test_an_event_is_stored_once_for_each_change(opened: str) -> None:
    """The same type at the same revision is the same event. A reference names one event."""
    payment = new_payment()
    new_event(payment)
    assert is_refused(lambda: new_event(payment, reference="evt_other"))
    assert is_refused(lambda: new_event(payment, revision=2))
    assert not is_refused(lambda: new_event(payment, reference="evt_next", revision=2))


def test_an_event_has_one_message_for_each_channel_and_recipient(opened: str) -> None:
    event = new_event(new_payment())
    new_message(event)
    assert is_refused(lambda: new_message(event))
    assert not is_refused(lambda: new_message(event, channel="webhook", recipient="company1"))


MINED = {"block_hash": BLOCK_HASH, "block_height": 100}


IMPOSSIBLE: list[dict[str, Any]] = [
    {"state": "pending"},
    {"state": ""},
    {"state": "mined"},
    {"state": "mined", "block_hash": BLOCK_HASH},
    {"state": "mempool", **MINED},
    {"state": "mempool", "block_height": 100},
    {"state": "replaced"},
    {"state": "dropped", "replaced_by": TXID},
    {"state": "replaced", "replaced_by": TXID, **MINED},
    {"amount_sats": -1},
    {"amount_sats": None},
    {"first_seen_at": None},
]
POSSIBLE: list[dict[str, Any]] = [
    {"state": "mempool"},
    {"state": "dropped"},
    {"state": "mined", **MINED},
    {"state": "replaced", "replaced_by": TXID},
    {"state": "replaced", "replaced_by": TXID, "replaced_in": BLOCK_HASH},
    {"amount_sats": 0},
    {"amount_sats": 2_100_000_000_000_000},
    {"vout": 2**32 - 1},
]


def test_an_output_in_an_impossible_state_is_refused(opened: str) -> None:
    """Only a mined output has a block, and only a replaced output has a replacement."""
    payment = new_payment()
    for values in IMPOSSIBLE:
        assert is_refused(partial(new_output, payment, **values)), values


def test_an_output_in_each_possible_state_is_stored(opened: str) -> None:
    """The least and the greatest values are accepted, too."""
    payment = new_payment()
    for vout, values in enumerate(POSSIBLE):
        assert not is_refused(partial(new_output, payment, **{"vout": vout, **values})), values


def test_a_request_of_amount_zero_or_with_a_used_key_is_refused(opened: str) -> None:
    """A reference, and a seller's idempotency key, are unique."""
    new_payment(1, idempotency_key="order-1")
    assert is_refused(lambda: new_payment(2, amount_sats=0))
    assert is_refused(lambda: new_payment(2, reference="PR-1"))
    assert is_refused(lambda: new_payment(2, idempotency_key="order-1"))
    assert not is_refused(lambda: new_payment(2, idempotency_key="order-1", seller=new_seller("company2")))
    assert not is_refused(lambda: [new_payment(3), new_payment(4)])


def test_duplicates_in_other_tables_are_refused(opened: str) -> None:
    """The tables have sellers' keys, blocks, watched outpoints, prices and the report."""
    key = new_key(new_seller("company1"))
    other = new_seller("company2")
    assert is_refused(lambda: new_key(other, key_hash="company1"))
    assert is_refused(lambda: new_key(other, reference=key.reference))
    block = {"chainwork": "0" * 64, "mined_at": NOW}
    Block.insert(height=1, hash=BLOCK_HASH, **block).execute()
    assert is_refused(lambda: Block.insert(height=1, hash=TXID, **block).execute())
    assert is_refused(lambda: Block.insert(height=2, hash=BLOCK_HASH, **block).execute())
    spend = {"txid": TXID, "outpoint": b"\x01" * 36, "spending_txid": TXID}
    WatchedOutpoint.insert(spend).execute()
    assert is_refused(lambda: WatchedOutpoint.insert(spend).execute())
    rate = {"source": "kraken", "currency": "EUR", "price": "1", "fetched_at": NOW}
    Rate.insert(rate).execute()
    assert is_refused(lambda: Rate.insert(rate).execute())
    assert is_refused(lambda: DaemonReport.insert(id=2).execute())


def test_rows_that_a_payment_depends_on_cannot_be_deleted(opened: str) -> None:
    payment = new_payment()
    new_output(payment)
    event = new_event(payment)
    new_message(event)
    assert is_refused(payment.seller.delete_instance)
    assert is_refused(payment.address.delete_instance)
    assert is_refused(payment.delete_instance)
    event.delete_instance()
    assert (Message.select().count(), Event.select().count()) == (0, 0)


def test_each_table_names_its_partial_indexes(tmp_path: Path) -> None:
    """Queries take their conditions from there, so each has the condition of its index, word for word."""
    schema.open_database(f"sqlite:///{tmp_path / 'nodetill.db'}")
    query = "SELECT tbl_name, name, sql FROM sqlite_master WHERE type = 'index' AND sql LIKE '%WHERE%'"
    stored = {
        (table, name, sql.partition(" WHERE ")[2])
        for table, name, sql in database.execute_sql(query).fetchall()
        if not sql.startswith("CREATE UNIQUE")
    }
    assert stored == {
        (table._meta.table_name, name, condition)
        for table in all_tables()
        for name, condition in table.partial_indexes.items()
    }
    disconnect()


def test_frequent_queries_use_their_indexes(opened: str) -> None:
    """Queries for pending work must not read all finished work."""
    if not is_sqlite():
        # PostgreSQL reads a small table whole, whatever indexes there are.
        database.execute_sql("SET enable_seqscan = off")
    for query, index in [
        (
            """SELECT id FROM address WHERE wallet_id = coalesce(
                (SELECT wallet_id FROM seller WHERE id = 'a'), (SELECT id FROM wallet WHERE is_default)
            ) AND claimed_at IS NULL AND held_at IS NULL ORDER BY id LIMIT 1""",
            "address_free",
        ),
        ("SELECT id FROM payment_request WHERE reassess_at_height <= 5", "payment_next_height"),
        ("SELECT 1 FROM payment_request WHERE reassess_at_height = 0", "payment_next_height"),
        ("SELECT id FROM payment_request WHERE reassess_at < 5", "payment_next_deadline"),
        (
            "SELECT id FROM message WHERE next_attempt_at IS NOT NULL AND id > 5 ORDER BY id",
            "message_pending",
        ),
        ("SELECT id FROM output WHERE block_hash = 'a'", "output_block"),
        (
            "SELECT * FROM payment_request WHERE link_id = 5 AND received_sats > 0 ORDER BY id DESC LIMIT 20",
            "payment_link_money",
        ),
        (
            "SELECT count(*), sum(link_units) FROM payment_request WHERE link_id = 5 AND received_sats > 0",
            "payment_link_money",
        ),
        (
            "SELECT * FROM payment_request WHERE link_id = 5 AND status = 'new' ORDER BY expires_at LIMIT 30",
            "payment_link_waiting",
        ),
        (
            "SELECT * FROM payment_request WHERE link_id = 5 AND id > 0 ORDER BY id DESC LIMIT 1",
            "payment_link",
        ),
        ("SELECT id FROM payment_request WHERE seller_id = 'a' AND order_id = '4711'", "payment_order"),
        (
            """SELECT k.id FROM api_key k JOIN seller s ON s.id = k.seller_id WHERE k.key_hash = 'a'
            AND k.revoked_at IS NULL AND s.removed_at IS NULL""",
            "api_key_key_hash",
        ),
    ]:
        explain = "EXPLAIN QUERY PLAN" if is_sqlite() else "EXPLAIN"
        plan = database.execute_sql(f"{explain} {query}").fetchall()
        assert index in str(plan), (query, plan)
