"""What the web process and the operator ask of the daemon. A hint says "look at this", never what is true."""

from collections.abc import Iterable
from datetime import datetime

import peewee

from models.db.connection import MomentField, Table, rows
from models.outbox import Message
from models.payment import PaymentRequest

TRANSACTION, ACCEPT, REDELIVER, FOLLOW = "transaction", "accept", "redeliver", "follow"


class Hint(Table):
    """A wish that the daemon carries out and deletes. For FOLLOW `txid` is the hash of a block."""

    payment_id: int | None
    message_id: int | None
    id = peewee.BigAutoField()
    kind = peewee.CharField(max_length=12)
    payment = peewee.ForeignKeyField(PaymentRequest, on_delete="CASCADE", null=True)
    txid = peewee.CharField(max_length=64, null=True)
    message = peewee.ForeignKeyField(Message, on_delete="CASCADE", null=True)
    created_at = MomentField()


# A wish that waits is not made again, by however many at once. On PostgreSQL two who look first see neither.
for _name, _kind, *_columns in (
    ("hint_one_transaction", TRANSACTION, Hint.payment, Hint.txid),
    ("hint_one_acceptance", ACCEPT, Hint.payment),
    ("hint_one_redelivery", REDELIVER, Hint.message),
    ("hint_one_follow", FOLLOW, Hint.txid),
):
    Hint.add_index(Hint.index(*_columns, name=_name, unique=True, where=Hint.kind == _kind))


def add_transaction_hint(payment: PaymentRequest, txid: str, now: datetime) -> None:
    """Ask the daemon to look at a transaction."""
    _add(kind=TRANSACTION, payment=payment, txid=txid, created_at=now)


def add_acceptance(payment: PaymentRequest, now: datetime) -> None:
    """Ask the daemon to count late money for this request."""
    _add(kind=ACCEPT, payment=payment, created_at=now)


def add_redelivery(message: Message, now: datetime) -> None:
    """Ask the daemon to send a message again."""
    _add(kind=REDELIVER, payment=message.payment_id, message=message, created_at=now)


def add_chain_to_follow(block_hash: str, now: datetime) -> None:
    """Order the daemon to follow the node's chain while it has this block, though it has less work."""
    _add(kind=FOLLOW, txid=block_hash, created_at=now)


def blocks_to_follow() -> list[str]:
    """Return the hashes in these orders."""
    orders = Hint.select(Hint.txid).where(Hint.kind == FOLLOW).order_by(Hint.id)
    return [order.txid for order in orders if order.txid is not None]


def pending_hints(limit: int = 100) -> list[Hint]:
    """The oldest wishes."""
    return rows(Hint, "SELECT * FROM hint ORDER BY id LIMIT ?", limit)


def _add(**values: object) -> None:
    Hint.insert(**values).on_conflict_ignore().execute()


def is_transaction_pending(payment: PaymentRequest, txid: str) -> bool:
    """Whether the daemon is to look at it for this request anyway."""
    return _exists((Hint.kind == TRANSACTION) & (Hint.payment == payment) & (Hint.txid == txid))


def is_acceptance_pending(payment: PaymentRequest) -> bool:
    """Whether late money is to be accepted anyway."""
    return _exists((Hint.kind == ACCEPT) & (Hint.payment == payment))


def is_redelivery_pending(message: Message) -> bool:
    """Whether it is to be sent again anyway."""
    return _exists((Hint.kind == REDELIVER) & (Hint.message == message))


def acceptances_pending(payments: Iterable[PaymentRequest]) -> set[int]:
    """The ids of those among them whose late money is to be accepted anyway."""
    ids = [payment.id for payment in payments]
    waiting = Hint.select(Hint.payment).where((Hint.kind == ACCEPT) & Hint.payment.in_(ids))
    return {hint.payment_id for hint in waiting if hint.payment_id}


def redeliveries_pending(payment: PaymentRequest) -> set[int]:
    """The ids of its messages that are to be sent again anyway."""
    waiting = Hint.select(Hint.message).where((Hint.kind == REDELIVER) & (Hint.payment == payment))
    return {hint.message_id for hint in waiting if hint.message_id}


def _exists(condition: object) -> bool:
    return bool(Hint.select().where(condition).exists())
