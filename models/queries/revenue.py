"""What was received, by day and currency."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from models.db.connection import UtcDateTimeField, database, with_paramstyle

_MICROSECONDS_A_DAY = 86_400_000_000
_EPOCH = date(1970, 1, 1)

# All that it reads stands in the index payment_confirmed. Amounts are decimals as text, which SQLite can't
# add up exactly: equal ones are counted here, and added up in Python.
_SQL = f"""
SELECT confirmed_at / {_MICROSECONDS_A_DAY}, currency, amount_fiat, COUNT(*), SUM(received_sats)
FROM payment_request
WHERE confirmed_at IS NOT NULL AND confirmed_at >= ? AND confirmed_at < ?
GROUP BY 1, 2, 3
"""  # noqa: S608 (a number of our own)


@dataclass(frozen=True, slots=True)
class DailyTotal:
    """What requests of one currency, confirmed on one day, came to."""

    payments: int = 0
    amount: Decimal = Decimal(0)
    received_sats: int = 0


def daily_totals(first: date, last: date) -> Mapping[tuple[str, date], DailyTotal]:
    """By currency and day (UTC), from the first to the last day; without those on which nothing came.

    The amounts are those that were asked for: more than that may have come, which shows in the satoshis.
    """
    field = UtcDateTimeField()
    span = (field.db_value(_midnight(first)), field.db_value(_midnight(last + timedelta(days=1))))
    found: dict[tuple[str, date], DailyTotal] = defaultdict(DailyTotal)
    for number, currency, amount, count, sats in database.execute_sql(with_paramstyle(_SQL), span).fetchall():
        key = currency, _EPOCH + timedelta(days=number)
        before = found[key]
        found[key] = DailyTotal(
            before.payments + count,
            before.amount + Decimal(amount) * count,
            before.received_sats + int(sats),
        )
    return found


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
