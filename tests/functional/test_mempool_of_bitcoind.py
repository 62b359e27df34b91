"""bitcoind's mempool: how the daemon reads it, and transactions that leave it by bitcoind's own rules."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from daemon.chain import mempool
from daemon.chain.mempool import Mempool
from daemon.chain.watchlist import Watchlist
from daemon.node.client import Bitcoind
from daemon.node.errors import NodeError
from models.block import stored_tip
from models.outbox import events_of
from models.output import DROPPED, Output
from payments.status import Status
from regtest.node import RegtestNode
from tests.support.customer import Customer
from tests.support.expected_state import TrackedRequest
from tests.support.in_process_daemon import Fault, FaultyNode, FeedDelivery
from tests.support.merchant import Merchant
from tests.support.scenario import FEE_SATS, PATIENCE_SECONDS, Scenario
from tests.support.tx_builder import ANYONE_CAN_SPEND, BuiltTransaction
from tests.support.waiting import wait_until

pytestmark = pytest.mark.bitcoind

PAYMENTS = 3
AMOUNT_SATS = 2_000
EXPIRY = timedelta(days=15)
"""bitcoind keeps a transaction for 14 days (-mempoolexpiry)."""


@pytest.fixture
def node(scenario: Scenario) -> Iterator[FaultyNode]:
    """Return a bitcoind with payments in its mempool that the stopped daemon has not seen."""
    scenario.begin()
    assert scenario.daemon.look(PATIENCE_SECONDS)
    scenario.daemon.stop()
    for _ in range(PAYMENTS):
        scenario.pay([(scenario.request(AMOUNT_SATS), AMOUNT_SATS)])
    bitcoind = Bitcoind(scenario.settings)
    yield FaultyNode(bitcoind)
    bitcoind.close()


def reader(node: FaultyNode) -> Mempool:
    return Mempool(cast(Bitcoind, node), Watchlist())


def rescan(reader: Mempool, *, by_wallet: bool = False) -> bool:
    tip = stored_tip()
    assert tip is not None
    return reader.rescan(tip.hash, datetime.now(UTC), by_wallet=by_wallet)


def test_a_scan_that_fails_is_repeated(node: FaultyNode) -> None:
    """Each call fails in turn. A transaction that is not stored is read again."""
    # The calls are for the list, for all transactions at once, and for the entry of each one.
    for calls in range(1, PAYMENTS + 3):
        Output.delete().execute()
        scanner = reader(node)
        node.plan(Fault.REFUSE, calls)
        with pytest.raises(NodeError):
            rescan(scanner)
        assert rescan(scanner)
        assert Output.select().count() == PAYMENTS


def test_a_large_mempool_is_read_in_several_scans(node: FaultyNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each scan reads the next new transactions. Only the last scan returns True."""
    monkeypatch.setattr(mempool, "MAX_FOREIGN_PER_SCAN", 2)
    scanner = reader(node)
    assert [rescan(scanner) for _ in range(2)] == [False, True]
    assert Output.select().count() == PAYMENTS


def test_a_dropped_payment_does_not_count_as_missing(scenario: Scenario) -> None:
    """The wallet lists the payment for ever, so a search each second would never end."""
    scenario.begin()
    scenario.pay([(scenario.request(AMOUNT_SATS), AMOUNT_SATS)])
    scenario.settle()
    scenario.chain.node.restart("-persistmempool=0", "-walletbroadcast=0")
    scenario.settle()
    scenario.daemon.stop()
    bitcoind = Bitcoind(scenario.settings)
    reader = Mempool(bitcoind, Watchlist())
    assert reader.verify_unconfirmed(datetime.now(UTC))
    assert rescan(reader, by_wallet=True)
    assert not reader.is_missing_any
    bitcoind.close()


def test_transactions_are_requested_in_one_batch(node: FaultyNode, scenario: Scenario) -> None:
    """The result has their order, and leaves out absent ones. A closed connection is opened again."""
    ours = sorted(scenario.chain.node.rpc("getrawmempool"))
    absent = "ab" * 32
    assert [t.txid for t in node.mempool_transactions([absent, *ours])] == ours
    assert node.mempool_transactions([absent]) == []
    scenario.chain.node.restart()
    wait_until(lambda: scenario.chain.node.rpc("getmempoolinfo")["loaded"], what="the mempool to be loaded")
    assert [t.txid for t in node.mempool_transactions(ours)] == ours


