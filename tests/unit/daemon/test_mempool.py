"""A comparison with the mempool: first-seen times, and payments that come and go between its calls."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from daemon.chain import mempool as mempool_module
from daemon.chain.mempool import FEED_DELAY, Mempool
from daemon.chain.watchlist import PaidOutput, PayingTransaction, Watchlist
from daemon.node.client import Bitcoind
from daemon.node.types import MempoolEntry
from models.block import Block
from models.db.connection import disconnect
from models.output import MEMPOOL, Output
from models.payment import PaymentRequest
from payments.transaction import Transaction
from tests.support.prepared_database import open_prepared
from tests.support.rows import fill_pool, new_link, new_output, new_payment, script

NOW = datetime(2026, 12, 10, 9, 3, tzinfo=UTC)
TIP = "0f" * 32


@pytest.fixture(autouse=True)
def opened(database_url: str) -> Iterator[None]:
    """Open a migrated database."""
    open_prepared(database_url)
    yield
    disconnect()


class Node:
    """A bitcoind with one payment in its mempool. A real one cannot have a feed that lags."""

    def __init__(self, age: timedelta) -> None:
        self._age = age

    def mempool_entry(self, _txid: str) -> MempoolEntry:
        return MempoolEntry(NOW - self._age, ancestors=0)

    def mempool_spenders(self, _outpoints: Any) -> dict[bytes, str]:
        return {}

    def tip(self) -> Any:
        return SimpleNamespace(hash=TIP)

    def is_mempool_loaded(self) -> bool:
        return True


def first_seen(age: timedelta, *, came_by_feed: bool) -> datetime:
    """Return first_seen_at of a payment that entered the mempool `age` ago."""
    payment = Transaction([], [(1000, b"script")], txid="ab" * 32)
    mempool = Mempool(cast(Bitcoind, Node(age)), Watchlist())
    findings = mempool.compare(
        [PayingTransaction(payment, (PaidOutput(0, 1000, 1),))], [], NOW, came_by_feed=came_by_feed
    )
    [arrival] = findings.arrivals
    return arrival.first_seen_at


def test_a_payment_of_the_feed_is_first_seen_now() -> None:
    """The mempool's times are whole seconds, so a small age proves no delay."""
    assert first_seen(FEED_DELAY - timedelta(milliseconds=1), came_by_feed=True) == NOW


@pytest.mark.parametrize("came_by_feed", [True, False])
def test_a_delayed_or_missed_payment_is_as_old_as_its_mempool_entry(came_by_feed: bool) -> None:
    """A payment that reached bitcoind in time is not late because the daemon did not run."""
    age = timedelta(minutes=20)
    assert first_seen(age, came_by_feed=came_by_feed) == NOW - age


def test_no_payment_is_first_seen_in_the_future() -> None:
    """A mempool entry ahead of our clock counts from now."""
    assert first_seen(-timedelta(minutes=1), came_by_feed=False) == NOW


def test_a_payment_that_the_feed_brings_twice_is_stored_once() -> None:
    """Both messages may be in one batch."""
    mempool = Mempool(cast(Bitcoind, Node(timedelta(0))), Watchlist())
    twice = [
        PayingTransaction(Transaction([], [(1000, b"script")], txid="ab" * 32), (PaidOutput(0, 1000, 1),))
        for _ in range(2)
    ]
    assert len(mempool.compare(twice, [], NOW, came_by_feed=True).arrivals) == 1


