"""bitcoind answers, and does not know everything yet: what it lacks is not taken for gone, nor for late."""

from datetime import UTC, datetime, timedelta

from models.outbox import events_of
from payments.status import Status
from tests.functional.stage import PATIENCE_SECONDS, Stage
from tests.waiting import wait_until

AMOUNT_SATS = 2_000


def test_nothing_is_gone_while_bitcoind_reads_its_mempool(stage: Stage) -> None:
    """It takes minutes on a large one; no payment that was there before is called dropped."""
    stage.begin()
    account = stage.request(AMOUNT_SATS)
    stage.pay([(account, AMOUNT_SATS)])
    stage.settle()
    stage.restart_bitcoind(is_clean=True)
    stage.settle()
    assert [event.type for event in events_of(account.row())] == ["payment.received"]
    stage.end()


def test_nothing_expires_while_bitcoind_reads_its_mempool(stage: Stage) -> None:
    """A payment in it that nobody has seen yet may have come in time."""
    stage.begin()
    stage.daemon.stop()
    account = stage.request(AMOUNT_SATS, expiry=timedelta(seconds=1))
    stage.pay([(account, AMOUNT_SATS)])
    expires_at = account.row().expires_at
    wait_until(lambda: datetime.now(UTC) > expires_at, PATIENCE_SECONDS, "the request to be over")
    with stage.daemon.loading():
        stage.daemon.start()
        stage.hold("told what a node says that has yet to read its mempool")
    stage.settle()
    assert account.row().status == Status.RECEIVED
    assert [event.type for event in events_of(account.row())] == ["payment.received"]
    stage.end()
