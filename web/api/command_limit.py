"""What a seller has asked of the daemon that is not done yet, and how much of it there may be."""

from collections.abc import Iterable
from http import HTTPStatus

from models.command import ACCEPT, REDELIVER, TRANSACTION, Hint
from models.outbox import Message
from models.payment import PaymentRequest
from web.http.answer import RETRY_AFTER_SECONDS, Problem

MOST_PENDING = 100


def check_room(seller_id: str) -> None:
    """One seller can't keep the daemon busy for all: Problem 429 while a hundred wishes wait."""
    waiting = Hint.select().join(PaymentRequest).where(PaymentRequest.seller == seller_id).count()
    if waiting >= MOST_PENDING:
        detail = f"{waiting} requests of this seller wait for the daemon already; try again later"
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        raise Problem(HTTPStatus.TOO_MANY_REQUESTS, "too-many-requests", detail, headers=headers)


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
