"""Payments have every shape that the consensus rules allow."""

from datetime import UTC, datetime

from models.outbox import events_of
from models.output import outputs_at
from tests.support.scenario import PATIENCE_SECONDS, Scenario

TWO_HOURS = 7200  # Core's MAX_FUTURE_BLOCK_TIME


def test_payments_of_unusual_shapes_are_counted_correctly(scenario: Scenario) -> None:
    """The shapes are an empty output, many outputs, unconfirmed ancestors, and a block ahead of the clock."""
    scenario.begin()
    chain, now = scenario.chain, int(datetime.now(UTC).timestamp())

    nothing = scenario.request(2_000)
    empty = scenario.pay([(nothing, 0)], is_public=False)
    chain.mine([empty])
    scenario.settle()
    assert nothing.row().status == "new"
    assert events_of(nothing.row()) == []
    assert outputs_at(nothing.row().address_id) == []

    many = scenario.request(200_000)
    chain.mine([scenario.pay([(many, 600)] * 200, is_public=False)])
    scenario.settle()
    assert many.row().received_sats == 120_000

    parent = scenario.pay([(scenario.request(2_000), 2_000)])
    child = scenario.pay([(scenario.request(2_000), 2_000)], parent.coin(-1))
    grandchild = scenario.pay([(scenario.request(2_000), 2_000)], child.coin(-1))
    scenario.settle()
    assert [account.row().status for account in scenario.requests[-3:]] == ["received"] * 3
    chain.mine([parent, child, grandchild])
    scenario.settle()
    assert [account.row().status for account in scenario.requests[-3:]] == ["confirmed"] * 3

    tomorrow = scenario.request(2_000)
    chain.mine([scenario.pay([(tomorrow, 2_000)], is_public=False)], time=now + TWO_HOURS - 60)
    scenario.settle()
    row = tomorrow.row()
    assert (row.status, row.is_late) == ("confirmed", False)
    scenario.end()


def test_a_replacement_in_a_block_outranks_one_in_the_mempool(scenario: Scenario) -> None:
    """The payment has two coins, and each is double-spent. Only the transaction in the block is certain."""
    scenario.begin()
    account, coins = scenario.request(2_000), [scenario.chain.coin(), scenario.chain.coin()]
    payment = scenario.chain.build_transaction(coins, [(account.script, 2_000)], 2_000)
    assert scenario.chain.publish(payment)
    scenario.settle()
    mined = scenario.pay([], coins[0], is_public=False)
    scenario.chain.mine([mined])
    scenario.settle()
    scenario.pay([], coins[1])
    scenario.daemon.stop()
    scenario.daemon.start()
    assert scenario.daemon.look(PATIENCE_SECONDS)
    [output] = outputs_at(account.row().address_id)
    assert (output.replaced_by, output.replaced_in is None) == (mined.txid, False)