def test_a_payment_evicted_by_a_sibling_is_dropped(scenario: Scenario) -> None:
    """A version-3 parent has one unconfirmed child. A second child evicts it, by another output."""
    scenario.begin()
    if "Knots" in scenario.chain.node.rpc("getnetworkinfo")["subversion"]:
        scenario.daemon.stop()
        # Bitcoin Core always keeps to BIP 431. Knots does so on request.
        scenario.chain.node.restart("-mempooltruc=enforce")
        scenario.daemon.start()
    account = scenario.request(AMOUNT_SATS, confirmations=0)
    chain = scenario.chain
    parent = chain.build_transaction([chain.coin()], [(ANYONE_CAN_SPEND, 100_000)], FEE_SATS, 3)
    child = chain.build_transaction([parent.coin(0)], [(account.script, AMOUNT_SATS)], FEE_SATS, 3)
    sibling = chain.build_transaction([parent.coin(1)], [], 50 * FEE_SATS, 3)
    assert chain.publish(parent)
    assert chain.publish(child)
    scenario.settle()
    assert account.row().status == Status.CONFIRMED

    assert chain.publish(sibling)
    assert child.txid not in chain.view().mempool
    scenario.settle()
    assert account.row().status == Status.NEW
    assert Output.get(Output.txid == child.txid).state == DROPPED
    scenario.end()


def _let_expire(scenario: Scenario, sent: BuiltTransaction, other: TrackedRequest) -> None:
    """Set bitcoind's clock past the expiry. A further payment lets bitcoind look through its mempool."""
    try:
        scenario.chain.node.rpc("setmocktime", int((datetime.now(UTC) + EXPIRY).timestamp()))
        scenario.pay([(other, AMOUNT_SATS)])
        assert sent.txid not in scenario.chain.view().mempool
        scenario.settle()
    finally:
        scenario.chain.node.rpc("setmocktime", 0)


def test_a_payment_that_expires_from_the_mempool_is_dropped(scenario: Scenario) -> None:
    """bitcoind publishes nothing about an expired transaction, or about one that a full mempool evicts."""
    scenario.begin()
    account, other = scenario.request(AMOUNT_SATS), scenario.request(AMOUNT_SATS)
    sent = scenario.pay([(account, AMOUNT_SATS)])
    scenario.settle()
    _let_expire(scenario, sent, other)
    assert account.row().status == Status.NEW
    scenario.end()


def test_a_payment_that_leaves_the_mempool_is_dropped_until_it_returns(scenario: Scenario) -> None:
    """Without a feed, the daemon looks up each unconfirmed payment."""
    scenario.begin()
    scenario.daemon.stop()
    scenario.daemon.start(FeedDelivery.NOTHING)
    account, other = scenario.request(AMOUNT_SATS), scenario.request(AMOUNT_SATS)
    sent = scenario.pay([(account, AMOUNT_SATS)])
    scenario.settle()
    _let_expire(scenario, sent, other)
    assert account.row().status == Status.NEW
    assert Output.get(Output.txid == sent.txid).state == DROPPED

    assert scenario.chain.publish(sent)
    scenario.settle()
    assert account.row().status == Status.RECEIVED
    events = [event.type for event in events_of(account.row())]
    assert events == ["payment.received", "payment.reverted", "payment.received"]
    scenario.end()


@pytest.mark.parametrize("option", ["-txindex=1", pytest.param("-txindex=0", marks=pytest.mark.slow)])
def test_a_payment_in_an_unread_stale_block_delays_nothing(
    start_node: Callable[..., RegtestNode], tmp_path: Path, option: str
) -> None:
    """With txindex=1 bitcoind still returns the transaction, although it is in no chain and no mempool."""
    node = start_node(option)
    node.fund_customer()
    customer = Customer(node)
    merchant = Merchant(node, tmp_path).open()
    try:
        order, other = merchant.request(), merchant.request(confirmations=1)
        merchant.daemon.stop()
        [stale] = node.rpc("generatetoaddress", 1, order.address)
        node.rpc("invalidateblock", stale)
        node.mine(2)
        merchant.daemon.start()
        customer.pay(other.address, other.amount_sats)
        node.mine()
        other.wait("confirmed")
        merchant.wait_well()
        assert order.now()["status"] == "new"
    finally:
        merchant.close()
