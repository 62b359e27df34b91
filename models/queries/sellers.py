"""Figures of one seller, for the operator: its requests by status, and its webhooks by their state."""

from dataclasses import dataclass
from datetime import datetime

from models.db.connection import database, with_paramstyle
from models.outbox import WEBHOOK, Message
from payments.status import Status


@dataclass(frozen=True, slots=True)
class WebhookFigures:
    """The stored webhooks of a seller. `last_error` is the newest error of those that are not delivered.

    Delivered messages are deleted 30 days after their request has closed.
    """

    delivered: int
    waiting: int
    failed: int
    last_delivered_at: datetime | None
    last_error: str | None


def requests_by_status(seller_id: str) -> dict[str, int]:
    """Return the number of the seller's requests for each status."""
    query = "SELECT status, count(*) FROM payment_request WHERE seller_id = ? GROUP BY status"
    found = dict(database.execute_sql(with_paramstyle(query), (seller_id,)).fetchall())
    return {status.value: found.get(status.value, 0) for status in Status}


def webhook_figures(seller_id: str) -> WebhookFigures:
    """Return the figures of the seller's webhooks."""
    is_own = (Message.channel == WEBHOOK) & (Message.recipient == seller_id)
    query = """SELECT count(delivered_at), count(next_attempt_at), count(failed_at), max(delivered_at)
        FROM message WHERE channel = ? AND recipient = ?"""
    counts = database.execute_sql(with_paramstyle(query), (WEBHOOK, seller_id))
    delivered, waiting, failed, last = counts.fetchone()
    erroneous = is_own & Message.delivered_at.is_null() & Message.last_error.is_null(False)
    newest = Message.select().where(erroneous).order_by(Message.id.desc()).first()
    last_error = None if newest is None else newest.last_error
    return WebhookFigures(delivered, waiting, failed, Message.delivered_at.python_value(last), last_error)
