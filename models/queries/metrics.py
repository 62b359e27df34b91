"""The figures for /metrics. Each comes from an index that contains only the counted rows."""

from dataclasses import dataclass
from datetime import datetime

from models.db.connection import UtcDateTimeField, execute, statement
from models.outbox import GIVEN_UP, PENDING
from models.payment import UNDERWAY

_FIELD = UtcDateTimeField()


@dataclass(frozen=True, slots=True)
class Queue:
    """The messages of one channel that wait to be sent."""

    channel: str
    pending: int
    oldest_at: datetime


def underway_by_status() -> dict[str, int]:
    """Return the number of requests by status, without confirmed and expired. Leave out zeros."""
    query = statement(
        "SELECT status, COUNT(*) FROM payment_request WHERE {where} GROUP BY status", where=UNDERWAY
    )
    return dict(execute(query).fetchall())


def created_count() -> int:
    """Return the number of requests that were ever created, which is the id of the newest."""
    (newest,) = execute("SELECT MAX(id) FROM payment_request").fetchone()
    return int(newest or 0)


def queues() -> list[Queue]:
    """Return the queue of each channel in which a message waits."""
    query = statement(
        "SELECT channel, COUNT(*), MIN(created_at) FROM message WHERE {where} GROUP BY channel", where=PENDING
    )
    rows = execute(query).fetchall()
    return [Queue(channel, pending, _to_datetime(oldest)) for channel, pending, oldest in rows]


def undeliverable_count() -> int:
    """Return the number of messages that were given up and that the operator has not acknowledged."""
    query = statement("SELECT COUNT(payment_id) FROM message WHERE {where}", where=GIVEN_UP)
    return int(execute(query).fetchone()[0])


def rates_fetched_at() -> dict[str, datetime]:
    """Return the time of the latest prices by rate source."""
    rows = execute("SELECT source, MAX(fetched_at) FROM rate GROUP BY source").fetchall()
    return {source: _to_datetime(fetched_at) for source, fetched_at in rows}


def schema_version() -> str:
    """Return the name of the last migration."""
    (name,) = execute("SELECT MAX(name) FROM schema_migration").fetchone()
    return str(name)


def _to_datetime(microseconds: int) -> datetime:
    converted = _FIELD.python_value(microseconds)
    assert converted is not None
    return converted
