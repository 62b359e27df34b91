"""The received money, by day and currency."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from models.db.connection import UtcDateTimeField, database, with_paramstyle

_MICROSECONDS_A_DAY = 86_400_000_000
_EPOCH = date(1970, 1, 1)

# The index payment_confirmed contains all columns of this query. Amounts are decimals as text, and SQLite
# cannot add them exactly. So the query counts equal amounts, and Python adds them.
_SQL = f"""
SELECT confirmed_at / {_MICROSECONDS_A_DAY}, currency, amount_fiat, COUNT(*), SUM(received_sats)
FROM payment_request
WHERE confirmed_at IS NOT NULL AND confirmed_at >= ? AND confirmed_at < ?
GROUP BY 1, 2, 3
"""  # noqa: S608 (the text contains only a constant of this module)


@dataclass(frozen=True, slots=True)
class DailyTotal:
    """The sums of the requests of one currency that were confirmed on one day."""

    payments: int = 0
    amount: Decimal = Decimal(0)
    received_sats: int = 0


def daily_totals(first: date, last: date) -> Mapping[tuple[str, date], DailyTotal]:
    """Return the totals by currency and day (UTC), from the first to the last day. Leave out empty days.

    `amount` is the sum of the requested amounts. `received_sats` includes overpayments.
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
