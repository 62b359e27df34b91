"""The web server under many clients: new requests, and the checkout pages that ask how it stands."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice, repeat
from statistics import median

from admin.child import free_ports
from admin.regtest import PROJECT
from bench.callers import Traffic, UnexpectedAnswerError, drive, get, post
from bench.database import Database
from bench.floor import Commits
from bench.load import Load
from bench.part import Options
from bench.report import Row
from bench.site import AMOUNT_EUR, SELLER, Site, fill

CREATE = "/api/v1/payments"
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


REMARKS = """\
- New requests and status reads: by clients in another process, each on one connection that is kept, beside a
  daemon that has nothing to do. Their floor: the same web server, WSGI framework and clients with an empty
  page; for new requests also durable commits of a row as large, one after another, where these are fewer.
"""

LEAN = WebPlan(clients=(1, 32), runs=2)
QUICK = WebPlan(clients=(2,), calls=20, pages=5, runs=1)


def rows(options: Options) -> Iterator[Row]:
    """Lines for new requests, and for status reads."""
    plan = options.choose(WebPlan(), LEAN, QUICK)
    with Load.start(options.directory / "node", 10) as load, _empty_page() as empty_port:
        site = Site(load, options.directory / "site", 0, 1, new_database=options.new_database)
        with site.running():
            # Only now: they are none of the wallet's, and a daemon that starts would say so.
            fill(site.database, plan.calls * plan.runs * len(plan.clients) + plan.pages + 100, is_free=True)
            for clients in plan.clients:
                yield _new_requests(plan, clients, site, empty_port)
            paths = [f"/pay/{site.new_reference()}/status" for _ in range(plan.pages)]
            for clients in plan.clients:
                yield _status_reads(plan, clients, site, empty_port, paths)


def _new_requests(plan: WebPlan, clients: int, site: Site, empty_port: int) -> Row:
    create = post(CREATE, site.key, _body())
    empty, ours, commits = [], [], []
    for _ in range(plan.runs):
        empty.append(drive(empty_port, clients, repeat(get("/"), plan.calls)))
        ours.append(drive(site.port, clients, repeat(create, plan.calls), b"201"))
        commits.append(_commits(site.database))
    rates = {"empty pages": median(t.rate for t in empty), "commits": median(commits)}
    which = min(rates, key=lambda name: rates[name])
    floor = f"{rates[which]:,.0f} {which} a second"
    return _row("new requests", clients, floor, rates[which], ours, CREATE_REACH)


def _status_reads(plan: WebPlan, clients: int, site: Site, empty_port: int, paths: list[str]) -> Row:
    empty, ours = [], []
    for _ in range(plan.runs):
        empty.append(drive(empty_port, clients, repeat(get("/"), plan.calls)))
        ours.append(drive(site.port, clients, islice(map(get, cycle(paths)), plan.calls)))
    rate = median(t.rate for t in empty)
    floor = f"{rate:,.0f} empty pages a second, p99 {_p99(empty)}"
    return _row(f"status reads of {plan.pages:,} open pages", clients, floor, rate, ours, STATUS_REACH)


def _row(what: str, clients: int, floor: str, floor_rate: float, ours: list[Traffic], reach: float) -> Row:
    rate = median(t.rate for t in ours)
    ratio = rate / floor_rate
    return Row(
        f"{what}, {clients} {'client' if clients == 1 else 'clients'}",
        floor,
        f"{rate:,.0f} a second, p99 {_p99(ours)}",
        f"{ratio:.2f} times",
        f"at least {reach:g} times",
        ratio >= reach,
    )


def _p99(traffics: list[Traffic]) -> str:
    return f"{1000 * median(t.p99 for t in traffics):.1f} ms"


def _body() -> bytes:
    return json.dumps({"seller_id": SELLER, "amount_fiat": AMOUNT_EUR, "currency": "EUR"}).encode()


def _commits(database: Database) -> float:
    """Durable commits a second, of one row as large as a request."""
    with Commits(database) as commits:
        began = time.perf_counter()
        for _ in range(COMMITS):
            commits.store(bytes(600))
        return COMMITS / (time.perf_counter() - began)


@contextmanager
def _empty_page() -> Iterator[int]:
    """The port of a server with nothing behind it."""
    (port,) = free_ports(1)
    child = subprocess.Popen([sys.executable, "-m", "bench.empty_page", str(port)], cwd=PROJECT)
    try:
        _wait_for(port)
        yield port
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
