"""Payments that leave the mempool without a message of the feed. The daemon drops them soon."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from models.address import add_addresses
from models.outbox import events_of
from models.output import DROPPED, Output
from payments.status import Status
from regtest.node import RegtestNode
from tests.support.customer import Customer
from tests.support.expected_state import TrackedRequest
from tests.support.in_process_daemon import FeedDelivery
from tests.support.merchant import Merchant
from tests.support.scenario import FEE_SATS, PATIENCE_SECONDS, Scenario
from tests.support.tx_builder import ANYONE_CAN_SPEND, BuiltTransaction, Coin

pytestmark = pytest.mark.bitcoind

AMOUNT_SATS = 2_000
CALLS = 7
"""The number of RPC calls that the daemon makes for one message of the feed."""
EXPIRY = timedelta(days=15)
"""bitcoind keeps a transaction for 14 days (-mempoolexpiry)."""

Change = Callable[[Scenario, TrackedRequest, int], None]


def _publish(
    stage: Scenario, coins: list[Coin], outputs: list[tuple[bytes, int]], fee_sats: int
) -> BuiltTransaction:
    made = stage.world.build_transaction(coins, outputs, fee_sats)
    assert stage.world.publish(made)
    return made


def _publish_meanwhile(
    stage: Scenario, call: int, coins: list[Coin], outputs: list[tuple[bytes, int]]
) -> None:
    """Publish the transaction before this RPC call, with a fee that replaces all others."""

    def publish() -> None:
        _publish(stage, coins, outputs, 50 * FEE_SATS)

    stage.meanwhile(publish, call)


def _replace_the_double_spend(stage: Scenario, account: TrackedRequest, call: int) -> None:
    """D replaces the payment, and also spends another coin. Before the call, E replaces D by that coin."""
    sent, other = stage.pay([(account, AMOUNT_SATS)]), stage.world.coin()
    stage.settle()
    _publish_meanwhile(stage, call, [other], [])
    _publish(stage, [*sent.coins, other], [], 10 * FEE_SATS)


def _replace_the_smaller_bump(stage: Scenario, account: TrackedRequest, call: int) -> None:
    """Do the same with a D that also pays the request. Both payments never count together."""
    sent, other = stage.pay([(account, AMOUNT_SATS)]), stage.world.coin()
    stage.settle()
    _publish_meanwhile(stage, call, [other], [])
    _publish(stage, [*sent.coins, other], [(account.script, AMOUNT_SATS)], 10 * FEE_SATS)


def _replace_the_parent(stage: Scenario, account: TrackedRequest, call: int) -> None:
    """Replace the parent while the daemon calls bitcoind about its child, which pays the request."""
    parent = _publish(stage, [stage.world.coin()], [], FEE_SATS)
    stage.settle()
    _publish_meanwhile(stage, call, list(parent.coins), [(ANYONE_CAN_SPEND, 1_000)])
    stage.pay([(account, AMOUNT_SATS)], parent.coin(-1))


@pytest.mark.parametrize(
    "change", [_replace_the_double_spend, _replace_the_smaller_bump, _replace_the_parent]
)
def test_payments_that_leave_during_the_daemons_calls_are_dropped(stage: Scenario, change: Change) -> None:
    """The change comes before the first call, before the second, and so on. No block is needed."""
    stage.begin()
    for call in range(1, CALLS + 1):
        account = stage.request(AMOUNT_SATS, confirmations=call % 2)
        stage.note(f"before call {call}")
        stage.is_rough = True
        change(stage, account, call)
        stage.settle()
        # Remove a change that no call has reached yet.
        stage.daemon.meanwhile(lambda: None, 1)
    stage.end()


def test_a_payment_evicted_by_a_sibling_is_dropped(stage: Scenario) -> None:
    """A version-3 parent has one unconfirmed child. A second child evicts it, by another output."""
    stage.begin()
    if "Knots" in stage.world.node.rpc("getnetworkinfo")["subversion"]:
        stage.daemon.stop()
        # Bitcoin Core always keeps to BIP 431. Knots does so on request.
        stage.world.node.restart("-mempooltruc=enforce")
        stage.daemon.start()
    account = stage.request(AMOUNT_SATS, confirmations=0)
    world = stage.world
    parent = world.build_transaction([world.coin()], [(ANYONE_CAN_SPEND, 100_000)], FEE_SATS, 3)
    child = world.build_transaction([parent.coin(0)], [(account.script, AMOUNT_SATS)], FEE_SATS, 3)
    sibling = world.build_transaction([parent.coin(1)], [], 50 * FEE_SATS, 3)
    assert world.publish(parent)
    assert world.publish(child)
    stage.settle()
    assert account.row().status == Status.CONFIRMED

    assert world.publish(sibling)
    assert child.txid not in world.view().mempool
    stage.settle()
    assert account.row().status == Status.NEW
    assert Output.get(Output.txid == child.txid).state == DROPPED
    stage.end()


def _let_expire(stage: Scenario, sent: BuiltTransaction, other: TrackedRequest) -> None:
    """Set bitcoind's clock past the expiry. A further payment lets bitcoind look through its mempool."""
    try:
        stage.world.node.rpc("setmocktime", int((datetime.now(UTC) + EXPIRY).timestamp()))
        stage.pay([(other, AMOUNT_SATS)])
        assert sent.txid not in stage.world.view().mempool
        stage.settle()
    finally:
        stage.world.node.rpc("setmocktime", 0)


