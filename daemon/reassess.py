"""The only writer of a status: from the facts of a request to what is stored and told of it."""

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from config import Settings
from daemon.counters import Counters
from daemon.failpoint import transaction
from models.address import address_by_id
from models.database import insert
from models.outbox import EMAIL, WEBHOOK, Event, add_message
from models.output import Output, Spend, outputs_at
from models.payment import PaymentRequest, due_payments, store_assessment
from models.report import update_report
from models.seller import has_webhook
from payments.document import payment_document
from payments.letters import is_mailed
from payments.status import Assessment, EventType, Standing, Status, assess, events

log = structlog.get_logger(__name__)

AT_ONCE = 200
"""Requests a transaction: a web process that creates one waits no longer than for these."""


_NEEDS_A_DECISION = (EventType.LATE, EventType.REVERTED, EventType.EXTRA)


class StatusConflict(Exception):
    """Somebody else wrote a status: two daemons work on one database. The process must stop."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A line for the log, once the transaction is done."""

    what: str
    payment: str
    facts: dict[str, Any]


class Assessor:
    """Reads statuses off the facts, and stores them with the events that tell of them."""

    def __init__(self, settings: Settings, pulse: Callable[[], None], counters: Counters) -> None:
        """`pulse` is called between two transactions; what it raises leaves the rest for another time."""
        self._settings = settings
        self._pulse = pulse
        self._counters = counters
        self._published_height: int | None = None

    def assess_due(
        self,
        tip_height: int,
        as_of: datetime,
        now: datetime,
        store_facts: Callable[[], None] | None = None,
    ) -> int:
        """Assess every request that may have changed, at this tip; how many changes that made.

        `as_of` is the moment up to which bitcoind has been read: nothing expires after it. `store_facts`
        stores what makes a difference, in the same transaction as the first.
        """
        told = 0
        while True:
            with transaction("assessed"):
                if store_facts is not None:
                    store_facts()
                    store_facts = None
                payments = due_payments(tip_height, as_of, AT_ONCE)
                lines = [line for p in payments for line in self._assess(p, tip_height, as_of, now)]
                is_last = len(payments) < AT_ONCE
                if is_last and tip_height != self._published_height:
                    update_report(assessed_height=tip_height)
            for line in lines:
                write = log.warning if line.what in _NEEDS_A_DECISION else log.info
                write(line.what, payment=line.payment, **line.facts)
                self._counters.add("events", line.what)
            told += len(lines)
            if is_last:
                self._published_height = tip_height
                return told
            self._pulse()

    def _assess(
        self, payment: PaymentRequest, tip_height: int, as_of: datetime, now: datetime
    ) -> list[_Line]:
        before = payment.standing
        outputs = outputs_at(payment.address_id)
        assessment = assess(
            payment.terms,
            [output.receipt for output in outputs],
            tip_height=tip_height,
            as_of=as_of,
            was_confirmed=payment.status == Status.CONFIRMED.value,
        )
        told = events(before, assessment)
        payment.take_over(assessment, now)
        if told:
            payment.told_sats = assessment.received_sats
        if not store_assessment(payment):
            raise StatusConflict(f"{payment.reference} was assessed by another daemon at the same time")
        if assessment.is_closed:
            _forget_spends(outputs)
        if told:
            self._tell(payment, outputs, told, tip_height, now)
        return _lines(payment, before, assessment, told)

    def _tell(
        self,
        payment: PaymentRequest,
        outputs: list[Output],
        told: Iterable[EventType],
        tip_height: int,
        now: datetime,
    ) -> None:
        document = payment_document(
            payment,
            address_by_id(payment.address_id).address,
            outputs,
            tip_height=tip_height,
            public_url=self._settings.public_url,
        )
        to_seller = has_webhook(payment.seller_id)
        for event_type in told:
            event_id = insert(
                Event,
                reference=f"evt_{secrets.token_hex(16)}",
                payment=payment.id,
                revision=payment.revision,
                type=event_type.value,
                created_at=now,
                payload=document,
            )
            if is_mailed(event_type, document):
                add_message(event_id, payment.id, EMAIL, self._settings.operator_email, EMAIL, now)
            if to_seller:
                queue = f"{WEBHOOK}:{payment.seller_id}"
                add_message(event_id, payment.id, WEBHOOK, payment.seller_id, queue, now)


def _lines(
    payment: PaymentRequest, before: Standing, assessment: Assessment, told: Iterable[EventType]
) -> list[_Line]:
    """The events, or a change of status that is none; and that our work for it ends, or begins anew."""
    names = [event_type.value for event_type in told]
    if not names and before.status is not assessment.status:
        names.append("status changed")
    if before.is_closed is not assessment.is_closed:
        names.append("payment closed" if assessment.is_closed else "payment reopened")
    facts = {
        "seller": payment.seller_id,
        "status": payment.status,
        "confirmations": assessment.confirmations,
        "received_sats": assessment.received_sats,
        "due_sats": assessment.due_sats,
        "txid": assessment.txid,
    }
    return [_Line(name, payment.reference, facts) for name in names]


def _forget_spends(outputs: list[Output]) -> None:
    txids = [output.txid for output in outputs]
    if txids:
        Spend.delete().where(Spend.txid.in_(txids)).execute()
