"""The web server under many clients: new requests, and the checkout pages that ask how it stands."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice, repeat, starmap
from statistics import median

from admin.child import free_ports
from admin.regtest import PROJECT
from bench.callers import Traffic, UnexpectedAnswerError, callers, drive, get, post
from bench.database import Database
from bench.floor import Commits
from bench.load import Load
from bench.part import Options
from bench.processor import processor_seconds
from bench.report import Row
from bench.site import AMOUNT_EUR, SELLER, Site, fill

CREATE_REACH, STATUS_REACH, SUSTAINED_REACH = 0.5, 0.6, 0.9
SUSTAINED_CLIENTS, RETRY_SECONDS = 4, 0.005
COMMITS = 500
OLDEST = "SELECT id FROM address WHERE claimed_at IS NULL ORDER BY id LIMIT 1"
START_SECONDS = 10


@dataclass(frozen=True, slots=True)
class WebPlan:
    """How many clients at once, how many calls by them, and how many checkout pages are open.

    And for how long new requests are asked for after `pool` addresses are used up, beside how many addresses
    bitcoind makes alone.
    """

    clients: tuple[int, ...] = (1, 8, 32)
    calls: int = 1_000
    pages: int = 1_000
    runs: int = 3
    pool: int = 500
    sustained_seconds: float = 8.0
    addresses: int = 3_000


REMARKS = """\
- New requests and status reads: by clients in another process, beside a daemon that has nothing to do. Their
  floor: the same web server, WSGI framework and clients with an empty page; for new requests also durable
  commits of a row as large, one after another, where these are fewer.
- Status reads: each page has a connection of its own open, and asks with the ETag of what it shows, as the
  checkout page does; so many at once as there are clients. The empty page has as many connections.
- An empty page, then a request stored by hand: the three statements of a new request, by their driver alone
  and one after another, beside the empty page. It leaves no time for a key, a price, a check or an answer.
- Sustained: the pool of addresses is used up first, so each new request waits for the daemon's next address.
  The row after it says what each program uses of the machine's cores, and beside it what all of them together
  could have. The web server is one process, and Python runs one of its threads at a time, so of one core.
"""

LEAN = WebPlan(clients=(1, 32), runs=2, sustained_seconds=4.0, addresses=1_000)
QUICK = WebPlan(clients=(1, 2), calls=20, pages=5, runs=1, pool=10, sustained_seconds=0.5, addresses=10)


def rows(options: Options) -> Iterator[Row]:
    """Lines for new requests, and for status reads."""
    plan = options.choose(WebPlan(), LEAN, QUICK)
    with Load.start(options.directory / "node", 10) as load, _empty_page() as empty_port:
        site = Site(load, options.directory / "site", 0, 1, new_database=options.new_database)
        with site.running():
            # Only now: they are none of the wallet's, and a daemon that starts would say so.
            fill(
                site.database,
                plan.calls * plan.runs * len(plan.clients) + plan.pages + COMMITS + 100,
                is_free=True,
            )
            for clients in plan.clients:
                yield from _new_requests(plan, clients, site, empty_port)
            pages = [site.status_page() for _ in range(plan.pages)]
            for clients in plan.clients:
                yield _status_reads(plan, clients, site, empty_port, pages)
        other = options.directory / "sustained"
        yield from _sustained(plan, load, Site(load, other, 0, plan.pool, new_database=options.new_database))


def _new_requests(plan: WebPlan, clients: int, site: Site, empty_port: int) -> Iterator[Row]:
    create = new_request(site)
    empty, ours, commits = [], [], []
    for _ in range(plan.runs):
        empty.append(drive(empty_port, clients, repeat(get("/"), plan.calls)))
        ours.append(drive(site.port, clients, repeat(create, plan.calls), b"201"))
        commits.append(_commits(site.database))
    rates = {"empty pages": median(t.rate for t in empty), "commits": median(commits)}
    which = min(rates, key=lambda name: rates[name])
    floor = f"{rates[which]:,.0f} {which} a second"
    yield _row("new requests", clients, floor, rates[which], ours, CREATE_REACH)
    if clients == 1:
        both = 1 / (1 / rates["empty pages"] + 1 / _stored(site.database))
        what = "an empty page, then a request stored by hand"
        yield Row(what, f"{both:,.0f} a second", "", f"{both / rates[which]:.2f} times")


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


def _sustained(plan: WebPlan, load: Load, site: Site) -> Iterator[Row]:
    """New requests, as long as bitcoind makes addresses for them; and what each takes of the processors."""
    alone = load.new_address_rate(plan.addresses)
    with site.running():
        drive(site.port, 1, repeat(new_request(site), plan.pool), b"201")
        at_work = {"web server": site.web.pid, "daemon": site.daemon.pid, "bitcoind": load.pid}
        at_work["clients"] = os.getpid()
        before = {name: processor_seconds(pid) for name, pid in at_work.items()}
        rate = _rate_of_new_requests(site, plan.sustained_seconds)
        used = [
            (name, after - started)
            for name, pid in at_work.items()
            if (after := processor_seconds(pid)) is not None and (started := before[name]) is not None
        ]
    yield Row(
        f"new requests sustained, {SUSTAINED_CLIENTS} clients",
        f"{alone:,.0f} addresses a second by getnewaddress",
        f"{rate:,.0f} a second",
        f"{rate / alone:.2f} times",
        f"at least {SUSTAINED_REACH:g} times",
        rate / alone >= SUSTAINED_REACH,
    )
    if used:
        yield _processors_row(alone, rate * plan.sustained_seconds, dict(used))


def _processors_row(alone: float, made: float, used: dict[str, float]) -> Row:
    """Beside what the machine's cores have for each, were it as many as are to be reached."""
    available = 1000 * (os.cpu_count() or 1) / (SUSTAINED_REACH * alone)
    each = {name: 1000 * seconds / made for name, seconds in used.items()}
    parts = ", ".join(f"{name} {milliseconds:.2f}" for name, milliseconds in each.items())
    return Row(
        "processor time of each of these",
        f"{available:.2f} ms of {os.cpu_count()} cores, were it {SUSTAINED_REACH:g} times",
        f"{sum(each.values()):.2f} ms: {parts}",
        f"{sum(each.values()) / available:.2f} times",
    )


