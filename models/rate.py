"""What each rate source last answered."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

import peewee

from models.db.connection import Table, UtcDateTimeField, database, from_microseconds, with_paramstyle
from payments.price import Quote


class Rate(Table):
    """The price of one bitcoin in one currency, as one source gave it."""

    source = peewee.CharField(max_length=32)
    currency = peewee.CharField(max_length=3)
    price = peewee.TextField()
    fetched_at = UtcDateTimeField()

    class Meta:
        primary_key = peewee.CompositeKey("source", "currency")


def store_rates(source: str, prices: Mapping[str, Decimal], now: datetime) -> None:
    """Replace all that this source said before."""
    quoted = [
        {"source": source, "currency": currency, "price": f"{price:f}", "fetched_at": now}
        for currency, price in prices.items()
    ]
    with database.atomic():
        Rate.delete().where(Rate.source == source).execute()
        if quoted:
            Rate.insert_many(quoted).execute()


def quotes(currency: str | None = None) -> list[Quote]:
    """Every source's price of `currency`, or of all of them."""
    query, parameters = "SELECT source, currency, price, fetched_at FROM rate", []
    if currency is not None:
        query, parameters = f"{query} WHERE currency = ?", [currency]
    found = database.execute_sql(with_paramstyle(f"{query} ORDER BY currency, source"), parameters)
    return [
        Quote(source, code, Decimal(price), from_microseconds(at))
        for source, code, price, at in found.fetchall()
    ]
