"""The order of an invoice's webhooks at a btcpay endpoint.

A shop's plug-in can fail at one event for ever, for example at a change of status that the shop forbids.
After four answers with HTTP 5xx to this event, later events of the invoice may pass. Once the endpoint has
accepted a later event, the older one is superseded, because it would move the order back.

While the whole shop fails, the order holds. The whole shop fails if a pending message of another invoice has
failed since the endpoint last accepted something. Answers from that time say nothing about one event. So each
stuck event gets another attempt when the shop works again, before others may pass it.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from models.db.connection import database, fetch_all, placeholders, with_paramstyle
from models.outbox import WEBHOOK, Message
from models.webhook import BTCPAY, Webhook
from payments.greenfield.delivery import MIN_SERVER_ERRORS

_MAX_READ = 500
"""The newest deliveries that are read for the decision. Two failing invoices are enough."""

# The condition of the index message_retry, word for word.
_STUCK = """SELECT * FROM message WHERE queue = ? AND next_attempt_at IS NOT NULL AND waits_for IS NULL
    AND attempts > 0 AND server_errors >= ?"""

_FAILING = f"""
    SELECT DISTINCT payment_id FROM (
        SELECT message.payment_id FROM delivery JOIN message ON message.id = delivery.message_id
        WHERE delivery.webhook_id = ? AND delivery.id > coalesce(
            (SELECT max(id) FROM delivery WHERE webhook_id = ? AND error IS NULL), 0
        ) AND message.payment_id IS NOT NULL AND message.next_attempt_at IS NOT NULL
        ORDER BY delivery.id DESC LIMIT {_MAX_READ}
    ) AS newest LIMIT 2
    """  # noqa: S608 (the text contains only a constant of this module)


def supersede_older(message: Message) -> list[Message]:
    """Drop the pending messages that are older than this accepted one, of the same invoice. Return them.

    Must run inside the transaction that stores the acceptance.
    """
    if message.payment_id is None:
        return []
    query = """SELECT * FROM message WHERE payment_id = ? AND channel = ? AND recipient = ? AND id < ?
        AND next_attempt_at IS NOT NULL ORDER BY id"""
    older = fetch_all(Message, query, message.payment_id, WEBHOOK, message.recipient, message.id)
    for each in older:
        each.payment = message.payment
        dropped = {"superseded_by": message.id, "next_attempt_at": None, "waits_for": None, "passed_at": None}
        Message.update(**dropped).where(Message.id == each.id).execute()
        Message.update(waits_for=None).where(Message.waits_for == each.id).execute()
    return older


def failing_payments(webhook: Webhook) -> set[int]:
    """Return the invoices whose pending messages failed since the last acceptance, at most two of them."""
    rows = database.execute_sql(with_paramstyle(_FAILING), (webhook.id, webhook.id)).fetchall()
    return {payment_id for (payment_id,) in rows}


def try_stuck_again(webhook: Webhook, failing: set[int], now: datetime) -> None:
    """Give each event that is stuck another attempt, because the whole shop failed and works again.

    `failing` has the failing invoices before the endpoint accepted something. An event for which others wait
    is due at once. Must run inside the transaction that stores the acceptance.
    """
    for each in _stuck_messages(webhook) if failing else ():
        if failing - {each.payment_id}:
            again: dict[str, Any] = {"server_errors": MIN_SERVER_ERRORS - 1, "passed_at": None}
            if Message.select().where(Message.waits_for == each.id).exists():
                again["next_attempt_at"] = now
            Message.update(**again).where(Message.id == each.id).execute()


def hurry(message_ids: Iterable[int], now: datetime) -> None:
    """Make these messages due if they may be stuck, because later events wait for them now."""
    may_be_stuck = Message.server_errors >= MIN_SERVER_ERRORS - 1
    is_later = Message.next_attempt_at > now
    of_btcpay = Message.webhook.in_(Webhook.select(Webhook.id).where(Webhook.kind == BTCPAY))
    is_one = Message.id.in_(list(message_ids)) & may_be_stuck & is_later & of_btcpay
    Message.update(next_attempt_at=now).where(is_one).execute()


def let_pass(webhook: Webhook, now: datetime) -> None:
    """Let later events pass each event of this endpoint that is stuck, or hold them again.

    Must run inside the transaction that stores an outcome.
    """
    stuck = _stuck_messages(webhook)
    if not stuck:
        return
    failing = failing_payments(webhook)
    held = [each.id for each in stuck if failing - {each.payment_id}]
    passed = [each.id for each in stuck if not failing - {each.payment_id}]
    _set_passed(held, None)
    _set_passed(passed, now)
    if passed:
        # The text contains only placeholders.
        query = f"UPDATE message SET waits_for = NULL WHERE waits_for IN ({placeholders(passed)})"  # noqa: S608
        database.execute_sql(with_paramstyle(query), passed)


def _stuck_messages(webhook: Webhook) -> list[Message]:
    return fetch_all(Message, _STUCK, webhook.queue, MIN_SERVER_ERRORS)


def _set_passed(message_ids: list[int], passed_at: datetime | None) -> None:
    if message_ids:
        Message.update(passed_at=passed_at).where(Message.id.in_(message_ids)).execute()
