"""A payment that expires from bitcoind's mempool does not count until it returns."""

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


def test_a_payment_that_leaves_the_mempool_is_dropped_until_it_returns(
    stage: Scenario,
) -> None:
    """bitcoind publishes nothing about the expiry, so the daemon looks up each unconfirmed payment."""
    stage.begin()
    stage.daemon.stop()
    stage.daemon.start(FeedDelivery.NOTHING)
    request, other = stage.request(AMOUNT_SATS), stage.request(AMOUNT_SATS)
    sent = stage.pay([(request, AMOUNT_SATS)])
    stage.settle()
    try:
        stage.world.node.rpc("setmocktime", int((datetime.now(UTC) + EXPIRY).timestamp()))
        stage.pay([(other, AMOUNT_SATS)])
        assert sent.txid not in stage.world.view().mempool
        stage.settle()
    finally:
        stage.world.node.rpc("setmocktime", 0)
    assert request.row().status == Status.NEW
    assert Output.get(Output.txid == sent.txid).state == DROPPED

    assert stage.world.publish(sent)
    stage.settle()
    assert request.row().status == Status.RECEIVED
    events = [event.type for event in events_of(request.row())]
    assert events == ["payment.received", "payment.reverted", "payment.received"]
    stage.end()
