"""Money received by day, as a chart and a table for each currency."""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from models.db.connection import snapshot
from models.queries.revenue import DailyTotal, daily_totals
from payments.money import currency_exponent, to_plain
from web.html.templates import template
from web.http.request import Request
from web.http.responses import Content, FieldError, invalid
from web.operator.layout import operator_page

_PAGE = template("operator_money.tpl")

SPANS = (7, 31, 92)
"""The selectable periods in days. They are short, because the page reads each payment of the period."""
_DEFAULT_SPAN = 31

_STEP, _BAR, _HEIGHT = 10, 8, 100


@dataclass(frozen=True, slots=True)
class Bar:
    """A day's bar in the chart, in the units of the viewBox, and the day's total."""

    day: date
    taking: DailyTotal
    x: int
    height: float

    @property
    def y(self) -> float:
        """The top edge of the bar."""
        return _HEIGHT - self.height


@dataclass(frozen=True, slots=True)
class Chart:
    """One currency's days, oldest first."""

    currency: str
    bars: list[Bar]

    @property
    def width(self) -> int:
        """The width of the viewBox."""
        return _STEP * len(self.bars)

    @property
    def days(self) -> list[Bar]:
        """The days with payments, newest first."""
        return [bar for bar in reversed(self.bars) if bar.taking.payments]

    @property
    def highest(self) -> Decimal:
        """The best day's amount."""
        return max(bar.taking.amount for bar in self.bars)

    @property
    def total(self) -> DailyTotal:
        """The total of all days."""
        parts = [bar.taking for bar in self.bars]
        return DailyTotal(
            sum(part.payments for part in parts),
            sum((part.amount for part in parts), Decimal(0)),
            sum(part.received_sats for part in parts),
        )

    def written(self, amount: Decimal) -> str:
        """Format an amount with the currency's decimals."""
        return to_plain(round(amount, currency_exponent(self.currency)))


def show(call: Request) -> Content:
    """GET /operator/money: the last `days` days."""
    span = _span(call.page_parameters().get("days", str(_DEFAULT_SPAN)))
    today = call.now.date()
    days = [today - timedelta(days=number) for number in reversed(range(span))]
    with snapshot():
        found = daily_totals(days[0], today)
    currencies = sorted({currency for currency, _ in found})
    charts = [
        _chart(currency, [(day, found.get((currency, day), DailyTotal())) for day in days])
        for currency in currencies
    ]
    return operator_page(
        _PAGE, call, charts=charts, span=span, spans=SPANS, bar_width=_BAR, height=_HEIGHT, days=days
    )


def _span(text: str) -> int:
    if text not in map(str, SPANS):
        raise invalid([FieldError("days", f"must be one of {', '.join(map(str, SPANS))}")])
    return int(text)


def _chart(currency: str, days: list[tuple[date, DailyTotal]]) -> Chart:
    highest = max(taking.amount for _, taking in days)
    return Chart(
        currency,
        [
            Bar(day, taking, number * _STEP, float(round(taking.amount / highest * _HEIGHT, 2)))
            for number, (day, taking) in enumerate(days)
        ],
    )
