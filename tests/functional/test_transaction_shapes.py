"""Payments have every shape that the consensus rules allow."""

from datetime import UTC, datetime

from models.outbox import events_of
from models.output import outputs_at
from tests.support.scenario import PATIENCE_SECONDS, Scenario

TWO_HOURS = 7200  # Core's MAX_FUTURE_BLOCK_TIME


def test_payments_of_unusual_shapes_are_counted_correctly(stage: Scenario) -> None:
    """The shapes are an empty output, many outputs, unconfirmed ancestors, and a block ahead of the clock."""
    stage.begin()
    world, now = stage.world, int(datetime.now(UTC).timestamp())

    nothing = stage.request(2_000)
    empty = stage.pay([(nothing, 0)], is_public=False)
    world.mine([empty])
    stage.settle()
    assert nothing.row().status == "new"
    assert events_of(nothing.row()) == []
    assert outputs_at(nothing.row().address_id) == []

    many = stage.request(200_000)
    world.mine([stage.pay([(many, 600)] * 200, is_public=False)])
    stage.settle()
    assert many.row().received_sats == 120_000

    parent = stage.pay([(stage.request(2_000), 2_000)])
    child = stage.pay([(stage.request(2_000), 2_000)], parent.coin(-1))
    grandchild = stage.pay([(stage.request(2_000), 2_000)], child.coin(-1))
    stage.settle()
    assert [account.row().status for account in stage.requests[-3:]] == ["received"] * 3
    world.mine([parent, child, grandchild])
    stage.settle()
    assert [account.row().status for account in stage.requests[-3:]] == ["confirmed"] * 3

    tomorrow = stage.request(2_000)
    world.mine([stage.pay([(tomorrow, 2_000)], is_public=False)], time=now + TWO_HOURS - 60)
    stage.settle()
    row = tomorrow.row()
    assert (row.status, row.is_late) == ("confirmed", False)
    stage.end()


def test_a_replacement_in_a_block_outranks_one_in_the_mempool(stage: Scenario) -> None:
    """The payment has two coins, and each is double-spent. Only the transaction in the block is certain."""
    stage.begin()
    account, coins = stage.request(2_000), [stage.world.coin(), stage.world.coin()]
    payment = stage.world.build_transaction(coins, [(account.script, 2_000)], 2_000)
    assert stage.world.publish(payment)
    stage.settle()
    mined = stage.pay([], coins[0], is_public=False)
    stage.world.mine([mined])
    stage.settle()
    stage.pay([], coins[1])
    stage.daemon.stop()
    stage.daemon.start()
    assert stage.daemon.look(PATIENCE_SECONDS)
    [output] = outputs_at(account.row().address_id)
    assert (output.replaced_by, output.replaced_in is None) == (mined.txid, False)
