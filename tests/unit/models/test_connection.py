"""The database is opened safely, and returns values as they were stored."""

import os
import re
import stat
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import apsw
import peewee
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.db import connection as module
from models.db.connection import DatabaseError, bind, database, disconnect, execute, execute_many
from models.db.schema import open_database
from models.db.sqlite import SqliteDatabase
from models.payment import PaymentRequest
from payments.document import payment_document
from payments.status import EventType, Status
from regtest.child import free_ports
from tests.support.needs import examples
from tests.support.postgres import PostgresServer
from tests.support.prepared_database import open_prepared
from tests.support.rows import BLOCK_HASH, NOW, new_event, new_output, new_payment, script


@pytest.fixture
def opened(database_url: str) -> Iterator[str]:
    """Open a migrated database, and return its URL."""
    open_prepared(database_url)
    yield database_url
    disconnect()


@pytest.fixture
def sqlite_path(tmp_path: Path) -> Iterator[Path]:
    """Return the path of a SQLite database that does not exist yet, and whose directory does not exist."""
    yield tmp_path / "var" / "nodetill.db"
    disconnect()


def run_in_thread(work: Callable[[], Any]) -> Any:
    answers: list[Any] = []

    def run() -> None:
        answers.append(work())
        disconnect()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return answers[0]


# Values


def test_a_time_is_returned_in_utc_with_its_microseconds(opened: str) -> None:
    """Any time zone is accepted."""
    east = timezone(timedelta(hours=5, minutes=45))
    moments = [
        NOW,
        NOW.astimezone(east),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
    ]
    for number, moment in enumerate(moments):
        stored = PaymentRequest.get_by_id(new_payment(number, expires_at=moment).id).expires_at
        assert (stored, stored.tzinfo) == (moment, UTC)


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.timezones(), allow_imaginary=False))  # noqa: DTZ001
def test_any_time_survives_its_field(moment: datetime) -> None:
    """A time is stored as a whole number with the same order."""
    field = PaymentRequest.expires_at
    in_utc = moment.astimezone(UTC)
    stored = field.db_value(moment)
    assert field.python_value(stored) == in_utc
    assert field.db_value(in_utc + timedelta(microseconds=1)) == (stored or 0) + 1


def test_a_time_without_a_zone_is_refused(opened: str) -> None:
    """Such a time is ambiguous."""
    with pytest.raises(ValueError, match="time zone"):
        new_payment(expires_at=NOW.replace(tzinfo=None))
    with pytest.raises(ValueError, match="time zone"):
        list(PaymentRequest.select().where(PaymentRequest.expires_at < NOW.replace(tzinfo=None)))


def test_bytes_are_returned_as_bytes(opened: str) -> None:
    """PostgreSQL's driver returns a memory view by default."""
    stored = PaymentRequest.get_by_id(new_payment(1).id).address.script
    assert type(stored) is bytes
    assert stored == script(1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(25))
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.text(st.characters(exclude_categories=["Cs"], codec="utf-8")),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
        max_leaves=8,
    )
)
def test_a_json_document_is_returned_unchanged(document: Any) -> None:
    """Numbers keep each digit and sign."""
    field = PaymentRequest.metadata
    assert field.python_value(field.db_value({"it": document})) == {"it": document}


def test_metadata_and_text_are_returned_unchanged(opened: str) -> None:
    """Any script is accepted. A NUL is accepted only in JSON, because PostgreSQL's text cannot have one."""
    metadata = {"größe": "42\u0000", "🧦": [1, 2**70, None, True, {"a": ""}]}
    payment = new_payment(note="Socken 🧦\n'; DROP TABLE seller; --", metadata=metadata)
    stored = PaymentRequest.get_by_id(payment.id)
    assert (stored.metadata, stored.note) == (metadata, payment.note)


def test_a_value_that_json_lacks_is_refused(opened: str) -> None:
    """NaN and Infinity are no JSON."""
    with pytest.raises(ValueError, match="JSON"):
        new_payment(metadata={"price": float("nan")})


