"""The order in which a btcpay endpoint receives the events of an invoice.

A plug-in can refuse one event for ever, for example a change of status that the shop forbids. After four
responses with HTTP 5xx, that event is stuck, and later events of the invoice may pass it. When the endpoint
accepts a later event, Nodetill drops the stuck event as superseded. Otherwise the stuck event could set the
shop's order back to an older status.

A later event may pass only directly after the stuck event has failed once more. So after an outage Nodetill
sends the stuck event first, and the endpoint accepts it. While the whole shop fails, no event passes. The
whole shop fails if a pending message of another invoice has failed since the endpoint's last acceptance.
"""

from collections.abc import Iterable
from datetime import datetime

from models.db.connection import execute, fetch_all, statement
from models.outbox import RETRY, WEBHOOK, Message
from models.webhook import BTCPAY, Webhook
from payments.greenfield.delivery import MIN_SERVER_ERRORS

_MAX_READ = 500
"""The number of newest deliveries in which to look for failing invoices. Two such invoices are enough."""

_STUCK = statement(
    "SELECT * FROM message WHERE queue = ? AND {retry} AND server_errors >= ?",
    retry=RETRY,
)

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
    """Drop the invoice's pending messages that are older than this accepted message. Return them.

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
    """Return at most two invoices whose pending messages failed since the endpoint's last acceptance."""
    rows = execute(_FAILING, webhook.id, webhook.id).fetchall()
    return {payment_id for (payment_id,) in rows}


def try_stuck_again(webhook: Webhook, failing: set[int], now: datetime) -> None:
    """Make each stuck event due that has waiting events behind it, if the whole shop failed until now.

    `failing` has the invoices that failed before this acceptance. Must run inside the transaction that stores
    the acceptance.
    """
    stuck = fetch_all(Message, _STUCK, webhook.queue, MIN_SERVER_ERRORS) if failing else []
    held = [each.id for each in stuck if failing - {each.payment_id}]
    if held:
        awaited = Message.select(Message.waits_for).where(Message.waits_for.in_(held))
        attempt_now({each.waits_for for each in awaited if each.waits_for is not None}, now)


def attempt_now(message_ids: Iterable[int], now: datetime) -> None:
    """Make the stuck messages among these due, because later events now wait for them.

    The extra attempt does not count in the schedule.
    """
    is_later = (Message.next_attempt_at > now) & Message.hurried_from.is_null()
    of_btcpay = Message.webhook.in_(Webhook.select(Webhook.id).where(Webhook.kind == BTCPAY))
    is_stuck = (Message.server_errors >= MIN_SERVER_ERRORS) & is_later & of_btcpay
    is_one = Message.id.in_(list(message_ids)) & is_stuck
    Message.update(hurried_from=Message.next_attempt_at, next_attempt_at=now).where(is_one).execute()


def let_later_events_pass(message: Message, server_errors: int, now: datetime) -> None:
    """Let one later event that exists now pass this message, which has just failed, if it is stuck.

    If this message has itself passed earlier ones, they must fail again before another event passes.
    `server_errors` is the new count if this attempt ended with HTTP 5xx, and otherwise 0. Must run inside the
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
