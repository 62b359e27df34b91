"""The database is opened safely, and gives back what it was given."""

import os
import re
import stat
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import peewee
import pysqlite3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.db import connection as module
from models.db.connection import DatabaseError, bind, database, disconnect, execute_many
from models.db.schema import open_database
from models.payment import PaymentRequest
from payments.document import payment_document
from payments.status import EventType, Status
from regtest.child import free_ports
from tests.support.postgres import PostgresServer
from tests.support.rows import BLOCK_HASH, NOW, new_event, new_output, new_payment, script


@pytest.fixture
def opened(database_url: str) -> Iterator[str]:
    """A migrated database; its URL."""
    open_database(database_url)
    yield database_url
    disconnect()


@pytest.fixture
def sqlite_path(tmp_path: Path) -> Iterator[Path]:
    """Where a SQLite database is that isn't there yet, in a directory that isn't, either."""
    yield tmp_path / "var" / "nodetill.db"
    disconnect()


def in_a_thread(work: Callable[[], Any]) -> Any:
    answers: list[Any] = []

    def run() -> None:
        answers.append(work())
        disconnect()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return answers[0]


# What comes back


def test_a_moment_comes_back_to_the_microsecond_in_utc(opened: str) -> None:
    """From whatever zone it went in."""
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
def test_any_moment_survives_its_field(moment: datetime) -> None:
    """It is stored as a whole number that orders as the moments do."""
    field = PaymentRequest.expires_at
    in_utc = moment.astimezone(UTC)
    stored = field.db_value(moment)
    assert field.python_value(stored) == in_utc
    assert field.db_value(in_utc + timedelta(microseconds=1)) == (stored or 0) + 1


def test_a_moment_without_a_zone_is_refused(opened: str) -> None:
    """It could be any of a day's."""
    with pytest.raises(ValueError, match="time zone"):
        new_payment(expires_at=NOW.replace(tzinfo=None))
    with pytest.raises(ValueError, match="time zone"):
        list(PaymentRequest.select().where(PaymentRequest.expires_at < NOW.replace(tzinfo=None)))