def test_each_check_queries_the_next_payments_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check queries at most MAX_ENTRIES, and the checks go through all payments."""
    believed = [f"{number:064x}" for number in range(5)]
    queried: list[list[str]] = []

    class Asked:
        """bitcoind, which has all of them but the last."""

        def in_mempool(self, txids: list[str]) -> set[str]:
            queried.append(txids)
            return set(txids) - {believed[-1]}

    monkeypatch.setattr(mempool_module, "MAX_ENTRIES", 2)
    monkeypatch.setattr(mempool_module, "txids_believed_in_mempool", lambda: list(reversed(believed)))
    mempool = Mempool(cast(Bitcoind, Asked()), Watchlist())
    assert [mempool.is_any_gone() for _ in range(4)] == [False, False, True, False]
    assert queried == [believed[:2], believed[2:4], believed[4:], believed[:2]]


def test_new_money_counts_with_no_part_that_has_just_left() -> None:
    """A part left the mempool without a message. Otherwise both count until the next check."""
    Block.create(height=101, hash=TIP, chainwork="0" * 64, mined_at=NOW)
    payment = new_payment(amount_sats=2_000, confirmations_required=0)
    gone = Output.create(
        address=payment.address, txid="aa" * 32, vout=0, amount_sats=1_200, state=MEMPOOL, first_seen_at=NOW
    )

    class WithoutPart(Node):
        def in_mempool(self, txids: list[str]) -> set[str]:
            return set(txids) - {gone.txid}

    mempool = Mempool(cast(Bitcoind, WithoutPart(timedelta(0))), Watchlist())
    new = Transaction([], [(800, payment.address.script)], txid="bb" * 32)
    match = PayingTransaction(new, (PaidOutput(0, 800, payment.address_id),))
    update = mempool.compare([match], [], NOW, came_by_feed=True)
    assert update.is_conclusive
    assert [*update.outcomes.dropped] == [gone.txid]


def test_a_part_of_a_link_that_has_left_does_not_count_with_new_money_of_another_part() -> None:
    """All requests of a single-use link count together. Requests of a reusable link do not."""
    Block.create(height=101, hash=TIP, chainwork="0" * 64, mined_at=NOW)
    payments = [
        new_payment(2 * number + part, link=link, confirmations_required=0)
        for number, link in enumerate((new_link(1), new_link(2, amount_fiat=None, is_reusable=True)))
        for part in range(2)
    ]
    gone = [new_output(payment, txid=f"{payment.id:064x}") for payment in payments[::2]]
    PaymentRequest.update(received_sats=1000).where(PaymentRequest.id.in_([1, 3])).execute()

    class WithoutParts(Node):
        def in_mempool(self, txids: list[str]) -> set[str]:
            return set(txids) - {output.txid for output in gone}

    mempool = Mempool(cast(Bitcoind, WithoutParts(timedelta(0))), Watchlist())
    matches = [
        PayingTransaction(
            Transaction([], [(800, payment.address.script)], txid=f"{number:064x}"),
            (PaidOutput(0, 800, payment.address_id),),
        )
        for number, payment in enumerate(payments[1::2], 100)
    ]
    assert {output.txid for output in Output.select()} == {output.txid for output in gone}
    update = mempool.compare(matches, [], NOW, came_by_feed=True)
    assert [*update.outcomes.dropped] == [gone[0].txid]


def test_two_new_payments_are_checked_together() -> None:
    """The first one leaves while the second one is read."""
    Block.create(height=101, hash=TIP, chainwork="0" * 64, mined_at=NOW)
    payment = new_payment(confirmations_required=0)
    matches = [
        PayingTransaction(
            Transaction([], [(800, payment.address.script)], txid=txid),
            (PaidOutput(0, 800, payment.address_id),),
        )
        for txid in ("aa" * 32, "bb" * 32)
    ]

    class WithoutFirst(Node):
        def in_mempool(self, txids: list[str]) -> set[str]:
            return set(txids) - {"aa" * 32}

    mempool = Mempool(cast(Bitcoind, WithoutFirst(timedelta(0))), Watchlist())
    update = mempool.compare(matches, [], NOW, came_by_feed=True)
    assert [arrival.txid for arrival in update.arrivals] == ["bb" * 32]


def test_a_payment_that_was_away_while_the_mempool_was_read_is_found_later() -> None:
    """bitcoind lists the payment, does not have it a moment later, and then has it again."""
    Block.create(height=101, hash=TIP, chainwork="0" * 64, mined_at=NOW)
    fill_pool(1)
    payment = Transaction([], [(1_000, script(0))], txid="ab" * 32)
    answers: list[list[Transaction]] = [[], [payment], []]

    class Unsteady(Node):
        def mempool_txids(self) -> frozenset[str]:
            return frozenset({payment.txid})

        def mempool_transactions(self, _txids: list[str]) -> list[Transaction]:
            return answers.pop(0)

        def in_mempool(self, txids: list[str]) -> set[str]:
            return set(txids)

    mempool = Mempool(cast(Bitcoind, Unsteady(timedelta(0))), Watchlist())
    stored = []
    for _ in range(2):
        assert mempool.rescan(TIP, NOW, by_wallet=False)
        stored.append(Output.select().count())
    assert stored == [0, 1]
