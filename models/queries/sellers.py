"""Figures of the sellers, for the operator: their requests, and the webhooks that are not delivered."""

from dataclasses import dataclass
from datetime import datetime

from models.db.connection import database, from_microseconds, with_paramstyle
from models.outbox import WEBHOOK, Message
from models.queries.attention import GIVEN_UP
from payments.status import Status

MAX_SELLERS = 500

# The subquery on the last request reads one row of the index payment_newest_of_seller.
_SELLERS = f"""
SELECT id, name, email, webhook_url, created_at, removed_at, (
    SELECT created_at FROM payment_request p WHERE p.seller_id = seller.id ORDER BY created_at DESC LIMIT 1
)
FROM seller ORDER BY id LIMIT {MAX_SELLERS}
"""  # noqa: S608 (the text contains only a constant of this module)

# Each condition is that of a partial index, word for word.
_WAITING = "SELECT queue, COUNT(*) FROM message WHERE next_attempt_at IS NOT NULL GROUP BY queue"
_GIVEN_UP = f"SELECT queue, COUNT(*) FROM message WHERE {GIVEN_UP.sql} GROUP BY queue"  # noqa: S608 (a constant)


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


@dataclass(frozen=True, slots=True)
class SellerFacts:
    """A seller. `waiting` and `given_up` count its webhooks that are not delivered."""

    id: str
    name: str
    email: str
    webhook_url: str | None
    created_at: datetime
    removed_at: datetime | None
    last_request_at: datetime | None
    waiting: int
    given_up: int


def seller_facts() -> list[SellerFacts]:
    """Return the sellers in the order of their ids, at most MAX_SELLERS."""
    waiting, given_up = (dict(database.execute_sql(query).fetchall()) for query in (_WAITING, _GIVEN_UP))
    return [
        SellerFacts(
            id_,
            name,
            email,
            webhook_url,
            from_microseconds(created_at),
            _time(removed_at),
            _time(last_request_at),
            waiting.get(f"webhook:{id_}", 0),
            given_up.get(f"webhook:{id_}", 0),
        )
        for id_, name, email, webhook_url, created_at, removed_at, last_request_at in database.execute_sql(
            _SELLERS
        ).fetchall()
    ]


def _time(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else from_microseconds(microseconds)
