"""The sellers, with the last request and the undelivered webhooks of each."""

from dataclasses import dataclass
from datetime import datetime

from models.db.connection import database, from_microseconds

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
_GIVEN_UP = """
SELECT queue, COUNT(*) FROM message WHERE failed_at IS NOT NULL AND acknowledged_at IS NULL GROUP BY queue
"""


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
