"""Run what the web process and the operator ask of the daemon. bitcoind is asked before anything changes."""

from collections.abc import Sequence
from datetime import datetime

import structlog

from daemon.chain.mempool import Mempool
from daemon.unit_of_work import unit_of_work
from models.command import ACCEPT, FOLLOW, REDELIVER, TRANSACTION, DaemonCommand, delete_hints
from models.outbox import Message
from models.payment import PaymentRequest, mark_for_reassessment

KINDS = (TRANSACTION, ACCEPT, REDELIVER, FOLLOW)

log = structlog.get_logger(__name__)


class HintHandler:
    """Runs the commands that wait in the database, those of a kind together."""

    def __init__(self, mempool: Mempool) -> None:
        self._mempool = mempool

    def handle(self, hints: Sequence[DaemonCommand], now: datetime) -> None:
        """Run each command once: its deletion and its effect are one transaction."""
        by_kind = {kind: [h for h in hints if h.kind == kind] for kind in KINDS}
        if checks := by_kind[TRANSACTION]:
            self._check(checks, now)
        if acceptances := by_kind[ACCEPT]:
            _accept(acceptances, now)
        if redeliveries := by_kind[REDELIVER]:
            _redeliver(redeliveries, now)
        if orders := by_kind[FOLLOW]:
            _close_orders(orders)

    def _check(self, hints: Sequence[DaemonCommand], now: datetime) -> None:
        """Look at transactions. What is found is stored before the commands are deleted."""
        txids = dict.fromkeys(hint.txid for hint in hints if hint.txid is not None)
        self._mempool.look_at(list(txids), now)
        with unit_of_work("hint-done"):
            delete_hints(hints)
        for hint in hints:
            log.info("transaction looked at", payment=_reference(hint), txid=hint.txid)


def _close_orders(hints: Sequence[DaemonCommand]) -> None:
    """Delete orders to follow a chain. BlockHandler.sync has obeyed, or the chain has enough work."""
    with unit_of_work("hint-done"):
        delete_hints(hints)
    for hint in hints:
        log.warning("chain followed by the operator's order", block=hint.txid)


def _accept(hints: Sequence[DaemonCommand], now: datetime) -> None:
    """Count late money, where there is any that is not accepted yet."""
    late = [p for hint in hints if (p := hint.payment) and p.is_late and p.late_accepted_at is None]
    with unit_of_work("acceptance"):
        is_one = PaymentRequest.id.in_([payment.id for payment in late])
        PaymentRequest.update(late_accepted_at=now).where(is_one).execute()
        mark_for_reassessment(payment.address_id for payment in late)
        delete_hints(hints)
    for payment in late:
        log.info("late payment accepted", payment=payment.reference)


def _redeliver(hints: Sequence[DaemonCommand], now: datetime) -> None:
    """Queue messages to be sent now. Pruning a message has deleted its command as well."""
    ids = [hint.message_id for hint in hints]
    changes = {"next_attempt_at": now, "delivered_at": None, "failed_at": None, "acknowledged_at": None}
    with unit_of_work("hint-done"):
        Message.update(**changes, attempts=0).where(Message.id.in_(ids)).execute()
        queued = list(Message.select().where(Message.id.in_(ids)).order_by(Message.id))
        delete_hints(hints)
    for message in queued:
        reference, event_id = message.payment.reference, message.event.reference
        log.info("redelivery queued", payment=reference, event_id=event_id, channel=message.channel)


def _reference(hint: DaemonCommand) -> str | None:
    return None if hint.payment is None else str(hint.payment.reference)
