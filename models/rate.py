"""The latest prices of each rate source."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

import peewee

from models.db.connection import (
    Table,
    UtcDateTimeField,
    database,
    execute,
    from_microseconds,
)
from payments.price import Quote


class Rate(Table):
    """The price of one bitcoin in one currency at one source."""

    source = peewee.CharField(max_length=32)
    currency = peewee.CharField(max_length=3)
    price = peewee.TextField()
    fetched_at = UtcDateTimeField()

    class Meta:
        primary_key = peewee.CompositeKey("source", "currency")


def store_rates(source: str, prices: Mapping[str, Decimal], now: datetime) -> None:
    """Replace all stored prices of this source."""
    quoted = [
        {"source": source, "currency": currency, "price": f"{price:f}", "fetched_at": now}
        for currency, price in prices.items()
    ]
    with database.atomic():
        Rate.delete().where(Rate.source == source).execute()
        if quoted:
            Rate.insert_many(quoted).execute()


def quotes(currency: str | None = None) -> list[Quote]:
    """Return the prices of `currency` at all sources, or the prices of all currencies."""
    query, parameters = "SELECT source, currency, price, fetched_at FROM rate", []
    if currency is not None:
        query, parameters = f"{query} WHERE currency = ?", [currency]
    found = execute(f"{query} ORDER BY currency, source", *parameters)
    return [
        Quote(source, code, Decimal(price), from_microseconds(at))
        for source, code, price, at in found.fetchall()
    ]
