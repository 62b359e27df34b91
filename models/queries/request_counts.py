"""Count a seller's requests as far as its limits go: by indexes, and never further."""

from collections.abc import Collection
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


def used_since(currencies: Collection[str], since: datetime) -> set[str]:
    """Return those of these currencies in which a request was made since then."""
    if not currencies:
        return set()
    # Each is looked up in an index, so that the number of requests makes no difference.
    query = f"""WITH code (currency) AS (VALUES {",".join(["(?)"] * len(currencies))})
        SELECT currency FROM code WHERE EXISTS (SELECT 1 FROM payment_request p
        WHERE p.currency = code.currency AND p.created_at > ?)"""  # noqa: S608 (only marks are put into it)
    parameters = (*currencies, PaymentRequest.created_at.db_value(since))
    return {code for (code,) in database.execute_sql(statement(query), parameters).fetchall()}


def _count(query: str, *parameters: object) -> int:
    return int(database.execute_sql(statement(query), parameters).fetchone()[0])
