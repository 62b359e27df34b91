"""Reorgs of every depth, live and while the daemon is down: payments move, go, and are stolen."""

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
KEPT = 5


def _fork(stage: Scenario, depth: int, *, is_live: bool) -> None:
    """One payment stays, one moves to another block, one goes, one is stolen, one is new."""
    for _ in range(5):
        stage.request(AMOUNT_SATS, confirmations=2)
    same, moved, gone, stolen = [stage.pay([(account, AMOUNT_SATS)]) for account in stage.requests[:4]]
    stage.settle()
    stage.world.mine([same, moved, gone, stolen])
    for _ in range(depth - 1):
        stage.world.mine()
    stage.settle()
    if not is_live:
        stage.daemon.stop()
    stage.is_rough = True
    # What a closed request spent is forgotten: a theft looks as if the payment were simply gone.
    is_closed = depth >= CLOSING_DEPTH
    thieves = [] if is_closed else [stage.replace(stolen, [(ANYONE_CAN_SPEND, 1_000)], is_public=False)]
    fresh = stage.pay([(stage.requests[4], AMOUNT_SATS)], is_public=False)
    stage.world.reorg(depth, [[same, *thieves], [moved, fresh]])
    if not is_live:
        stage.daemon.start()
    stage.settle()
    _check(stage, depth)


def _check(stage: Scenario, depth: int) -> None:
    """bitcoind has what went in its mempool again, whatever the depth."""
    is_stolen = depth < CLOSING_DEPTH
    assert [account.row().status for account in stage.requests] == [
        _mined(depth, 1),
        _mined(depth, 2),
        Status.RECEIVED,
        Status.NEW if is_stolen else Status.RECEIVED,
        _mined(depth, 2),
    ]


def _mined(depth: int, place: int) -> Status:
    """Of a payment in the fork's first or second block, of `depth` + 1."""
    return Status.CONFIRMED if depth + 2 - place >= 2 or depth >= 2 else Status.CONFIRMING


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_fork_of_any_depth_is_followed(stage: Scenario, depth: int) -> None:
    """Live, and while the daemon is down: outputs, statuses and events are true, and all emails come once."""
    for is_live in (True, False):
        stage.begin()
        for _ in range(depth):
            stage.world.mine()
        _fork(stage, depth, is_live=is_live)
        stage.end()


@pytest.fixture
def forgetful(stage: Scenario, monkeypatch: pytest.MonkeyPatch) -> Scenario:
    """A daemon that keeps only a few blocks to find its way back by."""
    monkeypatch.setattr(block, "BLOCKS_KEPT", KEPT)
    return stage


@pytest.mark.parametrize("is_live", [True, False])
def test_a_fork_below_all_that_was_kept_is_read_again(forgetful: Scenario, is_live: bool) -> None:
    """From the oldest open request on: it is as if the daemon had been there."""
    forgetful.begin()
    _fork(forgetful, 3 * KEPT, is_live=is_live)
    forgetful.end()


def test_a_fork_below_all_that_was_kept_opens_what_had_closed(forgetful: Scenario) -> None:
    """A closed request whose payment is gone is older than all that are open; it is not forgotten."""
    stage = forgetful
    stage.begin()
    gone, moved = stage.request(AMOUNT_SATS), stage.request(AMOUNT_SATS)
    sent = [stage.pay([(account, AMOUNT_SATS)], is_public=False) for account in (gone, moved)]
    stage.world.mine(sent)
    for _ in range(99):
        stage.world.mine()
    stage.settle()
    assert all(account.row().closed_at for account in (gone, moved))

    young = stage.request(AMOUNT_SATS).row()
    young.created_at = datetime.now(UTC) + timedelta(hours=4)
    young.save(only=[type(young).created_at])
    stage.is_rough = True
    stage.world.reorg(100, [[], sent[1:]])
    stage.settle()
    assert gone.row().status == Status.RECEIVED
    assert moved.row().status == Status.CONFIRMED
    assert [event.type for event in events_of(gone.row())][-1] == "payment.reverted"
    stage.end()


def test_what_lies_below_the_blocks_that_are_read_again_stays_mined(forgetful: Scenario) -> None:
    """Also a payment in the very block that holds another's double-spend."""
    stage = forgetful
    stage.begin()
    account = stage.request(AMOUNT_SATS)
    stolen = stage.pay([(account, AMOUNT_SATS)])
    stage.settle()
    thief = stage.replace(stolen, [(ANYONE_CAN_SPEND, 1_000)], is_public=False)
    stage.world.mine([thief, stage.pay([(account, AMOUNT_SATS)], is_public=False)])
    for _ in range(99):
        stage.world.mine()
    stage.settle()
    assert account.row().closed_at

    young = stage.request(AMOUNT_SATS).row()
    young.created_at = datetime.now(UTC) + timedelta(hours=4)
    young.save(only=[type(young).created_at])
    stage.is_rough = True
    stage.world.reorg(2 * KEPT, [])
    stage.settle()
    assert account.row().status == Status.CONFIRMED
    assert "payment.reverted" not in [event.type for event in events_of(account.row())][2:]
    stage.end()


@pytest.mark.parametrize("hearing", FeedDelivery)
def test_a_node_that_lost_its_blocks_and_gets_others_is_followed(
    stage: Scenario, hearing: FeedDelivery
) -> None:
    """After a crash it is waited for; where it comes to another chain, that one is true."""
    stage.begin()
    stage.daemon.stop()
    stage.daemon.start(hearing)
    account, other = stage.request(AMOUNT_SATS), stage.request(AMOUNT_SATS, confirmations=3)
    sent = stage.pay([(account, AMOUNT_SATS)])
    stage.pay([(other, AMOUNT_SATS)], is_public=False)
    stage.world.mine(stage.sent)
    stage.world.mine()
    stage.settle()
    assert account.row().status == Status.CONFIRMED
    stage.restart_bitcoind(is_clean=False)
    stage.world.reorg(4, [[], [sent]])
    stage.settle()
    assert account.row().status == Status.CONFIRMED
    assert other.row().status == Status.RECEIVED
    stage.end()
