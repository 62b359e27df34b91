"""A payment that nobody mines is forgotten by bitcoind: it does not count, and is not forgotten by us."""

from datetime import UTC, datetime, timedelta

import pytest

from models.outbox import events_of
from models.output import DROPPED, Output
from payments.status import Status
from tests.support.in_process_daemon import FeedDelivery
from tests.support.scenario import Scenario

pytestmark = pytest.mark.bitcoind

AMOUNT_SATS = 2_000
EXPIRY = timedelta(days=15)
"""bitcoind keeps a transaction for 14 days (-mempoolexpiry)."""


def test_a_payment_that_leaves_a_mempool_is_dropped_and_live_again_when_it_comes_back(
    stage: Scenario,
) -> None:
    """bitcoind says nothing of it: in silence, too, each that is in no block is asked after."""
    stage.begin()
    stage.daemon.stop()
    stage.daemon.start(FeedDelivery.NOTHING)
    account, other = stage.request(AMOUNT_SATS), stage.request(AMOUNT_SATS)
    sent = stage.pay([(account, AMOUNT_SATS)])
    stage.settle()
    try:
        stage.world.node.rpc("setmocktime", int((datetime.now(UTC) + EXPIRY).timestamp()))
        stage.pay([(other, AMOUNT_SATS)])
        assert sent.txid not in stage.world.view().mempool
        stage.settle()
    finally:
        stage.world.node.rpc("setmocktime", 0)
    assert account.row().status == Status.NEW
    assert Output.get(Output.txid == sent.txid).state == DROPPED

    assert stage.world.publish(sent)
    stage.settle()
    assert account.row().status == Status.RECEIVED
    told = [event.type for event in events_of(account.row())]
    assert told == ["payment.received", "payment.reverted", "payment.received"]
    stage.end()
