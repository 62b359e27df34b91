"""Money received by day, month or year, and by seller: charts, tables and a CSV file."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import reduce
from operator import add
from typing import TypeVar

from models.queries.revenue import DayOfSeller, Total, totals
from payments.money import format_btc
from web.api.search_limit import OPERATOR_SECONDS, bounded_reading
from web.html.templates import template
from web.http.request import Request
from web.http.responses import FieldError, Response, invalid
from web.operator.csv_export import csv_file, csv_of, decimals_of
from web.operator.layout import operator_page

_PAGE = template("operator_money.tpl")

DAYS = ("7", "31", "92")
_DEFAULT_DAYS = "31"
UNITS = {"month": 12, "year": 10}
"""The number of calendar months or years in a chart, with the current one."""

COLUMNS = ("period", "currency", "seller_id", "payments", "amount_fiat", "received_btc")

_STEP, _BAR, _HEIGHT = 10, 8, 100

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Span:
    """The selected time. `periods` are the names of its days, months or years, oldest first."""

    query: str
    words: str
    unit: str
    first: date
    last: date
    periods: list[str]

    def period_of(self, day: date) -> str:
        """Return the name of the period of a day, such as 2026-11 in a chart of months."""
        return day.isoformat()[: {"day": 10, "month": 7, "year": 4}[self.unit]]


@dataclass(frozen=True, slots=True)
class Bar:
    """A period's bar in the chart, in the units of the viewBox, and the period's total."""

    period: str
    taking: Total
    x: int
    height: float

    @property
    def y(self) -> float:
        """The top edge of the bar."""
        return _HEIGHT - self.height


@dataclass(frozen=True, slots=True)
class Chart:
    """One currency's periods, oldest first, and its totals by seller, the largest first."""

    currency: str
    bars: list[Bar]
    sellers: list[tuple[str, Total]]

    @property
    def width(self) -> int:
        """The width of the viewBox."""
        return _STEP * len(self.bars)

    @property
    def filled(self) -> list[Bar]:
        """The periods with payments, newest first."""
        return [bar for bar in reversed(self.bars) if bar.taking.payments]

    @property
    def highest(self) -> Decimal:
        """The best period's amount."""
        return max(bar.taking.amount for bar in self.bars)

    @property
    def total(self) -> Total:
        """The total of all periods."""
        return reduce(add, (bar.taking for bar in self.bars), Total())

    def written(self, amount: Decimal) -> str:
        """Format an amount with the currency's decimals."""
        return decimals_of(amount, self.currency)


def show(request: Request) -> Response:
    """GET /operator/money: the last `days` days, or the last months or years by `by`."""
    parameters, today = request.page_parameters(), request.now.date()
    span = _span(parameters, today)
    with bounded_reading(OPERATOR_SECONDS):
        found = totals(span.first, span.last)
    return operator_page(
        _PAGE,
        request,
        charts=_charts(span, found),
        span=span,
        spans=_all_spans(today),
        bar_width=_BAR,
        height=_HEIGHT,
    )


def export(request: Request) -> Response:
    """GET /operator/money.csv: the same figures by period, currency and seller, newest first."""
    span = _span(request.page_parameters(), request.now.date())
    with bounded_reading(OPERATOR_SECONDS):
        found = totals(span.first, span.last)
    return csv_file(f"money-{request.now:%Y-%m-%d}.csv", _lines(span, found))


def _lines(span: Span, found: Mapping[DayOfSeller, Total]) -> Iterator[bytes]:
    grouped = _sums(
        ((span.period_of(key.day), key.currency, key.seller_id), taking) for key, taking in found.items()
    )
    yield csv_of([COLUMNS])
    ordered = sorted(grouped.items(), key=lambda item: item[0])
    ordered.sort(key=lambda item: item[0][0], reverse=True)
    yield csv_of(
        (*key, taking.payments, decimals_of(taking.amount, key[1]), format_btc(taking.received_sats))
        for key, taking in ordered
    )


def _span(parameters: Mapping[str, str], today: date) -> Span:
    """Return the selected time. Raise Problem 422."""
    unit = parameters.get("by")
    if unit is not None:
        if unit not in UNITS:
            raise invalid([FieldError("by", f"must be one of {', '.join(UNITS)}")])
        return _span_of_units(unit, today)
    days = parameters.get("days", _DEFAULT_DAYS)
    if days not in DAYS:
        raise invalid([FieldError("days", f"must be one of {', '.join(DAYS)}")])
    return _span_of_days(int(days), today)


def _all_spans(today: date) -> list[Span]:
    return [
        *(_span_of_days(int(days), today) for days in DAYS),
        *(_span_of_units(unit, today) for unit in UNITS),
    ]


def _span_of_days(count: int, today: date) -> Span:
    days = [today - timedelta(days=number) for number in reversed(range(count))]
    return Span(f"days={count}", f"{count} days", "day", days[0], today, [day.isoformat() for day in days])


def _span_of_units(unit: str, today: date) -> Span:
    count = UNITS[unit]
    if unit == "year":
        years = range(today.year - count + 1, today.year + 1)
        return Span("by=year", "Years", unit, date(years[0], 1, 1), today, [str(year) for year in years])
    numbers = range(today.year * 12 + today.month - count, today.year * 12 + today.month)
    months = [date(number // 12, number % 12 + 1, 1) for number in numbers]
    names = [month.isoformat()[:7] for month in months]
    return Span("by=month", "Months", unit, months[0], today, names)


def _charts(span: Span, found: Mapping[DayOfSeller, Total]) -> list[Chart]:
    by_period = _sums(((key.currency, span.period_of(key.day)), taking) for key, taking in found.items())
    by_seller = _sums(((key.currency, key.seller_id), taking) for key, taking in found.items())
    return [
        Chart(
            currency,
            _bars([(period, by_period.get((currency, period), Total())) for period in span.periods]),
            sorted(
                ((seller, taking) for (code, seller), taking in by_seller.items() if code == currency),
                key=lambda pair: (-pair[1].amount, pair[0]),
            ),
        )
        for currency in sorted({currency for currency, _ in by_period})
    ]


def _bars(periods: list[tuple[str, Total]]) -> list[Bar]:
    highest = max(taking.amount for _, taking in periods)
    return [
        Bar(period, taking, number * _STEP, float(round(taking.amount / highest * _HEIGHT, 2)))
        for number, (period, taking) in enumerate(periods)
    ]


def _sums(parts: Iterable[tuple[Key, Total]]) -> dict[Key, Total]:
    found: dict[Key, Total] = defaultdict(Total)
    for key, taking in parts:
        found[key] += taking
    return found
