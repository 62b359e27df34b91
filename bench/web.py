"""The web server under many clients: new requests, and the checkout pages that ask how it stands."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice, repeat, starmap
from statistics import median

from bench.by_hand import ByHand
from bench.callers import Traffic, UnexpectedAnswerError, drive, get, post
from bench.database import Database
from bench.floor import Commits
from bench.load import Load
from bench.part import Options
from bench.processor import processor_seconds
from bench.report import Row
from bench.site import AMOUNT_EUR, SELLER, Site, fill
from regtest.child import free_ports
from regtest.node import PROJECT

CREATE_REACH, STATUS_REACH = 0.5, 0.6
COMMITS = 500
START_SECONDS = 10


@dataclass(frozen=True, slots=True)
class WebPlan:
    """How many clients at once, how many calls by them, and how many checkout pages are open."""

    clients: tuple[int, ...] = (1, 8, 32)
    calls: int = 1_000
    pages: int = 1_000
    runs: int = 3


@dataclass(frozen=True, slots=True)
class EmptyPage:
    """A server with nothing behind it."""

    port: int
    pid: int


REMARKS = """\
- New requests and status reads: by clients in another process, without a daemon. Their
  floor: the same web server, WSGI framework and clients with an empty page; for new requests also durable
  commits of a row as large, one after another, where these are fewer.
- Status reads: each page has a connection of its own open, and asks with the ETag of what it shows, as the
  checkout page does; so many at once as there are clients. The empty page has as many connections.
- An empty page, then a request made by hand: the least that Python does with the same duties. The key looked
  up and the price, JSON read and written by the standard library, the address and the row stored, by the
  driver alone in one process and thread, as many a commit as there are clients; and an empty page. It checks
  nothing, makes no price, writes no line in the log, and no thread waits for another. The row after it is
  what each of these uses of the processors, and beside it what the web server uses.
"""

LEAN = WebPlan(clients=(1, 32), runs=2)
QUICK = WebPlan(clients=(1, 2), calls=20, pages=5, runs=1)


def rows(options: Options) -> Iterator[Row]:
    """Lines for new requests, and for status reads."""
    plan = options.choose(WebPlan(), LEAN, QUICK)
    with Load.start(options.directory / "node", 10) as load, empty_page() as empty:
        site = Site(load, options.directory / "site", 0, 1, new_database=options.new_database)
        with site.running():
            # The wallet does not know these addresses, so a daemon at work would hold them.
            site.daemon.stop()
            fill(
                site.database,
                (plan.calls * plan.runs + COMMITS) * len(plan.clients) + plan.pages + 100,
                is_free=True,
            )
            for clients in plan.clients:
                yield from _new_requests(plan, clients, site, empty)
            pages = [site.status_page() for _ in range(plan.pages)]
            for clients in plan.clients:
                yield _status_reads(plan, clients, site, empty.port, pages)


def _new_requests(plan: WebPlan, clients: int, site: Site, page: EmptyPage) -> Iterator[Row]:
    create = new_request(site)
    empty, ours, commits = [], [], []
    before = [processor_seconds(pid) for pid in (page.pid, site.web.pid)]
    for _ in range(plan.runs):
        empty.append(drive(page.port, clients, repeat(get("/"), plan.calls)))
        ours.append(drive(site.port, clients, repeat(create, plan.calls), b"201"))
        commits.append(_commits(site.database))
    after = [processor_seconds(pid) for pid in (page.pid, site.web.pid)]
    rates = {"empty pages": median(t.rate for t in empty), "commits": median(commits)}
    which = min(rates, key=lambda name: rates[name])
    floor = f"{rates[which]:,.0f} {which} a second"
    yield _row("new requests", clients, floor, rates[which], ours, CREATE_REACH)
    milliseconds = [
        None if began is None or ended is None else 1000 * (ended - began) / (plan.calls * plan.runs)
        for began, ended in zip(before, after, strict=True)
    ]
    yield from _least_rows(clients, site, rates["empty pages"], *milliseconds)


def _status_reads(
    plan: WebPlan, clients: int, site: Site, empty_port: int, pages: list[tuple[str, str]]
) -> Row:
    empty, ours = [], []
    calls = plan.calls + plan.pages
    for _ in range(plan.runs):
        asked = starmap(get, islice(cycle(pages), calls))
        empty.append(drive(empty_port, clients, repeat(get("/"), calls), connections=plan.pages))
        ours.append(drive(site.port, clients, asked, b"304", connections=plan.pages))
    rate = median(t.rate for t in empty)
    floor = f"{rate:,.0f} empty pages a second, p99 {_p99(empty)}"
    return _row(f"status reads of {plan.pages:,} open pages", clients, floor, rate, ours, STATUS_REACH)


def _row(what: str, clients: int, floor: str, floor_rate: float, ours: list[Traffic], reach: float) -> Row:
    rate = median(t.rate for t in ours)
    ratio = rate / floor_rate
    return Row(
        f"{what}, {_by(clients)}",
        floor,
        f"{rate:,.0f} a second, p99 {_p99(ours)}",
        f"{ratio:.2f} times",
        f"at least {reach:g} times",
        ratio >= reach,
    )


def _by(clients: int) -> str:
    return f"{clients} {'client' if clients == 1 else 'clients'}"


def _p99(traffics: list[Traffic]) -> str:
    return f"{1000 * median(t.p99 for t in traffics):.1f} ms"


def new_request(site: Site) -> bytes:
    """A shop's call for one."""
    return post("/api/v1/payments", site.key, create_body())


def create_body() -> bytes:
    """The document in it."""
    return json.dumps({"seller_id": SELLER, "amount_fiat": AMOUNT_EUR, "currency": "EUR"}).encode()


def _commits(database: Database) -> float:
    """Durable commits a second, of one row as large as a request."""
    with Commits(database) as commits:
        began = time.perf_counter()
        for _ in range(COMMITS):
            commits.store(bytes(600))
        return COMMITS / (time.perf_counter() - began)


def _least_rows(
    clients: int, site: Site, empty_rate: float, empty: float | None, ours: float | None
) -> Iterator[Row]:
    """What would be left if all but the duties themselves were gone; and the processor's milliseconds for
    each request beside those of the two servers. As many share a commit as there are clients."""
    count = max(COMMITS // clients, 1) * clients
    with site.database.connect() as connection:
        by_hand = ByHand(connection, site.key, create_body())
        seconds = by_hand.make(count, clients)
    of = _by(clients)
    both = 1 / (1 / empty_rate + seconds / count)
    what = f"an empty page, then a request made by hand, {of}"
    yield Row(what, f"{both:,.0f} a second", "", "")
    if empty is None or ours is None:
        return
    each = {"empty page": empty, **{part: 1000 * used / count for part, used in by_hand.spent.items()}}
    parts = ", ".join(f"{name} {milliseconds:.2f}" for name, milliseconds in each.items())
    least = sum(each.values())
    yield Row(
        f"processor time of each new request, {of}",
        f"{least:.2f} ms: {parts}",
        f"{ours:.2f} ms",
        f"{ours / least:.2f} times",
    )


@contextmanager
def empty_page() -> Iterator[EmptyPage]:
    """One that runs."""
    (port,) = free_ports(1)
    child = subprocess.Popen([sys.executable, "-m", "bench.empty_page", str(port)], cwd=PROJECT)
    try:
        _wait_for(port)
        yield EmptyPage(port, child.pid)
    finally:
        child.terminate()
        child.wait()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            drive(port, 1, iter([get("/")]))
        except (OSError, UnexpectedAnswerError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
