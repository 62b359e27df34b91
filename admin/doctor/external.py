"""Checks of the mail server, the rate sources and the clock."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from statistics import median

from admin.doctor.findings import Finding, advice, not_tried, ok, wrong
from config import Maildir, Settings
from config.types import CUSTOM_SOURCE
from daemon.delivery.cures import START_PROXY
from daemon.delivery.smtp import Mailer
from daemon.net.errors import HttpError, MailUnusable, ProxyUnusable, is_caused_by
from daemon.net.socks import check_proxy
from daemon.rates.client import fetch_rates
from daemon.rates.sources import NoRates, OldRates
from payments.price import Price, Quote, aggregate_quotes

Clock = Callable[[], datetime]

MAIL_SECONDS = 10.0
PROXY_SECONDS = 10.0
MAX_DIFFERENCE_SECONDS = 60.0
MAX_LEAP = timedelta(minutes=10)
"""The median time of blocks is in the past (BIP 113), unless a test has mined thousands of blocks at once."""
MAX_SHOWN = 8
SYNCHRONISE = "this machine needs NTP"


def mail_finding(settings: Settings) -> Finding:
    """Return whether the mail server would accept an email. Send none."""
    mail = settings.mail
    try:
        Mailer(mail, settings.mail_from, MAIL_SECONDS, settings.proxy).check(settings.operator_email)
    except MailUnusable as problem:
        where = "" if isinstance(mail, Maildir) else f" (the server is {mail.host}:{mail.port})"
        return wrong("mail", f"{problem}{where}")
    if isinstance(mail, Maildir):
        return advice(
            "mail",
            f"emails go into the Maildir {mail.path}, and to no mailbox: "
            "for a mail server set SMTP_URL=smtp://USER:PASSWORD@HOST:587",
        )
    login = "takes our login" if mail.username is not None else "needs no login"
    tls = {"starttls": "with STARTTLS", "tls": "with TLS", "none": "without TLS"}[mail.security]
    accepts = f"accepts mail for {settings.operator_email}"
    return ok("mail", f"{mail.host}:{mail.port} {login} {tls}, and {accepts}")


def proxy_finding(settings: Settings) -> Iterator[Finding]:
    """Yield whether the proxy of PROXY can be used. Yield nothing without that setting."""
    proxy = settings.proxy
    if proxy is None:
        return
    where = f"{proxy.host}:{proxy.port}"
    try:
        check_proxy(proxy, PROXY_SECONDS)
    except ProxyUnusable as error:
        cure = f"{START_PROXY}; until then no rate, webhook or email gets out"
        yield wrong("proxy", f"{error.strerror} ({where}): {cure}")
    else:
        yield ok("proxy", f"{where} is a SOCKS5 proxy; rates, webhooks and emails go through it")


class RateDiagnosis:
    """Calls each rate source once, and compares `clock` with the source's clock."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._quotes: dict[str, list[Quote]] = {}
        self.clock_differences: dict[str, float] = {}

    def findings(self, sellers: Mapping[str, str]) -> Iterator[Finding]:
        """Yield a finding for each source, and one for the prices.

        `sellers` maps each currency that needs a price to a seller that uses the currency.
        """
        # The sources are called at the same time, because each may take ten seconds to time out.
        with ThreadPoolExecutor() as pool:
            yield from pool.map(self._of_source, self._settings.rate_sources)
        if self._quotes:
            yield self._of_prices(sellers)
        else:
            yield from not_tried(["prices"], "no rate source answers")

    def _of_source(self, name: str) -> Finding:
        part = f"rates: {name}"
        try:
            rates = fetch_rates(name, self._settings, self._clock, note_date=partial(self._note_clock, name))
        except (HttpError, NoRates) as error:
            return wrong(part, f"{error}: {self._cure(name, error)}")
        now = self._clock()
        for currency, price in rates.prices.items():
            self._quotes.setdefault(currency, []).append(Quote(name, currency, price, now))
        return ok(part, f"names prices in {_listed(rates.prices)}")

    def _cure(self, name: str, error: HttpError | NoRates) -> str:
        if isinstance(error, OldRates):
            return (
                "raise RATE_MAX_AGE, or PRICE_UPDATES_PER_HOUR of a mempool of your own, "
                f"or leave {name} out of RATE_SOURCES"
            )
        if is_caused_by(error, ProxyUnusable):
            return START_PROXY
        by = "this machine" if self._settings.proxy is None else "the proxy (some sources refuse Tor)"
        more = " and RATE_PATH_CUSTOM" if name == CUSTOM_SOURCE else ""
        url = f"RATE_URL_{name.upper()}{more}"
        return f"check that {by} can reach it, correct {url}, or leave {name} out of RATE_SOURCES"

    def _note_clock(self, name: str, date: str) -> None:
        difference = seconds_ahead(self._clock(), date)
        if difference is not None:
            self.clock_differences[name] = difference

    def _of_prices(self, sellers: Mapping[str, str]) -> Finding:
        now, max_age = self._clock(), timedelta(seconds=self._settings.rate_max_age)
        chosen = (aggregate_quotes(quotes, now, max_age) for quotes in self._quotes.values())
        prices = {price.currency: price for price in chosen if price is not None}
        unpriced = [self._unpriced(code, seller) for code, seller in sellers.items() if code not in prices]
        left_out = _left_out(prices.values())
        broken = [each for each in left_out if 2 * len(each.left_out) >= len(each.compared)]
        problems = [*unpriced, *(f"{each}: see RATE_URL_{each.source.upper()}" for each in broken)]
        if problems:
            return wrong("prices", "; ".join(problems))
        used = [str(each) for each in left_out if not sellers.keys().isdisjoint(each.left_out)]
        if used:
            cure = "it may have the market's rate where others have the official one: choose by RATE_SOURCES"
            return advice("prices", f"{'; '.join(used)}: {cure}")
        return ok("prices", f"there is one in {_listed(prices)}")

    def _unpriced(self, currency: str, seller: str) -> str:
        if currency in self._quotes:
            return (
                f"the sources differ by more than 5 % on {currency}, so it has no price: add a third source"
            )
        return (
            f"no source has a price in {currency}, which seller {seller} uses: "
            "add a source with this currency to RATE_SOURCES"
        )


