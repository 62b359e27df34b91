"""Each command for the daemon is stored once, and sellers take turns."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from models.command import (
    MAX_CHECKS_PER_SELLER,
    DaemonCommand,
    NotCancellable,
    NotLate,
    add_acceptance,
    add_cancellation,
    delete_commands,
    pending_cancellations,
    pending_commands,
    pending_count,
    request_acceptance,
    request_cancellation,
    request_check,
    request_redeliveries,
    request_redelivery,
)
from models.db.connection import database, disconnect, is_sqlite
from models.decision import DecidedBy, Decision
from models.payment import PaymentRequest
from tests.support.prepared_database import open_prepared
from tests.support.rows import NOW, TXID, new_event, new_message, new_payment, new_seller


@pytest.fixture(autouse=True)
def _opened(database_url: str) -> Iterator[None]:
    open_prepared(database_url)
    yield
    disconnect()


class TransactionCounter:
    """Counts how often the write lock is taken."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> AbstractContextManager[Any]:
        self.count += 1
        return database.atomic()


def test_commands_that_come_at_once_are_stored_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both callers have read that no command is pending. One decision is stored."""
    for name in ("transaction", "acceptance", "cancellation"):
        monkeypatch.setattr(f"models.command.is_{name}_pending", lambda *_: False)
    late, waiting = new_payment(1, is_late=True), new_payment(2)
    take = database.atomic
    for is_new in (True, False):
        assert request_acceptance(late, NOW, take, DecidedBy.API) is is_new
        assert request_check(waiting, TXID, NOW, take) is is_new
        assert request_cancellation(waiting, NOW, take) is is_new
    assert (DaemonCommand.select().count(), Decision.select().count()) == (3, 1)


def test_a_waiting_command_is_not_stored_again() -> None:
    """A repeated command takes no write lock, so that a flood of repetitions cannot delay the daemon."""
    taken = TransactionCounter()
    payment = new_payment(is_late=True)
    first, second = (
        new_message(new_event(payment)),
        new_message(new_event(payment, reference="b", revision=2)),
    )
    for _ in range(2):
        request_check(payment, TXID, NOW, taken)
        request_acceptance(payment, NOW, taken, DecidedBy.API)
        request_redelivery(first, NOW, taken)
    assert taken.count == 3
    assert not request_check(payment, TXID, NOW, taken)
    assert not request_acceptance(payment, NOW, taken, DecidedBy.API)
    assert not request_redelivery(first, NOW, taken)
    assert request_redeliveries([first, second], NOW, taken) == 1
    assert request_redeliveries([first, second], NOW, taken) == 0
    assert request_redeliveries([], NOW, taken) == 0
    assert taken.count == 4
    assert [command.kind for command in pending_commands()] == [
        "transaction",
        "accept",
        "redeliver",
        "redeliver",
    ]


def test_an_acceptance_needs_late_money() -> None:
    """A second acceptance stores nothing, and one without late money is refused."""
    taken = TransactionCounter()
    with pytest.raises(NotLate):
        request_acceptance(new_payment(1), NOW, taken, DecidedBy.API)
    assert not request_acceptance(
        new_payment(2, is_late=True, late_accepted_at=NOW), NOW, taken, DecidedBy.API
    )
    assert taken.count == 0


def test_a_request_is_cancelled_once_and_only_while_it_is_new() -> None:
    """A repetition stores no second command, and takes no write lock."""
    taken = TransactionCounter()
    payment = new_payment(1)
    assert request_cancellation(payment, NOW, taken)
    assert not request_cancellation(payment, NOW, taken)
    assert not request_cancellation(new_payment(2, status="expired", cancelled_at=NOW), NOW, taken)
    for number, status in enumerate(("underpaid", "confirmed", "expired"), 3):
        with pytest.raises(NotCancellable):
            request_cancellation(new_payment(number, status=status), NOW, taken)
    # Late money was accepted since.
    with pytest.raises(NotCancellable):
        request_cancellation(new_payment(6, status="received", cancelled_at=NOW), NOW, taken)
    assert taken.count == 1
    assert [command.payment_id for command in pending_cancellations()] == [payment.id]
    add_cancellation(payment, NOW)
    assert [command.kind for command in pending_commands()] == ["cancel"]


def test_a_redelivery_of_a_pruned_message_is_ignored() -> None:
    message = new_message(new_event(new_payment()))
    message.delete_instance()
    assert not request_redelivery(message, NOW, database.atomic)
    assert DaemonCommand.select().count() == 0


def test_many_redeliveries_are_requested_with_few_queries() -> None:
    """One query finds the pending redeliveries of all messages, and one statement stores the new ones."""
    event = new_event(new_payment())
    messages = [new_message(event, recipient=f"{number}@example.com") for number in range(20)]
    request_redelivery(messages[0], NOW, database.atomic)
    queries: list[str] = []
    database.obj.query_hooks.append(lambda query: queries.append(query.sql))
    try:
        assert request_redeliveries(messages, NOW, database.atomic) == 19
    finally:
        database.obj.query_hooks.clear()
    assert [query.split()[0] for query in queries] == ["SELECT", "INSERT"]


def flood(seller: str, number: int, count: int) -> PaymentRequest:
    """Store a request with `count` transaction checks."""
    payment = new_payment(number, seller=new_seller(seller))
    DaemonCommand.insert_many(
        {"kind": "transaction", "payment": payment, "txid": f"{number:032x}{n:032x}", "created_at": NOW}
        for n in range(count)
    ).execute()
    return payment


def test_sellers_take_turns() -> None:
    """A seller with a hundred transactions does not delay a seller with one transaction."""
    flood("loud", 1, 100)
    quiet = flood("quiet", 2, 1)
    message = new_message(new_event(quiet))
    request_redelivery(message, NOW, database.atomic)
    add_acceptance(quiet, NOW)
    found = pending_commands()
    of_quiet = [command.kind for command in found if command.payment_id == quiet.id]
    assert of_quiet == ["transaction", "redeliver", "accept"]
    assert len(found) == MAX_CHECKS_PER_SELLER + 3
    assert [command.id for command in found] == sorted(command.id for command in found)


def test_no_kind_of_command_delays_the_others() -> None:
    """Many sellers' transactions or a retry of all messages leave places for other commands in each batch."""
    for number in range(30):
        flood(f"loud{number}", number, 10)
    payment = new_payment(99, is_late=True)
    add_acceptance(payment, NOW)
    assert [command.kind for command in pending_commands(20)].count("accept") == 1
    for number in range(50):
        message = new_message(new_event(payment, reference=f"e{number}", revision=number + 1))
        request_redelivery(message, NOW, database.atomic)
    kinds = [command.kind for command in pending_commands(20)]
    assert (kinds.count("transaction"), kinds.count("redeliver")) == (10, 9)
    delete_commands(pending_commands(1000))
    assert DaemonCommand.select().count() == 30 * 10 - 30 * MAX_CHECKS_PER_SELLER


def test_a_seller_s_commands_are_counted_without_its_requests() -> None:
    """A seller may have any number of requests, so the count reads only the waiting commands."""
    flood("loud", 1, 30)
    assert [pending_count("loud", 100), pending_count("loud", 20), pending_count("quiet", 100)] == [30, 20, 0]
    if is_sqlite():
        plan = database.execute_sql(
            "EXPLAIN QUERY PLAN SELECT 1 FROM daemon_command WHERE kind <> 'accept' "
            "AND (SELECT seller_id FROM payment_request p WHERE p.id = daemon_command.payment_id) = 'loud'"
        ).fetchall()
        assert any("INTEGER PRIMARY KEY (rowid=?)" in row[-1] for row in plan)
