"""The rate updater, which stores the prices of the rate sources in the database."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby

import structlog

from config import Settings
from daemon.net.errors import HttpError, printable_line
from daemon.rates.client import DEADLINE_SECONDS, fetch_rates
from daemon.rates.sources import NoRates, Rates
from daemon.unit_of_work import unit_of_work
from daemon.worker import Worker, start_daemon_thread
from models.queries.request_counts import CURRENCY_USE, used_since
from models.rate import Rate, quotes, store_rates
from payments.price import aggregate_quotes

log = structlog.get_logger(__name__)

FIRST_RETRY_SECONDS = 5.0
MIN_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.05, 1.0


@dataclass(frozen=True, slots=True)
class _Answer:
    """The prices, or the problem. `answered_seconds` is the time of the response on the monotonic clock."""

    source: str
    rates: Rates
    answered_at: datetime
    answered_seconds: float
    problem: str | None = None


@dataclass(slots=True)
class _SourceSchedule:
    """The time of the next request to a source, and the failures since its last success."""

    fetch_at: float
    failures: int = 0
    is_being_fetched: bool = False


class RateKeeper(Worker):
    """A thread that stores the prices. Each request to a source runs in a short-lived thread.

    `clock` returns the time of day. `monotonic` returns seconds, which a change of the clock does not affect.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
        start_thread: Callable[[Callable[[], None]], None] = start_daemon_thread,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        super().__init__("rates")
        self._settings = settings
        self._clock = clock
        self._monotonic = monotonic
        self._start_thread = start_thread
        self._deadline_seconds = deadline_seconds
        self._sources = {name: _SourceSchedule(monotonic()) for name in settings.rate_sources}
        self._answers: deque[_Answer] = deque()
        self._has_forgotten = False
        self._left_out: set[tuple[str, str]] = set()
        self._unpriced: set[str] = set()

    def _step(self) -> None:
        self._delete_other_sources()
        if self._answers:
            self._store_answers()
            self._log_disagreements()
        for name, source in self._sources.items():
            if not source.is_being_fetched and self._monotonic() >= source.fetch_at:
                source.is_being_fetched = True
                self._start_thread(partial(self._fetch, name))

    def _pause(self) -> float:
        waiting = [source.fetch_at for source in self._sources.values() if not source.is_being_fetched]
        until_next = min(waiting, default=float("inf")) - self._monotonic()
        return min(max(until_next, MIN_PAUSE_SECONDS), MAX_PAUSE_SECONDS)

    def _delete_other_sources(self) -> None:
        """Delete the prices of sources that are no longer configured, such as a fixed price for a trial."""
        if not self._has_forgotten:
            with unit_of_work("rates-forgotten"):
                Rate.delete().where(Rate.source.not_in(list(self._sources))).execute()
            self._has_forgotten = True

    def _fetch(self, name: str) -> None:
        """Fetch the prices of one source. All other methods run in the updater's own thread."""
        rates = Rates({})
        problem: str | None = "an error in Nodetill; its log has the details"
        try:
            rates = fetch_rates(name, self._settings, self._clock, self._deadline_seconds)
            problem = None
        except (HttpError, NoRates) as error:
            problem = printable_line(str(error))
        finally:
            # The prices keep the time of their response, because the database may accept them much later.
            self._answers.append(_Answer(name, rates, self._clock(), self._monotonic(), problem))
            self.wake()

    def _store_answers(self) -> None:
        while self._answers:
            answer = self._answers[0]
            if answer.problem is None:
                with unit_of_work("rates-stored"):
                    store_rates(answer.source, answer.rates.prices, answer.rates.as_of or answer.answered_at)
            self._answers.popleft()
            self._schedule(answer)

    def _schedule(self, answer: _Answer) -> None:
        """Set the time of the next request, and log the start and the end of an outage."""
        source, refresh = self._sources[answer.source], float(self._settings.rate_refresh)
        source.is_being_fetched = False
        if answer.problem is None:
            if source.failures:
                log.info("rate source answers again", source=answer.source)
            source.failures = 0
            source.fetch_at = answer.answered_seconds + refresh
            return
        if not source.failures:
            log.warning("rate source failed", source=answer.source, reason=answer.problem)
        # The limit of the exponent keeps the number small after many failures.
        delay = FIRST_RETRY_SECONDS * 2 ** min(source.failures, 20)
        source.failures += 1
        source.fetch_at = answer.answered_seconds + min(delay, refresh)

    def _log_disagreements(self) -> None:
        """Log the sources that are newly left out, and the currencies that have newly lost their price.

        It is a warning only if a shop uses one of the currencies. Some sources have the market's rate of a
        currency and others the official rate, so they always differ in currencies that few shops use.
        """
        max_age = timedelta(seconds=self._settings.rate_max_age)
        left_out: set[tuple[str, str]] = set()
        unpriced: set[str] = set()
        for currency, group in groupby(quotes(), key=lambda quote: quote.currency):
            fresh = [quote for quote in group if abs(self._clock() - quote.fetched_at) <= max_age]
            price = aggregate_quotes(fresh, self._clock(), max_age)
            left_out |= {(source, currency) for source in price.outliers} if price else set()
            if fresh and price is None:
                unpriced.add(currency)
        for source, pairs in groupby(sorted(left_out - self._left_out), key=lambda pair: pair[0]):
            currencies = {currency for _, currency in pairs}
            self._log_currencies("rate source left out", currencies, source=source, reason="over 5 % off")
        if unpriced - self._unpriced:
            self._log_currencies("no price: the sources disagree", unpriced)
        self._left_out, self._unpriced = left_out, unpriced

    def _log_currencies(self, event: str, currencies: set[str], **more: str) -> None:
        is_used = bool(used_since(currencies, self._clock() - CURRENCY_USE))
        write = log.warning if is_used else log.info
        write(event, currencies=" ".join(sorted(currencies)), **more)
