"""The order of an invoice's webhooks at a btcpay endpoint.

A shop's plug-in can fail at one event for ever, for example at a change of status that the shop forbids.
After four answers with HTTP 5xx to this event, later events of the invoice may pass. Once the endpoint has
accepted a later event, the older one is superseded, because it would move the order back.

While the whole shop fails, the order holds. The whole shop fails if a pending message of another invoice has
failed since the endpoint last accepted something.
"""

from datetime import datetime

from models.db.connection import database, fetch_all, placeholders, with_paramstyle
from models.outbox import WEBHOOK, Message
from models.webhook import Webhook
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


def let_pass(webhook: Webhook, now: datetime) -> None:
    """Let later events pass each event of this endpoint that is stuck, or hold them again.

    Must run inside the transaction that stores an outcome.
    """
    stuck = fetch_all(Message, _STUCK, webhook.queue, MIN_SERVER_ERRORS)
    if not stuck:
        return
    rows = database.execute_sql(with_paramstyle(_FAILING), (webhook.id, webhook.id)).fetchall()
    failing = {payment_id for (payment_id,) in rows}
    held = [each.id for each in stuck if failing - {each.payment_id}]
    passed = [each.id for each in stuck if not failing - {each.payment_id}]
    _set_passed(held, None)
    _set_passed(passed, now)
    if passed:
        # The text contains only placeholders.
        query = f"UPDATE message SET waits_for = NULL WHERE waits_for IN ({placeholders(passed)})"  # noqa: S608
        database.execute_sql(with_paramstyle(query), passed)


def _set_passed(message_ids: list[int], passed_at: datetime | None) -> None:
    if message_ids:
        Message.update(passed_at=passed_at).where(Message.id.in_(message_ids)).execute()
