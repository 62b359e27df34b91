"""Queries for payments that need a decision read only these payments."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import peewee
import pytest

from models.db.connection import database, disconnect
from models.decision import DecidedBy, decisions_of
from models.outbox import Event
from models.payment import PaymentRequest
from models.queries.attention import ActionNeeded, acknowledge, action_counts, needs_action, reopen
from models.queries.payment_search import newest_query
from payments.status import Status
from tests.support.prepared_database import open_prepared
from tests.support.rows import NOW, new_event, new_message, new_payment
from web.api.forms import read_form
from web.api.payment_list import Filters


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[None]:
    """Open a SQLite database, whose query plans the tests read."""
    open_prepared(f"sqlite:///{tmp_path / 'nodetill.db'}")
    yield
    disconnect()


def query_plan(query: peewee.Select) -> str:
    """Return SQLite's plan of a query."""
    sql, parameters = query.sql()
    return " ".join(
        row[3] for row in database.execute_sql(f"EXPLAIN QUERY PLAN {sql}", parameters).fetchall()
    )


@pytest.mark.usefixtures("sqlite")
def test_each_kind_of_decision_uses_its_partial_index() -> None:
    """SQLite uses a partial index only while the query repeats the index's condition word for word."""
    for need in ActionNeeded:
        found = query_plan(PaymentRequest.select(PaymentRequest.id).where(needs_action(need)))
        wanted = {ActionNeeded.REVERTED: "event_reverted", ActionNeeded.UNDELIVERED: "message_unsettled"}
        assert wanted.get(need, "payment_in_question") in found


@pytest.mark.usefixtures("sqlite")
def test_a_payment_list_is_read_from_an_index_without_sorting() -> None:
    """An index has the payments newest first for each filter.

    Unfinished payments have an index of their own.
    """
    for status in (None, *Status):
        for given in ({}, {"currency": "EUR"}, {"q": "socks"}, {"created_after": "2026-11-23T00:00:00Z"}):
            filters = read_form(Filters, given if status is None else {**given, "status": status.value})
            for seller_id in (None, "company1"):
                found = query_plan(newest_query(filters.search(seller_id)))
                is_underway = status not in (None, Status.CONFIRMED, Status.EXPIRED)
                assert ("payment_underway" in found) is is_underway, (status, given)
                if not is_underway:
                    index = "payment_newest_of_seller" if seller_id else "payment_newest "
                    assert re.search(index, f"{found} "), (status, given, found)
                    assert "TEMP B-TREE" not in found, (status, given, found)


def test_only_the_given_revision_is_acknowledged(database_url: str) -> None:
    """A later revision and other payments still need a decision."""
    open_prepared(database_url)
    late = {"status": "expired", "is_late": True, "received_sats": 5000}
    first, second = new_payment(1, **late), new_payment(2, **late)
    for payment in (first, second):
        new_message(new_event(payment, type="payment.reverted"), failed_at=NOW, next_attempt_at=None)
    assert not acknowledge(first, 1, NOW, DecidedBy.PAGE)
    assert action_counts() == {ActionNeeded.LATE: 2, ActionNeeded.REVERTED: 2, ActionNeeded.UNDELIVERED: 2}
    assert acknowledge(first, 0, NOW, DecidedBy.PAGE)
    assert action_counts() == {ActionNeeded.LATE: 1, ActionNeeded.REVERTED: 1, ActionNeeded.UNDELIVERED: 1}
    PaymentRequest.update(received_sats=6000).execute()
    assert action_counts()[ActionNeeded.LATE] == 2
    disconnect()


def test_an_acknowledgement_is_undone(database_url: str) -> None:
    """All that it acknowledged needs a decision again, and nothing that was acknowledged before."""
    open_prepared(database_url)
    payment = new_payment(1, status="expired", is_late=True, received_sats=5000)
    for number, earlier in enumerate((NOW - timedelta(days=1), None)):
        event = new_event(payment, type="payment.reverted", revision=number, reference=f"evt_{number}")
        new_message(event, failed_at=NOW, next_attempt_at=None, acknowledged_at=earlier)
        event.acknowledged_at = earlier
        event.save()
    assert not reopen(payment, NOW, DecidedBy.PAGE)
    before = action_counts()
    assert acknowledge(payment, 0, NOW, DecidedBy.COMMAND, "refunded")
    assert action_counts() == {}
    assert reopen(payment, NOW + timedelta(seconds=1), DecidedBy.PAGE)
    assert action_counts() == before
    assert [event.acknowledged_at for event in Event.select().order_by(Event.id)] == [
        NOW - timedelta(days=1),
        None,
    ]
    assert not reopen(payment, NOW, DecidedBy.PAGE)
    assert [(each.kind, each.by, each.comment) for each in decisions_of(payment)] == [
        ("settled", "command", "refunded"),
        ("reopened", "page", ""),
    ]
    disconnect()
