"""Carrying out what the web process and the operator asked for. A hint is looked into, never believed."""

from datetime import datetime

import structlog

from daemon.chain.mempool import Mempool
from daemon.unit_of_work import unit_of_work
from models.command import ACCEPT, FOLLOW, REDELIVER, TRANSACTION, Hint
from models.outbox import Message
from models.payment import PaymentRequest, touch

log = structlog.get_logger(__name__)


class HintHandler:
    """Takes hints from the database."""

    def __init__(self, mempool: Mempool) -> None:
        self._mempool = mempool

    def handle(self, hints: list[Hint], now: datetime) -> None:
        """Carry these out, each once: a hint and what came of it go in one transaction."""
        for hint in hints:
            if hint.kind == TRANSACTION and hint.txid is not None:
                self._mempool.look_at(hint.txid, now)
                log.info("transaction looked at", payment=_reference(hint), txid=hint.txid)
            with unit_of_work("acceptance" if hint.kind == ACCEPT else "hint-done"):
                if hint.kind == ACCEPT:
                    _accept(hint, now)
                elif hint.kind == REDELIVER:
                    _redeliver(hint, now)
                elif hint.kind == FOLLOW:
                    # BlockHandler.sync has obeyed by now, or the chain has enough work without it.
                    log.warning("chain followed by the operator's order", block=hint.txid)
                hint.delete_instance()


def _accept(hint: Hint, now: datetime) -> None:
    payment = hint.payment
    if payment is None or not payment.is_late or payment.late_accepted_at is not None:
        return
    changed = PaymentRequest.update(late_accepted_at=now).where(PaymentRequest.id == payment.id)
    changed.execute()
    touch([payment.address_id])
    log.info("late payment accepted", payment=payment.reference)


def _redeliver(hint: Hint, now: datetime) -> None:
    is_its = Message.id == hint.message_id
    changes = {"next_attempt_at": now, "delivered_at": None, "failed_at": None, "settled_at": None}
    # One that the courier has pruned meanwhile took the wish with it.
    if Message.update(**changes, attempts=0).where(is_its).execute():
        message = Message.get(is_its)
        reference, event_id = _reference(hint), message.event.reference
        log.info("redelivery queued", payment=reference, event_id=event_id, channel=message.channel)


def _reference(hint: Hint) -> str | None:
    return None if hint.payment is None else str(hint.payment.reference)
