"""Count a seller's requests as far as its limits go: by indexes, and never further."""

from datetime import datetime

from models.db.connection import database, statement
from models.payment import PaymentRequest


def open_requests(seller_id: str, limit: int) -> int:
    """Return how many requests of this seller are neither confirmed nor expired, at most `limit`."""
    query = """SELECT count(*) FROM (SELECT 1 FROM payment_request
        WHERE seller_id = ? AND status NOT IN ('confirmed', 'expired') LIMIT ?) AS underway"""
    return _count(query, seller_id, limit)


def requests_since(seller_id: str, since: datetime, limit: int) -> int:
    """Return how many requests this seller has made since then, at most `limit`."""
    query = """SELECT count(*) FROM (SELECT 1 FROM payment_request
        WHERE seller_id = ? AND created_at > ? LIMIT ?) AS recent"""
    return _count(query, seller_id, PaymentRequest.created_at.db_value(since), limit)


def _count(query: str, *parameters: object) -> int:
    return int(database.execute_sql(statement(query), parameters).fetchone()[0])
