"""Figures of the whole, for /metrics: each by an index that holds no more than what it counts."""

from dataclasses import dataclass
from datetime import datetime

from models.db.connection import UtcDateTimeField, database

_MOMENT = UtcDateTimeField()


@dataclass(frozen=True, slots=True)
class Queue:
    """The messages of one channel that wait to be sent."""

    channel: str
    pending: int
    oldest_at: datetime


def underway_by_status() -> dict[str, int]:
    """How many requests there are in each status but confirmed and expired; none of those with none."""
    query = (
        "SELECT status, COUNT(*) FROM payment_request WHERE status NOT IN ('confirmed', 'expired') "
        "GROUP BY status"
    )
    return dict(database.execute_sql(query).fetchall())


def created_count() -> int:
    """How many requests were ever made, by the number that the newest has."""
    (newest,) = database.execute_sql("SELECT MAX(id) FROM payment_request").fetchone()
    return int(newest or 0)


def queues() -> list[Queue]:
    """By channel; only those in which something waits."""
    query = (
        "SELECT channel, COUNT(*), MIN(created_at) FROM message WHERE next_attempt_at IS NOT NULL "
        "GROUP BY channel"
    )
    rows = database.execute_sql(query).fetchall()
    return [Queue(channel, pending, _moment(oldest)) for channel, pending, oldest in rows]


def undeliverable_count() -> int:
    """How many messages were given up, and wait for the operator to say what about it."""
    query = "SELECT COUNT(payment_id) FROM message WHERE failed_at IS NOT NULL AND acknowledged_at IS NULL"
    return int(database.execute_sql(query).fetchone()[0])


def rates_fetched_at() -> dict[str, datetime]:
    """When each rate source last answered."""
    rows = database.execute_sql("SELECT source, MAX(fetched_at) FROM rate GROUP BY source").fetchall()
    return {source: _moment(fetched_at) for source, fetched_at in rows}


def schema_version() -> str:
    """The name of the last migration."""
    (name,) = database.execute_sql("SELECT MAX(name) FROM schema_migration").fetchone()
    return str(name)


def _moment(microseconds: int) -> datetime:
    moment = _MOMENT.python_value(microseconds)
    assert moment is not None
    return moment