def test_every_status_and_event_fits_its_column(opened: str) -> None:
    """PostgreSQL enforces the length of a column, and SQLite does not."""
    payment = new_payment()
    for status in Status:
        PaymentRequest.update(status=status.value).execute()
        assert PaymentRequest.get_by_id(payment.id).last_known_state.status is status
    for number, event in enumerate(EventType):
        assert new_event(payment, type=event.value, reference=f"evt_{number:032x}").type == event


def test_a_stored_request_has_each_field_of_its_document(opened: str) -> None:
    payment = new_payment(label="Socks")
    output = new_output(payment, state="mined", block_hash=BLOCK_HASH, block_height=99)
    stored = PaymentRequest.get_by_id(payment.id)
    found = payment_document(
        stored,
        stored.address.address,
        [output],
        tip_height=100,
        network="main",
        public_url="https://pay.example",
    )
    assert (found["seller_id"], found["status"], found["label"]) == ("company1", "new", "Socks")
    assert found["due_sats"] == found["amount_sats"]
    assert found["transactions"][0]["confirmations"] == 2


# Opening


def test_every_thread_has_a_safe_connection(sqlite_path: Path) -> None:
    """Foreign keys are on, and each commit is in the log on disk before it returns."""
    open_database(f"sqlite:///{sqlite_path}")

    def pragmas() -> list[Any]:
        names = ("foreign_keys", "journal_mode", "synchronous")
        return [database.execute_sql(f"PRAGMA {name}").fetchone()[0] for name in names]

    assert pragmas() == [1, "wal", 2]
    assert run_in_thread(pragmas) == [1, "wal", 2]


