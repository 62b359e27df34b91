"""Execution of the commands of the web process and the operator. Calls to bitcoind precede all changes."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from config import Settings
from daemon.chain.mempool import Mempool
from daemon.unit_of_work import unit_of_work
from models.command import (
    ACCEPT_LATE,
    CHECK_TRANSACTION,
    FOLLOW,
    REASSESS,
    REDELIVER,
    TEST_WEBHOOK,
    DaemonCommand,
    delete_commands,
)
from models.identifiers import random_text
from models.outbox import Message, add_test_message
from models.output import outputs_at
from models.payment import PaymentRequest, cancel_payments, mark_for_reassessment
from models.queries.pricing import late_money_of
from payments.cancellation import obstacle
from payments.greenfield.delivery import trial_event
from payments.status import Status

KINDS = (CHECK_TRANSACTION, ACCEPT_LATE, REASSESS, REDELIVER, FOLLOW, TEST_WEBHOOK)
"""The kinds that `handle` runs. Cancellations wait for a complete look at chain and mempool."""

_MOMENT = timedelta(microseconds=1)

log = structlog.get_logger(__name__)


class CommandHandler:
    """Runs the pending commands of the database, all of one kind together."""

    def __init__(self, settings: Settings, mempool: Mempool) -> None:
        self._settings = settings
        self._mempool = mempool

    def handle(self, commands: Sequence[DaemonCommand], now: datetime) -> None:
        """Run each command once, because its deletion and its effect share a transaction."""
        by_kind = {kind: [c for c in commands if c.kind == kind] for kind in KINDS}
        if checks := by_kind[CHECK_TRANSACTION]:
            self._check(checks, now)
        if acceptances := by_kind[ACCEPT_LATE]:
            self._accept(acceptances, now)
        if changes := by_kind[REASSESS]:
            _reassess(changes)
        if redeliveries := by_kind[REDELIVER]:
            _redeliver(redeliveries, now)
        if tests := by_kind[TEST_WEBHOOK]:
            _test_webhooks(tests, now)
        if orders := by_kind[FOLLOW]:
            _close_orders(orders)

    def _check(self, commands: Sequence[DaemonCommand], now: datetime) -> None:
        """Look up transactions in the mempool. Payments are stored before the commands are deleted."""
        txids = dict.fromkeys(command.txid for command in commands if command.txid is not None)
        self._mempool.record_transactions(list(txids), now)
        with unit_of_work("command-done"):
            delete_commands(commands)
        for command in commands:
            log.info("transaction looked at", payment=_reference(command), txid=command.txid)

    def _accept(self, commands: Sequence[DaemonCommand], now: datetime) -> None:
        """Accept the late money of payments, unless it is accepted already."""
        late = [p for c in commands if (p := c.payment) and p.is_late and p.late_accepted_at is None]
        facts = [self._worth(payment, now) for payment in late]
        with unit_of_work("acceptance"):
            is_one = PaymentRequest.id.in_([payment.id for payment in late])
            PaymentRequest.update(late_accepted_at=now).where(is_one).execute()
            mark_for_reassessment(payment.address_id for payment in late)
            delete_commands(commands)
        for payment, worth in zip(late, facts, strict=True):
            log.info("late payment accepted", payment=payment.reference, **worth)

    def _worth(self, payment: PaymentRequest, now: datetime) -> dict[str, object]:
        """Return the figures of the decision for the log. `worth` is None without a fresh price."""
        outputs = outputs_at(payment.address_id)
        settings = self._settings
        late = late_money_of(payment, outputs, now, settings.rate_max_age, settings.rate_spread)
        if late is None:
            return {}
        currency = payment.currency
        return {
            "late_seconds": int(late.late_by.total_seconds()),
            "asked": f"{late.asked} {currency}",
            "worth": None if late.worth is None else f"{late.worth} {currency}",
            "difference_percent": None if late.difference_percent is None else str(late.difference_percent),
        }


def _reassess(commands: Sequence[DaemonCommand]) -> None:
    """Mark requests for reassessment, because the web process has changed a fact such as a mark."""
    with unit_of_work("command-done"):
        mark_for_reassessment(command.payment.address_id for command in commands if command.payment)
        delete_commands(commands)


def run_cancellations(commands: Sequence[DaemonCommand], as_of: datetime, now: datetime) -> None:
    """Cancel requests, except those to which money has come, and those that have expired.

    A complete look at chain and mempool must have begun at `as_of`, after the commands were stored, and all
    statuses must include its result. A cancelled request expires just before `as_of`, so money that comes
    later is late.
    """
    payments = [payment for command in commands if (payment := command.payment) is not None]
    reasons = {p.id: obstacle(Status(p.status), p.expires_at, now) for p in payments}
    with unit_of_work("cancellation"):
        cancel_payments([p for p in payments if reasons[p.id] is None], as_of - _MOMENT, now)
        delete_commands(commands)
    for payment in payments:
        reason = reasons[payment.id]
        if reason is None:
            log.info("payment cancelled", payment=payment.reference)
        else:
            log.info("payment not cancelled", payment=payment.reference, reason=reason)


def _close_orders(commands: Sequence[DaemonCommand]) -> None:
    """Delete commands to follow a chain. BlockHandler.sync has run them or no longer needs them."""
    with unit_of_work("command-done"):
        delete_commands(commands)
    for command in commands:
        log.warning("chain followed by the operator's order", block=command.txid)


def _redeliver(commands: Sequence[DaemonCommand], now: datetime) -> None:
    """Queue messages for delivery now. A pruned message has no command any more."""
    ids = [command.message_id for command in commands]
    now_due = {"next_attempt_at": now, "attempts": 0, "server_errors": 0, "refusals": 0}
    ends = ("delivered_at", "failed_at", "acknowledged_at", "passed_at", "hurried_from", "superseded_by")
    with unit_of_work("command-done"):
        Message.update(**now_due, **dict.fromkeys(ends)).where(Message.id.in_(ids)).execute()
        queued = list(Message.select().where(Message.id.in_(ids)).order_by(Message.id))
        delete_commands(commands)
    for message in queued:
        reference = None if message.is_test else message.payment.reference
        facts = {"event_id": message.event_reference, "channel": message.channel}
        log.info("redelivery queued", payment=reference, **facts)


def _test_webhooks(commands: Sequence[DaemonCommand], now: datetime) -> None:
    """Queue a test for each endpoint, which the outbox worker sends once."""
    webhooks = [webhook for command in commands if (webhook := command.webhook) is not None]
    with unit_of_work("command-done"):
        for webhook in webhooks:
            reference = f"__test__{random_text(10)}__test__"
            event = trial_event(webhook.seller_id, reference, int(now.timestamp()))
            add_test_message(webhook, event, reference, now)
        delete_commands(commands)
    for webhook in webhooks:
        log.info("webhook test queued", webhook=webhook.reference, seller=webhook.seller_id)


def _reference(command: DaemonCommand) -> str | None:
    return None if command.payment is None else str(command.payment.reference)
