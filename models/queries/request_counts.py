"""Counts of a seller's requests. They use indexes, and they stop at the seller's limits."""

from collections.abc import Collection
from datetime import datetime, timedelta

from models.db.connection import execute, statement
from models.payment import UNDERWAY, PaymentRequest

CURRENCY_USE = timedelta(days=7)
"""A currency is in use for so long after a request."""


def open_requests(seller_id: str, limit: int) -> int:
    """Return the number of this seller's requests that are not confirmed or expired, at most `limit`."""
    query = """SELECT count(*) FROM (SELECT 1 FROM payment_request
        WHERE seller_id = ? AND {where} LIMIT ?) AS underway"""
    return _count(statement(query, where=UNDERWAY), seller_id, limit)


def requests_since(seller_id: str, since: datetime, limit: int) -> int:
    """Return the number of requests that this seller has created since then, at most `limit`."""
    query = """SELECT count(*) FROM (SELECT 1 FROM payment_request
        WHERE seller_id = ? AND created_at > ? LIMIT ?) AS recent"""
    return _count(query, seller_id, PaymentRequest.created_at.db_value(since), limit)


def used_since(currencies: Collection[str], since: datetime) -> set[str]:
    """Return the currencies, of the given ones, in which a request was created since then."""
    if not currencies:
        return set()
    # The limit makes both databases read one entry of the index for each currency, and no more.
    query = statement(
        """WITH given (code) AS (VALUES {given})
        SELECT code FROM given WHERE (SELECT 1 FROM payment_request
        WHERE currency = code AND created_at > ? LIMIT 1) IS NOT NULL""",
        given=", ".join(["(?)"] * len(currencies)),
    )
    parameters = (*sorted(currencies), PaymentRequest.created_at.db_value(since))
    return {code for (code,) in execute(query, *parameters).fetchall()}


def _count(query: str, *parameters: object) -> int:
    return int(execute(query, *parameters).fetchone()[0])