def test_bytes_come_back_as_bytes(opened: str) -> None:
    """PostgreSQL's driver would give a view of its memory."""
    stored = PaymentRequest.get_by_id(new_payment(1).id).address.script
    assert type(stored) is bytes
    assert stored == script(1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
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
def test_a_document_comes_back_as_it_went_in(document: Any) -> None:
    """To the last digit and sign."""
    field = PaymentRequest.metadata
    assert field.python_value(field.db_value({"it": document})) == {"it": document}


def test_metadata_and_text_come_back_as_they_went_in(opened: str) -> None:
    """In any script; a NUL only inside JSON, which escapes it: PostgreSQL has none in text."""
    metadata = {"größe": "42\u0000", "🧦": [1, 2**70, None, True, {"a": ""}]}
    payment = new_payment(note="Socken 🧦\n'; DROP TABLE seller; --", metadata=metadata)
    stored = PaymentRequest.get_by_id(payment.id)
    assert (stored.metadata, stored.note) == (metadata, payment.note)


def test_a_document_is_never_what_json_does_not_have(opened: str) -> None:
    """NaN and Infinity."""
    with pytest.raises(ValueError, match="JSON"):
        new_payment(metadata={"price": float("nan")})


def test_every_status_and_event_fits_its_column(opened: str) -> None:
    """PostgreSQL keeps to the length; SQLite wouldn't say."""
    payment = new_payment()
    for status in Status:
        PaymentRequest.update(status=status.value).execute()
        assert PaymentRequest.get_by_id(payment.id).standing.status is status
    for number, event in enumerate(EventType):
        assert new_event(payment, type=event.value, reference=f"evt_{number:032x}").type == event


def test_a_stored_request_is_all_that_its_document_needs(opened: str) -> None:
    """The tables have what payments/document.py reads."""
    payment = new_payment(label="Socks")
    output = new_output(payment, state="mined", block_hash=BLOCK_HASH, block_height=99)
    stored = PaymentRequest.get_by_id(payment.id)
    found = payment_document(
        stored, stored.address.address, [output], tip_height=100, public_url="https://pay.example"
    )
    assert (found["seller_id"], found["status"], found["label"]) == ("company1", "new", "Socks")
    assert found["due_sats"] == found["amount_sats"]
    assert found["transactions"][0]["confirmations"] == 2


# How it is opened


def test_every_thread_has_a_safe_connection(sqlite_path: Path) -> None:
    """Foreign keys on, a log beside the file, each commit on the disk before it is answered."""
    open_database(f"sqlite:///{sqlite_path}")

    def pragmas() -> list[Any]:
        names = ("foreign_keys", "journal_mode", "synchronous")
        return [database.execute_sql(f"PRAGMA {name}").fetchone()[0] for name in names]

    assert pragmas() == [1, "wal", 2]
    assert in_a_thread(pragmas) == [1, "wal", 2]


def test_what_sqlite_makes_is_its_owners_alone(sqlite_path: Path) -> None:
    """The directory, the database, its log and its locks, whatever the umask."""
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
    """Before it has touched the file; the message says which one to take."""
    monkeypatch.setattr(peewee.SqliteDatabase, "server_version", version)
    with pytest.raises(DatabaseError, match="pysqlite3"):
        bind(f"sqlite:///{sqlite_path}")
    assert not sqlite_path.exists()


@pytest.mark.parametrize("version", [(3, 44, 6), (3, 44, 9), (3, 50, 7), (3, 51, 3), (3, 53, 4), (4, 0, 0)])
def test_a_sqlite_without_the_fault_is_taken(
    version: tuple[int, ...], sqlite_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The releases that have the repair."""
    monkeypatch.setattr(peewee.SqliteDatabase, "server_version", version)
    bind(f"sqlite:///{sqlite_path}")


def test_what_is_no_database_is_not_opened(tmp_path: Path) -> None:
    """A directory, another file, a place that isn't: one line says so."""
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
def test_a_postgresql_that_is_not_there_is_told_in_one_line_without_the_password(url: str) -> None:
    """Though its own messages have several lines, and quote what they can't read."""
    with pytest.raises(DatabaseError) as refusal:
        open_database(url)
    assert "\n" not in str(refusal.value)
    assert not re.search("gar|heim", str(refusal.value))


def test_a_locked_database_is_an_error_that_passes(
    sqlite_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was to be written isn't, and the next try goes through."""
    monkeypatch.setattr(module, "LOCK_TIMEOUT_SECONDS", 0.05)
    open_database(f"sqlite:///{sqlite_path}")
    other = pysqlite3.connect(sqlite_path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(peewee.OperationalError, match="locked"), database.atomic():
        new_payment()
    other.execute("ROLLBACK")
    other.close()
    with database.atomic():
        new_payment()
    assert PaymentRequest.select().count() == 1


def test_a_statement_carried_out_with_many_values_counts_what_it_changed(opened: str) -> None:
    """What the database refuses is told as by any other statement, and none of it stays."""
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


def test_a_transaction_that_fails_leaves_nothing(opened: str) -> None:
    """Not the seller who was added on the way, either."""

    def fail_on_the_way() -> None:
        with database.atomic():
            new_payment()
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fail_on_the_way()
    assert PaymentRequest.select().count() == 0
    assert in_a_thread(lambda: PaymentRequest.select().count()) == 0


# PostgreSQL's connections


def test_who_says_nothing_any_more_is_given_up_soon(postgres: PostgresServer) -> None:
    """By the server, with all its locks, and by us; where the URL says otherwise, it holds."""
    url = postgres.new_database()
    asked = ("tcp_keepalives_idle", "tcp_user_timeout", "lock_timeout", "idle_in_transaction_session_timeout")

    def told(url: str) -> list[str]:
        bind(url)
        answers = [database.execute_sql(f"SHOW {name}").fetchone()[0] for name in asked]
        answers.append(database.connection().info.get_parameters()["tcp_user_timeout"])
        disconnect()
        return answers

    assert told(url) == ["1", "2000", "5s", "10s", "2000"]
    ours = f"{url}?tcp_user_timeout=30000&options=-c%20lock_timeout%3D9s"
    assert told(ours) == ["1", "2000", "9s", "10s", "30000"]


def test_of_several_servers_the_one_that_works_is_taken(postgres: PostgresServer) -> None:
    """As after a failover: the first is down."""
    parts = urlsplit(postgres.new_database())
    (nobody,) = free_ports(1)
    hosts = f"host=127.0.0.1,127.0.0.1&port={nobody},{parts.port}&target_session_attrs=read-write"
    bind(f"postgresql://nodetill@{parts.path}?{hosts}")
    assert database.execute_sql("SELECT current_database()").fetchone()[0] == parts.path.strip("/")
    disconnect()
