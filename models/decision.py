"""The decisions of the operator and of sellers on payment requests, for the timeline of a request."""

from datetime import datetime
from enum import StrEnum

import peewee

from models.db.connection import Table, UtcDateTimeField, insert
from models.payment import PaymentRequest

MAX_COMMENT_CHARACTERS = 200


class DecisionKind(StrEnum):
    """A decision: late money accepted, a request marked as done, or that mark undone.

    A shop can also mark its invoice as paid or as invalid by hand (docs/greenfield.md 2).
    """

    ACCEPTED = "accepted"
    SETTLED = "settled"
    REOPENED = "reopened"
    MARKED_PAID = "paid"
    MARKED_INVALID = "invalid"


class DecidedBy(StrEnum):
    """The way by which a decision came."""

    PAGE = "page"
    COMMAND = "command"
    API = "api"


class Decision(Table):
    """A decision on a request. `comment` is a line of the operator's, or empty."""

    payment_id: int
    id = peewee.BigAutoField()
    payment = peewee.ForeignKeyField(PaymentRequest, on_delete="RESTRICT")
    kind = peewee.CharField(max_length=10)
    at = UtcDateTimeField(index=True)
    by = peewee.CharField(max_length=10)
    comment = peewee.TextField(default="")


def add_decision(
    payment: PaymentRequest, kind: DecisionKind, now: datetime, by: DecidedBy, comment: str = ""
) -> None:
    """Store a decision. Must run inside the transaction that carries it out."""
    insert(Decision, payment=payment.id, kind=kind.value, at=now, by=by.value, comment=comment)


def decisions_of(payment: PaymentRequest) -> list[Decision]:
    """Return the decisions on a request, the oldest first."""
    return list(Decision.select().where(Decision.payment == payment).order_by(Decision.id))


def last_decision(payment: PaymentRequest) -> Decision | None:
    """Return the newest decision on a request, or None."""
    newest: Decision | None = (
        Decision.select().where(Decision.payment == payment).order_by(Decision.id.desc()).first()
    )
    return newest


def decisions_at(at: datetime) -> list[Decision]:
    """Return the decisions of this moment, which one form made together, with their requests."""
    return list(
        Decision.select(Decision, PaymentRequest)
        .join(PaymentRequest)
        .where(Decision.at == at)
        .order_by(Decision.id)
    )


def is_comment(text: str) -> bool:
    """Return whether a comment can be this text: one line of at most MAX_COMMENT_CHARACTERS characters."""
    return len(text) <= MAX_COMMENT_CHARACTERS and text.isprintable()