def test_only_the_owner_can_read_sqlite_files(sqlite_path: Path) -> None:
    """This holds for the directory, the database, its log and its locks, whatever the umask."""
    before = os.umask(0)
    try:
        open_database(f"sqlite:///{sqlite_path}")
        new_payment()
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in sqlite_path.parent.iterdir()}
    finally:
        os.umask(before)
    assert {"nodetill.db", "nodetill.db-wal", "nodetill.db-shm", "nodetill.db.migrate.lock"} == set(modes)
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(sqlite_path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "version",
    [(3, 40, 1), (3, 44, 5), (3, 45, 0), (3, 46, 1), (3, 50, 6), (3, 51, 0), (3, 51, 2)],
)
def test_a_sqlite_that_can_corrupt_the_database_is_refused(
    version: tuple[int, ...], sqlite_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused before it touches the file, and the message names the library to install."""
    monkeypatch.setattr(SqliteDatabase, "server_version", version)
    with pytest.raises(DatabaseError, match="apsw"):
        bind(f"sqlite:///{sqlite_path}")
    assert not sqlite_path.exists()


@pytest.mark.parametrize("version", [(3, 44, 6), (3, 44, 9), (3, 50, 7), (3, 51, 3), (3, 53, 4), (4, 0, 0)])
def test_a_repaired_sqlite_is_accepted(
    version: tuple[int, ...], sqlite_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SqliteDatabase, "server_version", version)
    bind(f"sqlite:///{sqlite_path}")


def test_a_path_that_is_no_database_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("It was a dark and stormy night; " * 99)
    for path in (tmp_path, tmp_path / "text", tmp_path / "text" / "below.db"):
        with pytest.raises(DatabaseError) as refusal:
            open_database(f"sqlite:///{path}")
        assert "\n" not in str(refusal.value)
        disconnect()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://nodetill:geheim@127.0.0.1:1/nodetill",
        "postgresql://nodetill:ge%zzheim@127.0.0.1:1/nodetill",
        "postgresql://nodetill:gar@geheim@127.0.0.1:1/nodetill",
        "postgresql://nodetill:gar/geheim@127.0.0.1:1/nodetill",
    ],
)
def test_an_unreachable_postgresql_is_reported_in_one_line_without_the_password(url: str) -> None:
    """The driver's own messages have several lines and quote the unreadable part of a URL."""
    with pytest.raises(DatabaseError) as refusal:
        open_database(url)
    assert "\n" not in str(refusal.value)
    assert not re.search("gar|heim", str(refusal.value))


def test_a_locked_database_is_a_temporary_error(sqlite_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The failed write leaves no row, and the next try succeeds."""
    monkeypatch.setattr(module, "LOCK_TIMEOUT_SECONDS", 0.05)
    open_database(f"sqlite:///{sqlite_path}")
    other = apsw.Connection(str(sqlite_path))
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(peewee.OperationalError, match="locked"), database.atomic():
        new_payment()
    other.execute("ROLLBACK")
    other.close()
    with database.atomic():
        new_payment()
    assert PaymentRequest.select().count() == 1


def test_a_list_stands_for_its_values(opened: str) -> None:
    payments = [new_payment(number) for number in range(3)]
    ids = [payment.id for payment in payments]
    query = "SELECT id FROM payment_request WHERE id > ? AND id IN ? AND id < ? ORDER BY id"
    assert execute(query, 0, ids[1:], ids[2]).fetchall() == [(ids[1],)]
    assert execute(f"{query} LIMIT ?", ids[0], tuple(ids), 10**9, 1).fetchall() == [(ids[1],)]
    with pytest.raises(ValueError, match="zip"):
        execute(query, ids)


def test_execute_many_returns_the_number_of_changed_rows(opened: str) -> None:
    """A refused row raises the usual error, and the transaction stores no row."""
    payments = [new_payment(number) for number in range(3)]
    rows = [(f"note {payment.id}", payment.id) for payment in payments]
    query = "UPDATE payment_request SET note = ? WHERE id = ?"
    assert execute_many(query, [*rows, ("nobody's", 99)]) == 3
    assert [row.note for row in PaymentRequest.select().order_by(PaymentRequest.id)] == [n for n, _ in rows]
    assert execute_many(query, []) == 0
    references = [("PR-x", payments[0].id), (payments[2].reference, payments[1].id)]
    with pytest.raises(peewee.IntegrityError), database.atomic():
        execute_many("UPDATE payment_request SET reference = ? WHERE id = ?", references)
    assert PaymentRequest.select().where(PaymentRequest.reference == "PR-x").count() == 0


def test_a_failed_transaction_stores_nothing(opened: str) -> None:
    """This holds for a seller that the same transaction added, too."""

    def fail_after_a_write() -> None:
        with database.atomic():
            new_payment()
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fail_after_a_write()
    assert PaymentRequest.select().count() == 0
    assert run_in_thread(lambda: PaymentRequest.select().count()) == 0


# PostgreSQL's connections


def test_postgresql_timeouts_are_short_unless_the_url_sets_them(postgres: PostgresServer) -> None:
    """A silent client must not hold its locks, and a silent server must not block Nodetill."""
    url = postgres.new_database()
    names = ("tcp_keepalives_idle", "tcp_user_timeout", "lock_timeout", "idle_in_transaction_session_timeout")

    def timeouts(url: str) -> list[str]:
        bind(url)
        answers = [database.execute_sql(f"SHOW {name}").fetchone()[0] for name in names]
        answers.append(database.connection().info.get_parameters()["tcp_user_timeout"])
        disconnect()
        return answers

    assert timeouts(url) == ["1", "2000", "5s", "10s", "2000"]
    ours = f"{url}?tcp_user_timeout=30000&options=-c%20lock_timeout%3D9s"
    assert timeouts(ours) == ["1", "2000", "9s", "10s", "30000"]


def test_an_unreachable_server_of_several_is_skipped(postgres: PostgresServer) -> None:
    """After a failover the first server of the URL is down."""
    parts = urlsplit(postgres.new_database())
    (closed_port,) = free_ports(1)
    hosts = f"host=127.0.0.1,127.0.0.1&port={closed_port},{parts.port}&target_session_attrs=read-write"
    bind(f"postgresql://nodetill@{parts.path}?{hosts}")
    assert database.execute_sql("SELECT current_database()").fetchone()[0] == parts.path.strip("/")
    disconnect()
