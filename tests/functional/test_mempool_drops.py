"""Payments that leave the mempool without a message of the feed. The daemon drops them soon."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from models.address import add_addresses
from models.outbox import events_of
from models.output import DROPPED, Output
from payments.status import Status
from tests.support.expected_state import TrackedRequest
from tests.support.scenario import FEE_SATS, PATIENCE_SECONDS, Scenario
from tests.support.tx_builder import ANYONE_CAN_SPEND, BuiltTransaction, Coin

AMOUNT_SATS = 2_000
CALLS = 7
"""The number of RPC calls that the daemon makes for one message of the feed."""

Change = Callable[[Scenario, TrackedRequest, int], None]


def _publish(
    scenario: Scenario, coins: list[Coin], outputs: list[tuple[bytes, int]], fee_sats: int
) -> BuiltTransaction:
    made = scenario.chain.build_transaction(coins, outputs, fee_sats)
    assert scenario.chain.publish(made)
    return made


def _publish_meanwhile(
    scenario: Scenario, call: int, coins: list[Coin], outputs: list[tuple[bytes, int]]
) -> None:
    """Publish the transaction before this RPC call, with a fee that replaces all others."""

    def publish() -> None:
        _publish(scenario, coins, outputs, 50 * FEE_SATS)

    scenario.meanwhile(publish, call)


def _replace_the_double_spend(scenario: Scenario, account: TrackedRequest, call: int) -> None:
    """D replaces the payment, and also spends another coin. Before the call, E replaces D by that coin."""
    sent, other = scenario.pay([(account, AMOUNT_SATS)]), scenario.chain.coin()
    scenario.settle()
    _publish_meanwhile(scenario, call, [other], [])
    _publish(scenario, [*sent.coins, other], [], 10 * FEE_SATS)


def _replace_the_smaller_bump(scenario: Scenario, account: TrackedRequest, call: int) -> None:
    """Do the same with a D that also pays the request. Both payments never count together."""
    sent, other = scenario.pay([(account, AMOUNT_SATS)]), scenario.chain.coin()
    scenario.settle()
    _publish_meanwhile(scenario, call, [other], [])
    _publish(scenario, [*sent.coins, other], [(account.script, AMOUNT_SATS)], 10 * FEE_SATS)


def _replace_the_parent(scenario: Scenario, account: TrackedRequest, call: int) -> None:
    """Replace the parent while the daemon calls bitcoind about its child, which pays the request."""
    parent = _publish(scenario, [scenario.chain.coin()], [], FEE_SATS)
    scenario.settle()
    _publish_meanwhile(scenario, call, list(parent.coins), [(ANYONE_CAN_SPEND, 1_000)])
    scenario.pay([(account, AMOUNT_SATS)], parent.coin(-1))


@pytest.mark.parametrize(
    "change", [_replace_the_double_spend, _replace_the_smaller_bump, _replace_the_parent]
)
def test_payments_that_leave_during_the_daemons_calls_are_dropped(scenario: Scenario, change: Change) -> None:
    """The change comes before the first call, before the second, and so on. No block is needed."""
    scenario.begin()
    for call in range(1, CALLS + 1):
        account = scenario.request(AMOUNT_SATS, confirmations=call % 2)
        scenario.note(f"before call {call}")
        scenario.is_rough = True
        change(scenario, account, call)
        scenario.settle()
        # Remove a change that no call has reached yet.
        scenario.daemon.meanwhile(lambda: None, 1)
    scenario.end()


def test_a_payment_whose_replacement_leaves_is_dropped(scenario: Scenario) -> None:
    """The state is not `replaced`, because the replacement is in no mempool."""
    scenario.begin()
    account, other = scenario.request(AMOUNT_SATS), scenario.chain.coin()
    sent = scenario.pay([(account, AMOUNT_SATS)])
    scenario.settle()
    _publish(scenario, [*sent.coins, other], [], 10 * FEE_SATS)
    scenario.settle()
    _publish(scenario, [other], [], 50 * FEE_SATS)
    scenario.settle()
    assert Output.get(Output.txid == sent.txid).state == DROPPED
    scenario.end()


def test_an_output_without_a_request_gets_its_final_state(scenario: Scenario) -> None:
    """Such an output is dropped, replaced or mined like any other."""
    scenario.begin()
    chain, wallet = scenario.chain, scenario.settings.bitcoind_wallet
    address = chain.node.rpc("getnewaddress", "nodetill", "bech32", wallet=wallet)
    script = bytes.fromhex(chain.node.rpc("validateaddress", address)["scriptPubKey"])
    add_addresses([(address, script)], wallet, datetime.now(UTC), are_free=False)
    other = chain.coin()
    mined, replaced, dropped = (
        _publish(scenario, [chain.coin()], [(script, AMOUNT_SATS)], FEE_SATS) for _ in range(3)
    )

    def wait_for(*states: str) -> None:
        def are_stored() -> bool:
            stored = {output.txid: output.state for output in Output.select()}
            return [stored.get(each.txid) for each in (mined, replaced, dropped)] == [*states]

        assert scenario.daemon.work_until(are_stored, PATIENCE_SECONDS), list(Output.select().tuples())

    wait_for("mempool", "mempool", "mempool")
    _publish(scenario, list(replaced.coins), [], 10 * FEE_SATS)
    _publish(scenario, [*dropped.coins, other], [], 10 * FEE_SATS)
    _publish(scenario, [other], [], 50 * FEE_SATS)
    chain.mine([mined])
    wait_for("mined", "replaced", "dropped")
    scenario.end()


@pytest.mark.parametrize("is_mined", [False, True])
def test_a_lost_payment_never_counts_together_with_a_new_one(scenario: Scenario, is_mined: bool) -> None:
    """The mempool loses half of the amount while the daemon is down, and the same half comes once more."""
    scenario.begin()
    account = scenario.request(AMOUNT_SATS, confirmations=0)
    sent = scenario.pay([(account, AMOUNT_SATS // 2)])
    scenario.settle()
    scenario.daemon.stop()
    scenario.free_by_detour(sent)
    new = scenario.pay([(account, AMOUNT_SATS // 2)], is_public=not is_mined)
    if is_mined:
        scenario.chain.mine([new])
    scenario.daemon.start()
    scenario.settle()
    assert account.row().status == Status.UNDERPAID
    assert [event.type for event in events_of(account.row())] == ["payment.underpaid"]
    scenario.end()


def test_a_lost_payment_never_counts_together_with_a_fee_bump(scenario: Scenario) -> None:
    """While the daemon is down, the mempool loses a part, and a fee bump of the other part pays more."""
    scenario.begin()
    account = scenario.request(AMOUNT_SATS, confirmations=0)
    lost, kept = (scenario.pay([(account, sats)]) for sats in (1_000, 500))
    scenario.settle()
    scenario.daemon.stop()
    scenario.free_by_detour(lost)
    scenario.replace(kept, [(account.script, 1_200)])
    scenario.daemon.start()
    scenario.settle()
    assert account.row().status == Status.UNDERPAID
    assert {event.type for event in events_of(account.row())} == {"payment.underpaid"}
    scenario.end()
