"""SQLite's driver: what a query holds, and the errors and values that it returns."""

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import apsw
import peewee
import pytest

from models.db.connection import database, disconnect
from models.payment import PaymentRequest
from tests.support.prepared_database import open_prepared
from tests.support.rows import new_payment

OVERFLOW = "SELECT abs(column1) FROM (VALUES (1), (-9223372036854775807 - 1))"
"""SQLite returns the first row, and refuses the second: an integer has no such absolute value."""


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """Return the path of an open database."""
    open_prepared(f"sqlite:///{tmp_path / 'nodetill.db'}")
    yield tmp_path / "nodetill.db"
    disconnect()


def test_a_query_whose_first_row_alone_was_read_holds_no_snapshot(path: Path) -> None:
    """Another process writes, and this connection then sees that and writes itself."""
    for number in range(3):
        new_payment(number)
    query = PaymentRequest.select().order_by(PaymentRequest.id)
    first = query[0]
    rows = database.execute_sql("SELECT id FROM payment_request ORDER BY id")
    assert rows.fetchone() == (first.id,)
    with closing(apsw.Connection(str(path))) as other:
        other.execute("UPDATE payment_request SET note = 'theirs'")
    assert PaymentRequest.get_by_id(first.id).note == "theirs"
    with database.atomic():
        assert PaymentRequest.update(note="ours").where(PaymentRequest.id == first.id).execute() == 1
    assert len(rows.fetchall()) == 2


def test_an_error_after_the_first_row_is_of_the_kind_that_callers_handle(path: Path) -> None:
    with pytest.raises(peewee.OperationalError, match="overflow"):
        database.execute_sql(OVERFLOW).fetchall()


@pytest.mark.parametrize(
    ("pragma", "words"), [("query_only = 1", "readonly"), ("max_page_count = 1", "database or disk is full")]
)
def test_a_write_that_sqlite_refuses_is_a_temporary_error(path: Path, pragma: str, words: str) -> None:
    """The failed transaction stores no row."""
    database.execute_sql(f"PRAGMA {pragma}")
    with pytest.raises(peewee.OperationalError, match=words), database.atomic():
        _fill()
    assert PaymentRequest.select().count() == 0


def _fill() -> None:
    for number in range(200):
        new_payment(number, note="x" * 500)


def test_a_damaged_file_is_no_temporary_error(path: Path) -> None:
    """A repetition does not help, so the error leaves the caller."""
    disconnect()
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 8000)
    for beside in ("-wal", "-shm"):
        Path(f"{path}{beside}").unlink(missing_ok=True)
    with pytest.raises(peewee.DatabaseError) as refusal:
        PaymentRequest.select().count()
    assert type(refusal.value) is peewee.DatabaseError


def test_a_cursor_has_the_attributes_of_pep_249(path: Path) -> None:
    payment = new_payment()
    changed = database.execute_sql("UPDATE payment_request SET note = 'x'")
    assert (changed.rowcount, changed.fetchone(), changed.fetchall()) == (1, None, [])
    found = database.execute_sql("SELECT id, note FROM payment_request")
    assert [column[0] for column in found.description] == ["id", "note"]
    assert list(found) == [(payment.id, "x")]
    none = database.execute_sql("SELECT id FROM payment_request WHERE id < 0")
    assert (list(none.description), none.fetchall()) == ([], [])


def test_a_query_is_planned_once(path: Path) -> None:
    """A build of SQLite with STAT4 otherwise prepares a query with a join again for each value."""
    assert database.connection().config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, -1) == 1


def test_the_time_of_a_migration_is_stored_as_before(path: Path) -> None:
    """Earlier versions have stored the same form of text."""
    rows = database.execute_sql("SELECT applied FROM schema_migration").fetchall()
    assert all(datetime.fromisoformat(applied) and applied[10] == " " for (applied,) in rows)
    with pytest.raises(TypeError, match="no type for complex"):
        database.execute_sql("SELECT ?", (1j,))