def test_a_payment_that_expires_from_the_mempool_is_dropped(stage: Scenario) -> None:
    """bitcoind publishes nothing about an expired transaction, or about one that a full mempool evicts."""
    stage.begin()
    account, other = stage.request(AMOUNT_SATS), stage.request(AMOUNT_SATS)
    sent = stage.pay([(account, AMOUNT_SATS)])
    stage.settle()
    _let_expire(stage, sent, other)
    assert account.row().status == Status.NEW
    stage.end()


def test_a_payment_that_leaves_the_mempool_is_dropped_until_it_returns(stage: Scenario) -> None:
    """Without a feed, the daemon looks up each unconfirmed payment."""
    stage.begin()
    stage.daemon.stop()
    stage.daemon.start(FeedDelivery.NOTHING)
    account, other = stage.request(AMOUNT_SATS), stage.request(AMOUNT_SATS)
    sent = stage.pay([(account, AMOUNT_SATS)])
    stage.settle()
    _let_expire(stage, sent, other)
    assert account.row().status == Status.NEW
    assert Output.get(Output.txid == sent.txid).state == DROPPED

    assert stage.world.publish(sent)
    stage.settle()
    assert account.row().status == Status.RECEIVED
    events = [event.type for event in events_of(account.row())]
    assert events == ["payment.received", "payment.reverted", "payment.received"]
    stage.end()


def test_a_payment_whose_replacement_leaves_is_dropped(stage: Scenario) -> None:
    """The state is not `replaced`, because the replacement is in no mempool."""
    stage.begin()
    account, other = stage.request(AMOUNT_SATS), stage.world.coin()
    sent = stage.pay([(account, AMOUNT_SATS)])
    stage.settle()
    _publish(stage, [*sent.coins, other], [], 10 * FEE_SATS)
    stage.settle()
    _publish(stage, [other], [], 50 * FEE_SATS)
    stage.settle()
    assert Output.get(Output.txid == sent.txid).state == DROPPED
    stage.end()


def test_an_output_without_a_request_gets_its_final_state(stage: Scenario) -> None:
    """Such an output is dropped, replaced or mined like any other."""
    stage.begin()
    world, wallet = stage.world, stage.settings.bitcoind_wallet
    address = world.node.rpc("getnewaddress", "nodetill", "bech32", wallet=wallet)
    script = bytes.fromhex(world.node.rpc("validateaddress", address)["scriptPubKey"])
    add_addresses([(address, script)], wallet, datetime.now(UTC), are_free=False)
    other = world.coin()
    mined, replaced, dropped = (
        _publish(stage, [world.coin()], [(script, AMOUNT_SATS)], FEE_SATS) for _ in range(3)
    )

    def wait_for(*states: str) -> None:
        def are_stored() -> bool:
            stored = {output.txid: output.state for output in Output.select()}
            return [stored.get(each.txid) for each in (mined, replaced, dropped)] == [*states]

        assert stage.daemon.work_until(are_stored, PATIENCE_SECONDS), list(Output.select().tuples())

    wait_for("mempool", "mempool", "mempool")
    _publish(stage, list(replaced.coins), [], 10 * FEE_SATS)
    _publish(stage, [*dropped.coins, other], [], 10 * FEE_SATS)
    _publish(stage, [other], [], 50 * FEE_SATS)
    world.mine([mined])
    wait_for("mined", "replaced", "dropped")
    stage.end()


@pytest.mark.parametrize("option", ["-txindex=1", pytest.param("-txindex=0", marks=pytest.mark.slow)])
def test_a_payment_in_an_unread_stale_block_delays_nothing(
    start_node: Callable[..., RegtestNode], tmp_path: Path, option: str
) -> None:
    """With txindex=1 bitcoind still returns the transaction, although it is in no chain and no mempool."""
    node = start_node(option)
    node.fund_customer()
    customer = Customer(node)
    till = Merchant(node, tmp_path).open()
    try:
        order, other = till.request(), till.request(confirmations=1)
        till.daemon.stop()
        [stale] = node.rpc("generatetoaddress", 1, order.address)
        node.rpc("invalidateblock", stale)
        node.mine(2)
        till.daemon.start()
        customer.pay(other.address, other.amount_sats)
        node.mine()
        other.wait("confirmed")
        till.wait_well()
        assert order.now()["status"] == "new"
    finally:
        till.close()
