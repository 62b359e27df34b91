"""The price of one bitcoin that a new request gets, from the stored rates."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal

from models.output import Output
from models.payment import PaymentRequest
from models.rate import quotes
from payments.late import LateMoney, late_money
from payments.money import apply_spread, price_of_bitcoin_unit
from payments.price import Price, Quote, aggregate_quotes
from payments.status import Status


def offered_price(
    named: Iterable[Quote], now: datetime, max_age_seconds: int, spread: Decimal
) -> Price | None:
    """Return the price by these quotes of one currency, less the spread, or None without a fresh price."""
    price = aggregate_quotes(named, now, timedelta(seconds=max_age_seconds))
    if price is None or not spread:
        return price
    offered = apply_spread(price.price, spread)
    return Price(price.currency, offered, price.sources, price.fetched_at, price.outliers)


def late_money_of(
    payment: PaymentRequest,
    outputs: Iterable[Output],
    now: datetime,
    max_age_seconds: int,
    spread: Decimal,
) -> LateMoney | None:
    """Return the late money of a request, at the price of a new request. None if no late money waits."""
    if not payment.is_late or payment.status != Status.EXPIRED:
        return None
    price = price_of_bitcoin_unit(payment.currency)
    if price is None:
        offered = offered_price(quotes(payment.currency), now, max_age_seconds, spread)
        price = None if offered is None else offered.price
    requested = Decimal(payment.amount_fiat)
    received = [output.received_output for output in outputs]
    return late_money(payment.terms, received, requested, payment.currency, price)