def _rate_of_new_requests(site: Site, seconds: float) -> float:
    """Made by clients who ask again where there was no address."""
    deadline = time.perf_counter() + seconds
    with ThreadPoolExecutor() as clients:
        made = [clients.submit(_ask_until, deadline, site) for _ in range(SUSTAINED_CLIENTS)]
        return sum(count.result() for count in made) / seconds


def _ask_until(deadline: float, site: Site) -> int:
    create, count = new_request(site), 0
    with callers(site.port, 1) as [caller]:
        while time.perf_counter() < deadline:
            status, body = caller.ask(create)
            count += status == b"201"
            if status == b"503":
                time.sleep(RETRY_SECONDS)
            elif status != b"201":
                raise UnexpectedAnswerError(body.decode(errors="replace"))
    return count


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


def new_request(site: Site) -> bytes:
    """A shop's call for one."""
    body = {"seller_id": SELLER, "amount_fiat": AMOUNT_EUR, "currency": "EUR"}
    return post("/api/v1/payments", site.key, json.dumps(body).encode())


def _commits(database: Database) -> float:
    """Durable commits a second, of one row as large as a request."""
    with Commits(database) as commits:
        began = time.perf_counter()
        for _ in range(COMMITS):
            commits.store(bytes(600))
        return COMMITS / (time.perf_counter() - began)


def _stored(database: Database) -> float:
    """How many requests a second somebody stores who does nothing else: an address, a row, a commit."""
    with database.connect() as connection:
        pattern = connection.execute("SELECT * FROM payment_request LIMIT 1")
        names = [column[0] for column in pattern.description]
        row = dict(zip(names, pattern.fetchone(), strict=True))
        del row["id"]
        marks = ", ".join("?" * len(row))
        insert = f"INSERT INTO payment_request ({', '.join(row)}) VALUES ({marks})"
        began = time.perf_counter()
        for number in range(COMMITS):
            connection.execute("BEGIN")
            claimed = connection.value(
                f"UPDATE address SET claimed_at = 1 WHERE id = ({OLDEST}) RETURNING id"
            )
            fresh = {"reference": f"PR-{number:022}", "address_id": claimed}
            connection.execute(insert, *(row | fresh).values())
            connection.execute("COMMIT")
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
