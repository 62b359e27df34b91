"""The requests to the rate sources."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from decimal import Decimal

from config import Settings
from config.rates import has_currency, with_currency
from config.types import CUSTOM_SOURCE
from daemon.net.http_client import HttpResponse, request
from daemon.rates.sources import (
    NoRates,
    OldRates,
    Rates,
    UnknownPair,
    addresses_by_pair,
    read_custom_rates,
    read_rates,
)
from payments.money import currency_codes

FIXED = "fixed"
DEADLINE_SECONDS = 10.0
MAX_RESPONSE_BYTES = 1024 * 1024
UNKNOWN_CURRENCY = (400, 404, 422)
"""The statuses with which sources refuse a currency in an address."""


def fetch_rates(
    name: str,
    settings: Settings,
    clock: Callable[[], datetime],
    deadline_seconds: float = DEADLINE_SECONDS,
    note_date: Callable[[str], None] = lambda _date: None,
) -> Rates:
    """Return the prices of a source. `as_of` is never in the future.

    Each request has its own deadline. `note_date` is called with the Date header of each response. Raise
    HttpError, or NoRates where the source has no price, or only prices that are older than RATE_MAX_AGE.
    """
    if name == FIXED:
        return Rates(settings.fixed_rates)
    source = _SourceClient(name, settings, deadline_seconds, note_date)
    rates = source.custom_rates() if name == CUSTOM_SOURCE else source.public_rates()
    return _checked(rates, clock(), settings.rate_max_age)


class _SourceClient:
    def __init__(
        self, name: str, settings: Settings, deadline_seconds: float, note_date: Callable[[str], None]
    ) -> None:
        self._name = name
        self._settings = settings
        self._url = settings.rate_urls[name]
        self._deadline_seconds = deadline_seconds
        self._note_date = note_date

    def public_rates(self) -> Rates:
        try:
            return read_rates(self._name, _body(self._fetch(self._url)))
        except UnknownPair:
            return self._rates_by_pair()

    def _rates_by_pair(self) -> Rates:
        """Return the prices of the supported pairs in the address, with one request for each pair."""
        prices: dict[str, Decimal] = {}
        for address in addresses_by_pair(self._url):
            with suppress(UnknownPair):
                prices |= read_rates(self._name, _body(self._fetch(address))).prices
        if not prices:
            raise UnknownPair("the source supports none of the pairs in its address")
        return Rates(prices)

    def custom_rates(self) -> Rates:
        """Return the prices at RATE_PATH_CUSTOM."""
        path = self._settings.rate_path_custom or ()
        if not has_currency(self._url):
            return read_custom_rates(_body(self._fetch(self._url)), path, currency_codes())
        prices: dict[str, Decimal] = {}
        for code in self._settings.rate_currencies_custom:
            answer = self._fetch(with_currency(self._url, code))
            if answer.status not in UNKNOWN_CURRENCY:
                body = _body(answer)
                with suppress(NoRates):
                    prices |= read_custom_rates(body, path, [code]).prices
        if not prices:
            raise NoRates("the responses contain no prices at RATE_PATH_CUSTOM")
        return Rates(prices)

    def _fetch(self, url: str) -> HttpResponse:
        header = self._settings.rate_headers.get(self._name)
        answer = request(
            "GET",
            url,
            headers={
                "Accept": "application/json",
                **({} if header is None else {header.name: header.value.reveal()}),
            },
            deadline_seconds=self._deadline_seconds,
            max_bytes=MAX_RESPONSE_BYTES,
            proxy=self._settings.proxy,
        )
        if answer.date is not None:
            self._note_date(answer.date)
        return answer


def _body(answer: HttpResponse) -> bytes:
    if answer.status != 200:
        raise NoRates(f"HTTP {answer.status}")
    if answer.defect is not None:
        raise NoRates(answer.defect)
    return answer.body


def _checked(rates: Rates, now: datetime, max_age_seconds: int) -> Rates:
    """Return the rates, unless they are too old by the source's own time.

    A source may repeat its last prices for hours after its own sources have failed.
    """
    if rates.as_of is None:
        return rates
    age = (now - rates.as_of).total_seconds()
    if age > max_age_seconds:
        raise OldRates(f"the source's own prices are {age:.0f} s old, and RATE_MAX_AGE is {max_age_seconds}")
    return Rates(rates.prices, min(rates.as_of, now))
