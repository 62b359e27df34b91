"""Counts of a seller's requests. They use indexes, and they stop at the seller's limits."""

from collections.abc import Collection
from datetime import datetime

from models.db.connection import database, with_paramstyle
from models.payment import PaymentRequest


def open_requests(seller_id: str, limit: int) -> int:
    """Return the number of this seller's requests that are not confirmed or expired, at most `limit`."""
    query = """SELECT count(*) FROM (SELECT 1 FROM payment_request
        WHERE seller_id = ? AND status NOT IN ('confirmed', 'expired') LIMIT ?) AS underway"""
    return _count(query, seller_id, limit)


def requests_since(seller_id: str, since: datetime, limit: int) -> int:
    """Return the number of requests that this seller has created since then, at most `limit`."""
    query = """SELECT count(*) FROM (SELECT 1 FROM payment_request
        WHERE seller_id = ? AND created_at > ? LIMIT ?) AS recent"""
    return _count(query, seller_id, PaymentRequest.created_at.db_value(since), limit)


def used_since(currencies: Collection[str], since: datetime) -> set[str]:
    """Return the currencies, of the given ones, in which a request was created since then."""
    if not currencies:
        return set()
    # An index contains the time and the currency of each request, so the query reads no row of the table.
    query = "SELECT DISTINCT currency FROM payment_request WHERE created_at > ?"
    parameters = (PaymentRequest.created_at.db_value(since),)
    used = {code for (code,) in database.execute_sql(with_paramstyle(query), parameters).fetchall()}
    return used.intersection(currencies)


def _count(query: str, *parameters: object) -> int:
    return int(database.execute_sql(with_paramstyle(query), parameters).fetchone()[0])
