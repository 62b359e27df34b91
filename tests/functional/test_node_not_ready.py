"""While bitcoind loads or syncs, a payment that it lacks counts neither as dropped nor as late."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from daemon.node.errors import RpcError
from models.block import stored_tip
from models.outbox import Event, events_of
from payments.status import Status
from regtest.child import free_ports
from regtest.node import RegtestNode
from tests.support.customer import Customer
from tests.support.merchant import Merchant
from tests.support.scenario import PATIENCE_SECONDS, Scenario
from tests.support.waiting import wait_until

pytestmark = pytest.mark.bitcoind

AMOUNT_SATS = 2_000
DAYS_AHEAD = 3
"""The age of the newest block for bitcoind. After one day, bitcoind is in initial download."""
MANY_BLOCKS = 500
"""bitcoind prunes some of so many blocks. It keeps 288, and deletes only whole files."""


def test_no_payment_is_dropped_while_bitcoind_loads_its_mempool(scenario: Scenario) -> None:
    """bitcoind needs minutes to load a large mempool."""
    scenario.begin()
    account = scenario.request(AMOUNT_SATS)
    scenario.pay([(account, AMOUNT_SATS)])
    scenario.settle()
    scenario.restart_bitcoind(is_clean=True)
    scenario.settle()
    assert [event.type for event in events_of(account.row())] == ["payment.received"]
    scenario.end()


def test_no_request_expires_while_bitcoind_loads_its_mempool(scenario: Scenario) -> None:
    """The mempool may contain a payment that came in time, and that the daemon has not seen yet."""
    scenario.begin()
    scenario.daemon.stop()
    account = scenario.request(AMOUNT_SATS, expiry=timedelta(seconds=1))
    scenario.pay([(account, AMOUNT_SATS)])
    expires_at = account.row().expires_at
    wait_until(lambda: datetime.now(UTC) > expires_at, PATIENCE_SECONDS, "the request to expire")
    with scenario.daemon.loading():
        scenario.daemon.start()
        scenario.hold("an event follows from a node that has yet to load its mempool")
    scenario.settle()
    assert account.row().status == Status.RECEIVED
    assert [event.type for event in events_of(account.row())] == ["payment.received"]
    scenario.end()


def test_no_event_is_stored_in_initial_download(scenario: Scenario) -> None:
    """The daemon reads the blocks, but newer blocks may change every status."""
    scenario.begin()
    paid = scenario.request(AMOUNT_SATS, confirmations=2)
    unpaid = scenario.request(AMOUNT_SATS, expiry=timedelta(seconds=1))
    ahead = int((datetime.now(UTC) + timedelta(days=DAYS_AHEAD)).timestamp())
    scenario.chain.node.restart(f"-mocktime={ahead}")
    scenario.chain.mine([scenario.pay([(paid, AMOUNT_SATS)], is_public=False)])
    tip = scenario.chain.mine()
    expires_at = unpaid.row().expires_at
    assert scenario.daemon.work_until(
        lambda: stored_tip().hash == tip and datetime.now(UTC) > expires_at,  # type: ignore[union-attr]
        PATIENCE_SECONDS,
    )
    scenario.hold("an event follows from a node in initial download")
    assert Event.select().count() == 0

    scenario.chain.node.restart()
    scenario.is_rough = True
    scenario.settle()
    assert [event.type for event in events_of(paid.row())] == ["payment.received", "payment.confirmed"]
    assert [event.type for event in events_of(unpaid.row())] == ["payment.expired"]
    scenario.end()


@pytest.mark.broad
def test_a_pruned_block_is_not_skipped(start_node: Callable[..., RegtestNode], tmp_path: Path) -> None:
    """/health and the log name the command that fetches the block. Then the payments in it are found."""
    (port,) = free_ports(1)
    keeper = start_node("-listen=1", f"-bind=127.0.0.1:{port}")
    node = start_node("-fastprune", "-prune=1", f"-connect=127.0.0.1:{port}")
    keeper.fund_customer()
    _wait_for_one_tip(keeper, node)
    merchant = Merchant(node, tmp_path).open()
    try:
        order = merchant.request(confirmations=1)
        merchant.daemon.stop()
        Customer(keeper).pay(order.address, order.amount_sats)
        keeper.mine(MANY_BLOCKS)
        _wait_for_one_tip(keeper, node)
        first = merchant.health().document["chain"]["height"] + 1
        last = node.rpc("pruneblockchain", node.rpc("getblockcount"))
        assert last >= first

        merchant.daemon.start()
        merchant.wait_problem(node.rpc("getblockhash", first), "is not skipped", "getblockfrompeer")
        merchant.daemon.wait_for_line("level=error", "getblockfrompeer")
        assert order.events() == []

        (peer,) = node.rpc("getpeerinfo")
        for height in range(first, last + 1):
            _fetch(node, node.rpc("getblockhash", height), peer["id"])
        order.wait("confirmed")
        merchant.wait_well()
        order.wait_told("received", "confirmed")
    finally:
        merchant.close()


def _wait_for_one_tip(*nodes: RegtestNode) -> None:
    wait_until(
        lambda: len({node.rpc("getbestblockhash") for node in nodes}) == 1, what="the nodes to have one tip"
    )


def _fetch(node: RegtestNode, block_hash: str, peer: Any) -> None:
    """Fetch a block as /health advises. bitcoind refuses to fetch a block that it has."""
    with suppress(RpcError):
        node.rpc("getblockfrompeer", block_hash, peer)
