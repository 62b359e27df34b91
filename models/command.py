"""Commands for the daemon, from the web process, the operator and the daemon itself.

A command never states a fact. A command that is pending is not stored again. Each function reads before it
writes, because the read needs no write lock. The daemon and all other writers wait for that lock.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

import peewee

from models.db.connection import (
    Table,
    UtcDateTimeField,
    chunked,
    execute,
    fetch_all,
)
from models.decision import DecidedBy, DecisionKind, add_decision
from models.outbox import Message
from models.payment import PaymentRequest
from models.webhook import Webhook
from payments.cancellation import obstacle
from payments.greenfield.facts import Mark
from payments.greenfield.marking import Marking
from payments.status import Status

CHECK_TRANSACTION = "transaction"
ACCEPT_LATE = "accept"
CANCEL = "cancel"
REDELIVER = "redeliver"
FOLLOW = "follow"
REASSESS = "reassess"
"""The web process has changed a fact of a request, such as its mark."""
TEST_WEBHOOK = "test_webhook"

_DECISIONS = {
    None: DecisionKind.ACCEPTED,
    Mark.SETTLED: DecisionKind.MARKED_PAID,
    Mark.INVALID: DecisionKind.MARKED_INVALID,
}

MAX_CHECKS_PER_SELLER = 10
"""The transactions of one seller in one batch. The limit lets all sellers take turns."""

OpenTransaction = Callable[[], AbstractContextManager[Any]]


class NotLate(Exception):
    """The request has no late money to accept."""


class NotCancellable(Exception):
    """The request cannot be cancelled. The text is the reason, as a clause."""


class DaemonCommand(Table):
    """A command that the daemon runs and then deletes. For FOLLOW, `txid` is the hash of a block."""

    payment_id: int | None
    message_id: int | None
    webhook_id: int | None
    id = peewee.BigAutoField()
    kind = peewee.CharField(max_length=12)
    payment = peewee.ForeignKeyField(PaymentRequest, on_delete="CASCADE", null=True)
    txid = peewee.CharField(max_length=64, null=True)
    message = peewee.ForeignKeyField(Message, on_delete="CASCADE", null=True)
    webhook = peewee.ForeignKeyField(Webhook, on_delete="CASCADE", null=True)
    created_at = UtcDateTimeField()


# Two callers can read at the same time, and then store the same command. The indexes prevent this.
for _name, _kind, *_columns in (
    ("hint_one_transaction", CHECK_TRANSACTION, DaemonCommand.payment, DaemonCommand.txid),
    ("hint_one_acceptance", ACCEPT_LATE, DaemonCommand.payment),
    ("hint_one_cancellation", CANCEL, DaemonCommand.payment),
    ("hint_one_redelivery", REDELIVER, DaemonCommand.message),
    ("hint_one_follow", FOLLOW, DaemonCommand.txid),
    ("hint_one_reassessment", REASSESS, DaemonCommand.payment),
    ("hint_one_test", TEST_WEBHOOK, DaemonCommand.webhook),
):
    DaemonCommand.add_index(
        DaemonCommand.index(*_columns, name=_name, unique=True, where=DaemonCommand.kind == _kind)
    )


def request_check(payment: PaymentRequest, txid: str, now: datetime, transaction: OpenTransaction) -> bool:
    """Store the command to check a transaction. Return False if the command is pending already."""
    if is_transaction_pending(payment, txid):
        return False
    with transaction():
        return add_transaction_check(payment, txid, now)


def request_acceptance(
    payment: PaymentRequest, now: datetime, transaction: OpenTransaction, by: DecidedBy
) -> bool:
    """Store the command to accept late money, and the decision.

    Return False if the money is accepted already, or if the command is pending.

    Raise NotLate.
    """
    if payment.late_accepted_at is not None or is_acceptance_pending(payment):
        return False
    if not payment.is_late:
        raise NotLate
    with transaction():
        if not add_acceptance(payment, now):
            return False
        add_decision(payment, DecisionKind.ACCEPTED, now, by)
    return True


def request_marking(
    payment: PaymentRequest, marking: Marking, now: datetime, transaction: OpenTransaction, by: DecidedBy
) -> bool:
    """Store a mark by hand with the command to assess the request again, or to accept its late money.

    Return False if the request has changed since it was read, because the mark may no longer be allowed.
    """
    mark = marking.mark
    if mark is None and is_acceptance_pending(payment):
        return True
    before = PaymentRequest.marked
    is_as_marked = before.is_null() if payment.marked is None else before == payment.marked
    is_as_read = (PaymentRequest.id == payment.id) & (PaymentRequest.revision == payment.revision)
    with transaction():
        marked_at = None if mark is None else now
        changes = PaymentRequest.update(marked=mark and mark.value, marked_at=marked_at)
        if not changes.where(is_as_read & is_as_marked).execute():
            return False
        if mark is not None:
            add_reassessment(payment, now)
        elif not add_acceptance(payment, now):
            return True
        add_decision(payment, _DECISIONS[mark], now, by)
    return True


def request_cancellation(payment: PaymentRequest, now: datetime, transaction: OpenTransaction) -> bool:
    """Store the command to cancel a request. Return False if it is cancelled, or if the command is pending.

    Raise NotCancellable.
    """
    if payment.is_cancelled or is_cancellation_pending(payment):
        return False
    reason = obstacle(Status(payment.status), payment.expires_at, now)
    if reason is not None:
        raise NotCancellable(reason)
    with transaction():
        return add_cancellation(payment, now)


def request_redelivery(message: Message, now: datetime, transaction: OpenTransaction) -> bool:
    """Store the command to send a message again. Return False if it is pending, or the message is pruned."""
    try:
        return request_redeliveries([message], now, transaction) == 1
    except peewee.IntegrityError:
        # On PostgreSQL the daemon may prune the message during the statement.
        return False


def request_redeliveries(messages: Iterable[Message], now: datetime, transaction: OpenTransaction) -> int:
    """Store the commands to send these messages again. Return the number of new commands."""
    ids = [message.id for message in messages]
    pending = pending_redeliveries(ids)
    new = [id_ for id_ in ids if id_ not in pending]
    if not new:
        return 0
    with transaction():
        return sum(_insert_redeliveries(batch, now) for batch in chunked(new))


def request_webhook_test(webhook: Webhook, now: datetime, transaction: OpenTransaction) -> bool:
    """Store the command to send a test to an endpoint. Return False if the command is pending already."""
    if is_webhook_test_pending(webhook):
        return False
    with transaction():
        return _add(kind=TEST_WEBHOOK, webhook=webhook.id, created_at=now)


def add_transaction_check(payment: PaymentRequest, txid: str, now: datetime) -> bool:
    """Store the command to check a transaction. Return False if it is pending."""
    return _add(kind=CHECK_TRANSACTION, payment=payment, txid=txid, created_at=now)


def add_acceptance(payment: PaymentRequest, now: datetime) -> bool:
    """Store the command to accept late money. Return False if it is pending."""
    return _add(kind=ACCEPT_LATE, payment=payment, created_at=now)


def add_cancellation(payment: PaymentRequest, now: datetime) -> bool:
    """Store the command to cancel a request. Return False if it is pending."""
    return _add(kind=CANCEL, payment=payment, created_at=now)


def add_reassessment(payment: PaymentRequest, now: datetime) -> None:
    """Store the command to assess a request again, unless it is pending."""
    _add(kind=REASSESS, payment=payment, created_at=now)


def add_chain_to_follow(block_hash: str, now: datetime) -> None:
    """Store the command to follow the node's chain while it contains this block, even if it has less work."""
    _add(kind=FOLLOW, txid=block_hash, created_at=now)


