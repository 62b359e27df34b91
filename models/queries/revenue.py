"""The received money, by day, currency and seller."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from models.db.connection import UtcDateTimeField, execute, is_sqlite, statement
from payments.money import EXACT

_MICROSECONDS_A_DAY = 86_400_000_000
_EPOCH = date(1970, 1, 1)

# Amounts are decimals as text. PostgreSQL adds them as numeric. SQLite has no exact decimals, so it adds the
# whole parts, and the first eight decimals as integers. No currency has more decimals.
_SQLITE_FRACTION = "substr(substr(amount_fiat, instr(amount_fiat || '.', '.') + 1) || '00000000', 1, 8)"
_SQLITE_SUMS = f"SUM(CAST(amount_fiat AS INTEGER)), SUM(CAST({_SQLITE_FRACTION} AS INTEGER))"
_POSTGRESQL_SUMS = "SUM(CAST(amount_fiat AS NUMERIC)), 0"

# The index payment_confirmed contains all columns of this query.
_SQL = """
SELECT confirmed_at / {day}, currency, seller_id, COUNT(*), SUM(received_sats), {sums}
FROM payment_request
WHERE confirmed_at IS NOT NULL AND confirmed_at >= ? AND confirmed_at < ?
GROUP BY 1, 2, 3
"""


@dataclass(frozen=True, slots=True)
class Total:
    """The sums of some confirmed requests of one currency. `received_sats` includes overpayments."""

    payments: int = 0
    amount: Decimal = Decimal(0)
    received_sats: int = 0

    def __add__(self, other: "Total") -> "Total":
        return Total(
            self.payments + other.payments,
            self.amount + other.amount,
            self.received_sats + other.received_sats,
        )


@dataclass(frozen=True, slots=True)
class DayOfSeller:
    """The key of a total: a day in UTC, a currency and a seller."""

    day: date
    currency: str
    seller_id: str


def totals(first: date, last: date) -> Mapping[DayOfSeller, Total]:
    """Return the totals from the first to the last day (UTC). Leave out empty days.

    `amount` is the exact sum of the requested amounts.
    """
    field = UtcDateTimeField()
    span = (field.db_value(_midnight(first)), field.db_value(_midnight(last + timedelta(days=1))))
    query = statement(_SQL, day=_MICROSECONDS_A_DAY, sums=_SQLITE_SUMS if is_sqlite() else _POSTGRESQL_SUMS)
    return {
        DayOfSeller(_EPOCH + timedelta(days=number), currency, seller_id): Total(
            count, EXACT.add(Decimal(whole), EXACT.scaleb(Decimal(int(fraction)), -8)), int(sats)
        )
        for number, currency, seller_id, count, sats, whole, fraction in execute(query, *span).fetchall()
    }


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
