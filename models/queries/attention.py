"""The requests that need the operator's decision, and the requests that are still open.

Both are few among very many requests.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from peewee import SQL

from models.db.connection import database
from models.decision import DecidedBy, DecisionKind, add_decision, last_decision
from models.link import COUNTS_PARTS, Link
from models.outbox import GIVEN_UP, REVERTED, Event, Message
from models.payment import IN_QUESTION, PaymentRequest
from payments.money import DUST_LIMIT_SATS
from payments.status import Status

DECIDED = (Status.CONFIRMED, Status.EXPIRED)
"""The statuses in which nearly all requests end."""

MAX_ACTIONS_COUNTED = 1000


class ActionNeeded(StrEnum):
    """The reason for which a request needs a decision."""

    LATE = "late"
    PART = "part"
    EXTRA = "extra"
    REVERTED = "reverted"
    UNDELIVERED = "undelivered"


def needs_action(need: ActionNeeded) -> Any:
    """Return the condition that a request needs this decision and that the operator has not acknowledged it.

    An overpayment needs a decision only from the dust limit on, because less cannot be sent back.
    """
    is_expired = PaymentRequest.status == Status.EXPIRED.value
    money = SQL(IN_QUESTION)
    match need:
        case ActionNeeded.LATE:
            return money & is_expired & PaymentRequest.is_late
        case ActionNeeded.PART:
            return money & is_expired & ~PaymentRequest.is_late & ~_counts_for_its_link()
        case ActionNeeded.EXTRA:
            return money & ~is_expired & (PaymentRequest.overpaid_sats >= DUST_LIMIT_SATS)
        case ActionNeeded.REVERTED:
            is_back = PaymentRequest.status == Status.CONFIRMED.value
            return PaymentRequest.id.in_(Event.select(Event.payment).where(SQL(REVERTED))) & ~is_back
        case ActionNeeded.UNDELIVERED:
            return PaymentRequest.id.in_(Message.select(Message.payment).where(SQL(GIVEN_UP)))


def _counts_for_its_link() -> Any:
    """Return the condition that all money of a request counts for its single-use link."""
    links = Link.select(Link.id).where(SQL(COUNTS_PARTS))
    is_its_part = PaymentRequest.link.is_null(False) & PaymentRequest.link.in_(links)
    return is_its_part & (PaymentRequest.counted_sats == PaymentRequest.received_sats)


def action_counts() -> Mapping[ActionNeeded, int]:
    """Return the number of requests that need each decision, at most MAX_ACTIONS_COUNTED. Leave out zeros."""
    counts = {}
    for need in ActionNeeded:
        some = PaymentRequest.select(PaymentRequest.id).where(needs_action(need)).limit(MAX_ACTIONS_COUNTED)
        counts[need] = some.count(database)
    return MappingProxyType({need: count for need, count in counts.items() if count})


def acknowledge(
    payment: PaymentRequest, revision: int, now: datetime, by: DecidedBy, comment: str = ""
) -> bool:
    """Acknowledge the state of a request at this revision, so that it needs no decision.

    Return False if the request has changed since this revision. Then nothing is acknowledged. Must run inside
    a transaction.
    """
    changed = (
        PaymentRequest.update(acknowledged_sats=PaymentRequest.received_sats)
        .where((PaymentRequest.id == payment.id) & (PaymentRequest.revision == revision))
        .execute()
    )
    if changed:
        Event.update(acknowledged_at=now).where((Event.payment == payment) & SQL(REVERTED)).execute()
        Message.update(acknowledged_at=now).where((Message.payment == payment) & SQL(GIVEN_UP)).execute()
        add_decision(payment, DecisionKind.SETTLED, now, by, comment)
    return bool(changed)


def reopen(payment: PaymentRequest, now: datetime, by: DecidedBy) -> bool:
    """Undo the last acknowledgement of a request. Return False if its last decision is none.

    Must run inside a transaction.
    """
    last = last_decision(payment)
    if last is None or last.kind != DecisionKind.SETTLED:
        return False
    PaymentRequest.update(acknowledged_sats=None).where(PaymentRequest.id == payment.id).execute()
    for table in (Event, Message):
        is_its = (table.payment == payment) & (table.acknowledged_at == last.at)
        table.update(acknowledged_at=None).where(is_its).execute()
    add_decision(payment, DecisionKind.REOPENED, now, by)
    return True


def actions_for(payment: PaymentRequest) -> list[ActionNeeded]:
    """Return the decisions that this request needs."""
    is_this = PaymentRequest.id == payment.id
    return [
        need for need in ActionNeeded if PaymentRequest.select().where(is_this & needs_action(need)).exists()
    ]
