"""The order of an invoice's webhooks at a btcpay endpoint.

A shop's plug-in can fail at one event for ever, such as a change of status that the shop forbids. After
four answers with HTTP 5xx to this event, later events of the invoice may pass. Once the endpoint has accepted
a later event, the older one is superseded, because it would move the order back.

A later event passes only directly after the older one has failed once more. So after an outage the older one
is tried first, and arrives. While the whole shop fails, nothing passes. The whole shop fails if a pending
message of another invoice has failed since the endpoint last accepted something.
"""

from collections.abc import Iterable
from datetime import datetime

from models.db.connection import execute, fetch_all, statement
from models.outbox import WEBHOOK, Message
from models.webhook import BTCPAY, Webhook
from payments.greenfield.delivery import MIN_SERVER_ERRORS

_MAX_READ = 500
"""The newest deliveries that are read for the decision. Two failing invoices are enough."""

# The condition of the index message_retry, word for word.
_STUCK = """SELECT * FROM message WHERE queue = ? AND next_attempt_at IS NOT NULL AND waits_for IS NULL
    AND attempts > 0 AND server_errors >= ?"""

_FAILING = statement(
    """
    SELECT DISTINCT payment_id FROM (
        SELECT message.payment_id FROM delivery JOIN message ON message.id = delivery.message_id
        WHERE delivery.webhook_id = ? AND delivery.id > coalesce(
            (SELECT max(id) FROM delivery WHERE webhook_id = ? AND error IS NULL), 0
        ) AND message.payment_id IS NOT NULL AND message.next_attempt_at IS NOT NULL
        ORDER BY delivery.id DESC LIMIT {max_read}
    ) AS newest LIMIT 2
    """,
    max_read=_MAX_READ,
)


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
    rows = execute(_FAILING, webhook.id, webhook.id).fetchall()
    return {payment_id for (payment_id,) in rows}


def try_stuck_again(webhook: Webhook, failing: set[int], now: datetime) -> None:
    """Make each stuck event due for which others wait, because the whole shop failed and works again.

    `failing` has the failing invoices before the endpoint accepted something. Must run inside the transaction
    that stores the acceptance.
    """
    stuck = fetch_all(Message, _STUCK, webhook.queue, MIN_SERVER_ERRORS) if failing else []
    held = [each.id for each in stuck if failing - {each.payment_id}]
    if held:
        awaited = Message.select(Message.waits_for).where(Message.waits_for.in_(held))
        attempt_now({each.waits_for for each in awaited if each.waits_for is not None}, now)


def attempt_now(message_ids: Iterable[int], now: datetime) -> None:
    """Make those of the messages due that are stuck, because later events wait for them now.

    This attempt does not count in the schedule.
    """
    is_later = (Message.next_attempt_at > now) & Message.hurried_from.is_null()
    of_btcpay = Message.webhook.in_(Webhook.select(Webhook.id).where(Webhook.kind == BTCPAY))
    is_stuck = (Message.server_errors >= MIN_SERVER_ERRORS) & is_later & of_btcpay
    is_one = Message.id.in_(list(message_ids)) & is_stuck
    Message.update(hurried_from=Message.next_attempt_at, next_attempt_at=now).where(is_one).execute()


def let_later_events_pass(message: Message, server_errors: int, now: datetime) -> None:
    """Let a later event that exists now pass this one, which has just failed, if this one is stuck.

    If this event has passed earlier ones itself, these must fail again before another event passes.
    `server_errors` is the new count, if this attempt ended with HTTP 5xx, and else 0. Must run inside the
    transaction that stores the failure.
    """
    if message.payment_id is None:
        return
    same = (Message.payment == message.payment_id) & (Message.recipient == message.recipient)
    was_passed = same & (Message.id < message.id) & Message.passed_at.is_null(False)
    Message.update(passed_at=None).where(was_passed).execute()
    is_later = same & (Message.id > message.id) & Message.next_attempt_at.is_null(False)
    is_stuck = server_errors >= MIN_SERVER_ERRORS and Message.select().where(is_later).exists()
    may_pass = is_stuck and not failing_payments(message.webhook) - {message.payment_id}
    Message.update(passed_at=now if may_pass else None).where(Message.id == message.id).execute()
    if may_pass:
        Message.update(waits_for=None).where(Message.waits_for == message.id).execute()
