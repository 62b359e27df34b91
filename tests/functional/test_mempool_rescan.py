"""The mempool is read again for what the feed did not bring, and nothing of it is left out."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import cast

import pytest

from daemon.chain import mempool
from daemon.chain.mempool import Mempool
from daemon.chain.watchlist import Watchlist
from daemon.node.client import Bitcoind
from daemon.node.rpc import NodeError
from models.block import stored_tip
from models.output import Output
from tests.support.in_process_daemon import Fault, FaultyNode
from tests.support.scenario import PATIENCE_SECONDS, Scenario
from tests.support.waiting import wait_until

pytestmark = pytest.mark.bitcoind

PAYMENTS = 3


@pytest.fixture
def node(stage: Scenario) -> Iterator[FaultyNode]:
    """A bitcoind with payments in its mempool; the daemon, now down, knows nothing of them."""
    stage.begin()
    assert stage.daemon.look(PATIENCE_SECONDS)
    stage.daemon.stop()
    for _ in range(PAYMENTS):
        stage.pay([(stage.request(2_000), 2_000)])
    bitcoind = Bitcoind(stage.settings)
    yield FaultyNode(bitcoind)
    bitcoind.close()


def reader(node: FaultyNode) -> Mempool:
    return Mempool(cast(Bitcoind, node), Watchlist())


def rescan(reader: Mempool, *, by_wallet: bool = False) -> bool:
    tip = stored_tip()
    assert tip is not None
    return reader.rescan(tip.hash, datetime.now(UTC), by_wallet=by_wallet)


def test_a_payment_is_read_again_where_bitcoind_broke_off(node: FaultyNode) -> None:
    """At whichever call: what could not be stored has not been read."""
    # The list, the transactions all at once, each one's entry.
    for calls in range(1, PAYMENTS + 3):
        Output.delete().execute()
        newcomer = reader(node)
        node.plan(Fault.REFUSE, calls)
        with pytest.raises(NodeError):
            rescan(newcomer)
        assert rescan(newcomer)
        assert Output.select().count() == PAYMENTS


def test_a_large_mempool_is_read_in_several_looks(node: FaultyNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes the next of those that are new; the last says that it was."""
    monkeypatch.setattr(mempool, "MAX_FOREIGN_PER_SCAN", 2)
    newcomer = reader(node)
    assert [rescan(newcomer) for _ in range(2)] == [False, True]
    assert Output.select().count() == PAYMENTS


def test_a_payment_that_was_dropped_is_asked_after_and_not_waited_for(stage: Scenario) -> None:
    """The wallet names it for ever; to look each second whether it comes back would be work for ever."""
    stage.begin()
    stage.pay([(stage.request(2_000), 2_000)])
    stage.settle()
    stage.world.node.restart("-persistmempool=0", "-walletbroadcast=0")
    stage.settle()
    stage.daemon.stop()
    bitcoind = Bitcoind(stage.settings)
    reader = Mempool(bitcoind, Watchlist())
    assert reader.verify_unconfirmed(datetime.now(UTC))
    assert rescan(reader, by_wallet=True)
    assert not reader.is_missing_any
    bitcoind.close()


def test_transactions_are_asked_for_all_at_once(node: FaultyNode, stage: Scenario) -> None:
    """In their order, without those that the mempool does not have; and anew where bitcoind hung up."""
    ours = sorted(stage.world.node.rpc("getrawmempool"))
    stranger = "ab" * 32
    assert [t.txid for t in node.mempool_transactions([stranger, *ours])] == ours
    assert node.mempool_transactions([stranger]) == []
    stage.world.node.restart()
    wait_until(lambda: stage.world.node.rpc("getmempoolinfo")["loaded"], what="the mempool to be loaded")
    assert [t.txid for t in node.mempool_transactions(ours)] == ours