def blocks_to_follow() -> list[str]:
    """Return the block hashes of the FOLLOW commands."""
    commands = (
        DaemonCommand.select(DaemonCommand.txid)
        .where(DaemonCommand.kind == FOLLOW)
        .order_by(DaemonCommand.id)
    )
    return [command.txid for command in commands if command.txid is not None]


def pending_commands(limit: int = 200) -> list[DaemonCommand]:
    """Return the next commands, the oldest first. At most half of them are transactions to check."""
    found = _pending_checks(limit // 2)
    query = "SELECT * FROM daemon_command WHERE kind <> 'transaction' ORDER BY id LIMIT ?"
    found += fetch_all(DaemonCommand, query, limit - len(found))
    return sorted(found, key=lambda command: command.id)


def pending_cancellations(limit: int = 200) -> list[DaemonCommand]:
    """Return the next commands to cancel a request, the oldest first."""
    query = "SELECT * FROM daemon_command WHERE kind = 'cancel' ORDER BY id LIMIT ?"
    return fetch_all(DaemonCommand, query, limit)


def delete_commands(commands: Iterable[DaemonCommand]) -> None:
    """Delete commands that have been run."""
    for batch in chunked(command.id for command in commands):
        DaemonCommand.delete().where(DaemonCommand.id.in_(batch)).execute()


def pending_count(seller_id: str, limit: int) -> int:
    """Return the number of pending commands of this seller, at most `limit`."""
    # A join would read all requests of the seller, who may have any number of them.
    query = """SELECT count(*) FROM (SELECT 1 FROM daemon_command WHERE kind NOT IN ('accept', 'reassess')
        AND (SELECT seller_id FROM payment_request p WHERE p.id = daemon_command.payment_id) = ?
        LIMIT ?) AS waiting"""
    return int(execute(query, seller_id, limit).fetchone()[0])


def is_transaction_pending(payment: PaymentRequest, txid: str) -> bool:
    """Return whether a command to check this transaction for this request is pending."""
    return _exists(
        (DaemonCommand.kind == CHECK_TRANSACTION)
        & (DaemonCommand.payment == payment)
        & (DaemonCommand.txid == txid)
    )


def is_acceptance_pending(payment: PaymentRequest) -> bool:
    """Return whether a command to accept the late money is pending."""
    return _exists((DaemonCommand.kind == ACCEPT_LATE) & (DaemonCommand.payment == payment))


def is_cancellation_pending(payment: PaymentRequest) -> bool:
    """Return whether a command to cancel the request is pending."""
    return _exists((DaemonCommand.kind == CANCEL) & (DaemonCommand.payment == payment))


def is_redelivery_pending(message: Message) -> bool:
    """Return whether a command to send the message again is pending."""
    return bool(pending_redeliveries([message.id]))


def is_webhook_test_pending(webhook: Webhook) -> bool:
    """Return whether a command to send a test to the endpoint is pending."""
    return _exists((DaemonCommand.kind == TEST_WEBHOOK) & (DaemonCommand.webhook == webhook.id))


def acceptances_pending(payments: Iterable[PaymentRequest]) -> set[int]:
    """Return the ids of those requests for which a command to accept late money is pending."""
    ids = [payment.id for payment in payments]
    waiting = DaemonCommand.select(DaemonCommand.payment).where(
        (DaemonCommand.kind == ACCEPT_LATE) & DaemonCommand.payment.in_(ids)
    )
    return {command.payment_id for command in waiting if command.payment_id}


def redeliveries_pending(payment: PaymentRequest) -> set[int]:
    """Return the ids of the request's messages for which a command to send again is pending."""
    waiting = DaemonCommand.select(DaemonCommand.message).where(
        (DaemonCommand.kind == REDELIVER) & (DaemonCommand.payment == payment)
    )
    return {command.message_id for command in waiting if command.message_id}


def _pending_checks(limit: int) -> list[DaemonCommand]:
    """Return transactions to check: the first of each seller, then the second of each, and so on."""
    query = """SELECT id, kind, payment_id, txid, message_id, created_at FROM (
            SELECT daemon_command.*, row_number() OVER (
                PARTITION BY (SELECT seller_id FROM payment_request p WHERE p.id = daemon_command.payment_id)
                ORDER BY id
            ) AS turn FROM daemon_command WHERE kind = 'transaction'
        ) AS queue WHERE turn <= ? ORDER BY turn, id LIMIT ?"""
    return fetch_all(DaemonCommand, query, MAX_CHECKS_PER_SELLER, limit)


def pending_redeliveries(message_ids: Iterable[int]) -> set[int]:
    """Return the ids of those messages for which a command to send again is pending."""
    found: set[int] = set()
    for batch in chunked(message_ids):
        waiting = DaemonCommand.select(DaemonCommand.message).where(
            (DaemonCommand.kind == REDELIVER) & DaemonCommand.message.in_(batch)
        )
        found.update(command.message_id for command in waiting if command.message_id)
    return found


def _insert_redeliveries(message_ids: list[int], now: datetime) -> int:
    # The SELECT leaves out messages that the daemon has pruned meanwhile.
    query = """INSERT INTO daemon_command (kind, payment_id, message_id, created_at)
        SELECT 'redeliver', payment_id, id, ? FROM message WHERE id IN ?
        ON CONFLICT DO NOTHING"""
    return int(execute(query, DaemonCommand.created_at.db_value(now), message_ids).rowcount)


def _add(**values: object) -> bool:
    """Store a command. Return False if the same command is pending."""
    return bool(DaemonCommand.insert(**values).on_conflict_ignore().as_rowcount().execute())


def _exists(condition: object) -> bool:
    return bool(DaemonCommand.select().where(condition).exists())
