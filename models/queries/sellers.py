"""Figures of the sellers, for the operator: their requests, and the webhooks that are not delivered."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from models.db.connection import execute, from_microseconds, statement
from models.outbox import GIVEN_UP, PENDING, Message
from models.webhook import Webhook
from payments.status import Status

MAX_SELLERS = 500

# The subquery on the last request reads one row of the index payment_newest_of_seller.
_SELLERS = statement(
    """
SELECT id, name, email, (
    SELECT url FROM webhook WHERE webhook.seller_id = seller.id AND url IS NOT NULL
    AND webhook.removed_at IS NULL ORDER BY webhook.id LIMIT 1
), (
    SELECT count(*) FROM webhook WHERE webhook.seller_id = seller.id AND url IS NOT NULL
    AND webhook.removed_at IS NULL
), created_at, removed_at, (
    SELECT created_at FROM payment_request p WHERE p.seller_id = seller.id ORDER BY created_at DESC LIMIT 1
)
FROM seller ORDER BY id LIMIT {max_sellers}
""",
    max_sellers=MAX_SELLERS,
)

_BY_QUEUE = "SELECT queue, COUNT(*) FROM message WHERE {where} GROUP BY queue"
_QUEUES = "SELECT seller_id, reference FROM webhook"


@dataclass(frozen=True, slots=True)
class WebhookFigures:
    """The stored webhooks of a seller. `last_error` is the newest error of those that are not delivered.

    A delivered message is deleted when the delivery and the close of the request are both more than 30 days
    old.
    """

    delivered: int
    waiting: int
    failed: int
    last_delivered_at: datetime | None
    last_error: str | None


def requests_by_status(seller_id: str) -> dict[str, int]:
    """Return the number of the seller's requests for each status."""
    query = "SELECT status, count(*) FROM payment_request WHERE seller_id = ? GROUP BY status"
    found = dict(execute(query, seller_id).fetchall())
    return {status.value: found.get(status.value, 0) for status in Status}


def webhook_figures(seller_id: str) -> WebhookFigures:
    """Return the figures of the webhooks to all endpoints of the seller, without tests."""
    own = Webhook.select(Webhook.id).where(Webhook.seller == seller_id)
    is_own = Message.webhook.in_(own) & Message.payment.is_null(False)
    query = """SELECT count(delivered_at), count(next_attempt_at), count(failed_at), max(delivered_at)
        FROM message WHERE payment_id IS NOT NULL
        AND webhook_id IN (SELECT id FROM webhook WHERE seller_id = ?)"""
    counts = execute(query, seller_id)
    delivered, waiting, failed, last = counts.fetchone()
    erroneous = is_own & Message.delivered_at.is_null() & Message.last_error.is_null(False)
    newest = Message.select().where(erroneous).order_by(Message.id.desc()).first()
    last_error = None if newest is None else newest.last_error
    return WebhookFigures(delivered, waiting, failed, Message.delivered_at.python_value(last), last_error)


@dataclass(frozen=True, slots=True)
class SellerFacts:
    """A seller. `waiting` and `given_up` count its webhooks that are not delivered.

    `webhook_url` is the address of its first endpoint, and `webhook_count` the number of its endpoints.
    """

    id: str
    name: str
    email: str
    webhook_url: str | None
    webhook_count: int
    created_at: datetime
    removed_at: datetime | None
    last_request_at: datetime | None
    waiting: int
    given_up: int


def seller_facts() -> list[SellerFacts]:
    """Return the sellers in the order of their ids, at most MAX_SELLERS."""
    queries = (statement(_BY_QUEUE, where=where) for where in (PENDING, GIVEN_UP))
    waiting, given_up = (dict(execute(query).fetchall()) for query in queries)
    queues: dict[str, list[str]] = defaultdict(list)
    for seller_id, reference in execute(_QUEUES).fetchall():
        queues[seller_id].append(f"webhook:{reference}")
    return [
        SellerFacts(
            id_,
            name,
            email,
            webhook_url,
            webhook_count,
            from_microseconds(created_at),
            _time(removed_at),
            _time(last_request_at),
            sum(waiting.get(queue, 0) for queue in queues[id_]),
            sum(given_up.get(queue, 0) for queue in queues[id_]),
        )
        for (
            id_,
            name,
            email,
            webhook_url,
            webhook_count,
            created_at,
            removed_at,
            last_request_at,
        ) in execute(_SELLERS).fetchall()
    ]


def _time(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else from_microseconds(microseconds)
