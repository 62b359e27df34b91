"""Reorgs of many depths, with the daemon running or down. Payments move, leave, and are double-spent."""

import os
from datetime import UTC, datetime, timedelta

import pytest

from models import block
from models.outbox import events_of
from payments.status import CLOSING_DEPTH, Status
from tests.support.in_process_daemon import FeedDelivery
from tests.support.scenario import Scenario
from tests.support.tx_builder import ANYONE_CAN_SPEND

pytestmark = [pytest.mark.bitcoind, pytest.mark.slow]

IS_SOAK = bool(os.environ.get("NODETILL_SOAK_KILLS"))
DEPTHS = (1, 2, 3, 9, 10, 11, 50, 99, 100, 143, 150) if IS_SOAK else (1, 2, 11, 150)

AMOUNT_SATS = 2_000
BLOCKS_KEPT = 5


def _fork(scenario: Scenario, depth: int, *, is_live: bool) -> None:
    """Replace blocks. One payment stays, one moves, one leaves, one is double-spent, and one is new."""
    for _ in range(5):
        scenario.request(AMOUNT_SATS, confirmations=2)
    same, moved, dropped, double_spent = [
        scenario.pay([(account, AMOUNT_SATS)]) for account in scenario.requests[:4]
    ]
    scenario.settle()
    scenario.chain.mine([same, moved, dropped, double_spent])
    for _ in range(depth - 1):
        scenario.chain.mine()
    scenario.settle()
    if not is_live:
        scenario.daemon.stop()
    scenario.is_rough = True
    # A closed request has no stored inputs, so its double-spend looks like a payment that left the mempool.
    is_closed = depth >= CLOSING_DEPTH
    double_spends = (
        [] if is_closed else [scenario.replace(double_spent, [(ANYONE_CAN_SPEND, 1_000)], is_public=False)]
    )
    new = scenario.pay([(scenario.requests[4], AMOUNT_SATS)], is_public=False)
    scenario.chain.reorg(depth, [[same, *double_spends], [moved, new]])
    if not is_live:
        scenario.daemon.start()
    scenario.settle()
    _check(scenario, depth)


def _check(scenario: Scenario, depth: int) -> None:
    """Assert the statuses. At each depth bitcoind has the removed payments in its mempool again."""
    is_double_spent = depth < CLOSING_DEPTH
    assert [account.row().status for account in scenario.requests] == [
        _mined(depth, 1),
        _mined(depth, 2),
        Status.RECEIVED,
        Status.NEW if is_double_spent else Status.RECEIVED,
        _mined(depth, 2),
    ]


def _mined(depth: int, place: int) -> Status:
    """Return the status of a payment in block `place` of the new branch, which has `depth` + 1 blocks."""
    return Status.CONFIRMED if depth + 2 - place >= 2 or depth >= 2 else Status.CONFIRMING


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_reorg_of_any_depth_is_followed(scenario: Scenario, depth: int) -> None:
    """The daemon runs or is down. Outputs, statuses and events are correct, and each email comes once."""
    for is_live in (True, False):
        scenario.begin()
        for _ in range(depth):
            scenario.chain.mine()
        _fork(scenario, depth, is_live=is_live)
        scenario.end()


@pytest.fixture
def few_blocks(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> Scenario:
    """Return a scenario whose daemon keeps only a few blocks."""
    monkeypatch.setattr(block, "BLOCKS_KEPT", BLOCKS_KEPT)
    return scenario


@pytest.mark.parametrize("is_live", [True, False])
def test_a_reorg_below_the_kept_blocks_is_read_again(few_blocks: Scenario, is_live: bool) -> None:
    """The daemon reads the chain again from the oldest open request on."""
    few_blocks.begin()
    _fork(few_blocks, 3 * BLOCKS_KEPT, is_live=is_live)
    few_blocks.end()


def test_a_reorg_below_the_kept_blocks_opens_closed_requests(few_blocks: Scenario) -> None:
    """A closed request whose payment left the chain is older than each open request."""
    scenario = few_blocks
    scenario.begin()
    dropped, moved = scenario.request(AMOUNT_SATS), scenario.request(AMOUNT_SATS)
    sent = [scenario.pay([(account, AMOUNT_SATS)], is_public=False) for account in (dropped, moved)]
    scenario.chain.mine(sent)
    for _ in range(99):
        scenario.chain.mine()
    scenario.settle()
    assert all(account.row().closed_at for account in (dropped, moved))

    young = scenario.request(AMOUNT_SATS).row()
    young.created_at = datetime.now(UTC) + timedelta(hours=4)
    young.save(only=[type(young).created_at])
    scenario.is_rough = True
    scenario.chain.reorg(100, [[], sent[1:]])
    scenario.settle()
    assert dropped.row().status == Status.RECEIVED
    assert moved.row().status == Status.CONFIRMED
    assert [event.type for event in events_of(dropped.row())][-1] == "payment.reverted"
    scenario.end()


def test_payments_below_the_blocks_that_are_read_again_stay_mined(few_blocks: Scenario) -> None:
    """One of them is in the same block as the double-spend of another payment."""
    scenario = few_blocks
    scenario.begin()
    account = scenario.request(AMOUNT_SATS)
    double_spent = scenario.pay([(account, AMOUNT_SATS)])
    scenario.settle()
    double_spend = scenario.replace(double_spent, [(ANYONE_CAN_SPEND, 1_000)], is_public=False)
    scenario.chain.mine([double_spend, scenario.pay([(account, AMOUNT_SATS)], is_public=False)])
    for _ in range(99):
        scenario.chain.mine()
    scenario.settle()
    assert account.row().closed_at

    young = scenario.request(AMOUNT_SATS).row()
    young.created_at = datetime.now(UTC) + timedelta(hours=4)
    young.save(only=[type(young).created_at])
    scenario.is_rough = True
    scenario.chain.reorg(2 * BLOCKS_KEPT, [])
    scenario.settle()
    assert account.row().status == Status.CONFIRMED
    assert "payment.reverted" not in [event.type for event in events_of(account.row())][2:]
    scenario.end()


@pytest.mark.parametrize("delivery", FeedDelivery)
def test_the_daemon_follows_a_node_that_lost_its_blocks(scenario: Scenario, delivery: FeedDelivery) -> None:
    """After a crash of the node, the daemon waits for its blocks. Another chain of the node counts."""
    scenario.begin()
    scenario.daemon.stop()
    scenario.daemon.start(delivery)
    account, other = scenario.request(AMOUNT_SATS), scenario.request(AMOUNT_SATS, confirmations=3)
    sent = scenario.pay([(account, AMOUNT_SATS)])
    scenario.pay([(other, AMOUNT_SATS)], is_public=False)
    scenario.chain.mine(scenario.sent)
    scenario.chain.mine()
    scenario.settle()
    assert account.row().status == Status.CONFIRMED
    scenario.restart_bitcoind(is_clean=False)
    scenario.chain.reorg(4, [[], [sent]])
    scenario.settle()
    assert account.row().status == Status.CONFIRMED
    assert other.row().status == Status.RECEIVED
    scenario.end()