def clock_finding(
    now: datetime, node_date: str | None, median_time: datetime | None, sources: Mapping[str, float]
) -> Finding:
    """Return whether this machine's clock agrees with the clocks of other machines, all just read.

    `sources` maps each source to the seconds that our clock is ahead. `median_time` is the chain's.
    """
    known_by = []
    if sources:
        ahead = median(sources.values())
        if abs(ahead) > MAX_DIFFERENCE_SECONDS:
            return wrong("clock", f"{_off(ahead)} of {', '.join(sources)}: {SYNCHRONISE}")
        known_by += list(sources)
    if median_time is not None and median_time - now > MAX_LEAP:
        behind = (median_time - now).total_seconds()
        return wrong("clock", f"{_off(-behind)} of bitcoind's newest blocks, or more: {SYNCHRONISE}")
    if node_date is not None:
        ahead = seconds_ahead(now, node_date) or 0.0
        if abs(ahead) > MAX_DIFFERENCE_SECONDS:
            return wrong("clock", f"{_off(ahead)} of bitcoind's machine: {SYNCHRONISE}, as does bitcoind's")
        known_by.append("bitcoind")
    if not known_by:
        return next(not_tried(["clock"], "no other machine answers with its time"))
    return ok("clock", f"within {MAX_DIFFERENCE_SECONDS:g} s of {', '.join(known_by)}")


def seconds_ahead(now: datetime, date: str) -> float | None:
    """Return the seconds that our clock is ahead of an HTTP Date, or None where the date is malformed."""
    try:
        return (now - parsedate_to_datetime(date).astimezone(UTC)).total_seconds()
    except (ValueError, OverflowError):
        return None


def _off(ahead_seconds: float) -> str:
    which = "ahead of" if ahead_seconds > 0 else "behind"
    return f"this machine's clock is {abs(ahead_seconds):.0f} s {which} that"


def _listed(currencies: Collection[str]) -> str:
    return f"{len(currencies)} currencies" if len(currencies) > MAX_SHOWN else ", ".join(sorted(currencies))


@dataclass(frozen=True, slots=True)
class _LeftOut:
    """The currencies in which a source was compared with others, and those in which it was left out."""

    source: str
    compared: frozenset[str]
    left_out: frozenset[str]

    def __str__(self) -> str:
        return f"{self.source} is more than 5 % off the others in {_listed(self.left_out)}, and left out"


def _left_out(prices: Iterable[Price]) -> list[_LeftOut]:
    """Return the sources that are left out in some currency."""
    shared = [price for price in prices if len(price.sources) + len(price.outliers) > 1]
    names = sorted({source for price in shared for source in price.outliers})
    return [
        _LeftOut(
            name,
            frozenset(price.currency for price in shared if name in price.sources + price.outliers),
            frozenset(price.currency for price in shared if name in price.outliers),
        )
        for name in names
    ]
