"""The daemon reads the mempool again for payments that the feed did not bring."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import cast

import pytest

from daemon.chain import mempool
from daemon.chain.mempool import Mempool
from daemon.chain.watchlist import Watchlist
from daemon.node.client import Bitcoind
from daemon.node.errors import NodeError
from models.block import stored_tip
from models.output import Output
from tests.support.in_process_daemon import Fault, FaultyNode
from tests.support.scenario import PATIENCE_SECONDS, Scenario
from tests.support.waiting import wait_until

pytestmark = pytest.mark.bitcoind

PAYMENTS = 3


@pytest.fixture
def node(scenario: Scenario) -> Iterator[FaultyNode]:
    """Return a bitcoind with payments in its mempool that the stopped daemon has not seen."""
    scenario.begin()
    assert scenario.daemon.look(PATIENCE_SECONDS)
    scenario.daemon.stop()
    for _ in range(PAYMENTS):
        scenario.pay([(scenario.request(2_000), 2_000)])
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
    scenario.pay([(scenario.request(2_000), 2_000)])
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
