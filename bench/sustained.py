"""New requests for as long as bitcoind makes addresses for them, by one web server and by two."""

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle, islice, repeat
from statistics import mean

from bench.by_hand import ByHand
from bench.callers import UnexpectedAnswerError, callers, drive, get
from bench.load import Load
from bench.part import Options
from bench.processor import processor_seconds
from bench.report import Row
from bench.site import Site
from bench.web import create_body, empty_page, new_request

REACH = 0.9
RETRY_SECONDS = 0.005
FREE = "SELECT count(*) FROM address WHERE claimed_at IS NULL AND held_at IS NULL"

REMARKS = """\
- Sustained: as many requests first as the pool has addresses, so that each further one needs an address which
  the daemon asks bitcoind for meanwhile; many times the pool are made. What bitcoind makes alone, one address
  after another, is the mean of before and after that. The row after it is what each program
  uses of the machine's cores, and beside it what all of them together could have. The web server is one
  process, and Python runs one of its threads at a time, so of one core. Then the same, were the web server no
  more than an empty page and a request made by hand, as beside new requests.
  Two web servers are two processes on one database, with half of the clients each, and each on another core;
  bitcoind, the daemon and the clients are on these cores too.
"""


@dataclass(frozen=True, slots=True)
class SustainedPlan:
    """By how many clients and for how long new requests are asked for, after `pool` addresses are used up;
    beside how many addresses that bitcoind makes alone."""

    clients: int = 32
    seconds: float = 8.0
    pool: int = 500
    addresses: int = 3_000


LEAN = SustainedPlan(seconds=4.0, addresses=1_000)
QUICK = SustainedPlan(clients=2, seconds=0.5, pool=10, addresses=10)


@dataclass(frozen=True, slots=True)
class Rates:
    """A second: requests by one web server and by two, addresses by `getnewaddress` alone. `used` are the
    seconds that each program computed meanwhile, `least` the milliseconds that a web server which does the
    least computes for one request."""

    alone: float
    one: float
    two: float
    used: list[tuple[str, float]]
    least: float | None


def rows(options: Options) -> Iterator[Row]:
    """Lines for one web server, for what each program takes then, and for two web servers."""
    plan = options.choose(SustainedPlan(), LEAN, QUICK)
    found = _measure(plan, options)
    what, ratio = f"new requests sustained, {plan.clients} clients", found.one / found.alone
    yield Row(
        what,
        f"{found.alone:,.0f} addresses a second by getnewaddress",
        f"{found.one:,.0f} a second",
        f"{ratio:.2f} times",
        f"at least {REACH:g} times",
        ratio >= REACH,
    )
    each = {name: 1000 * seconds / (found.one * plan.seconds) for name, seconds in found.used}
    if each:
        yield _processors_row("processor time of each of these", found.alone, each)
    if each and found.least is not None:
        least = {**each, "web server": found.least}
        yield _processors_row("the same with a web server that does the least", found.alone, least)
    one, two = f"{found.one:,.0f} a second by one web server", f"{found.two:,.0f} a second"
    yield Row(f"{what}, by two web servers", one, two, f"{found.two / found.one:.2f} times")


def _measure(plan: SustainedPlan, options: Options) -> Rates:
    with Load.start(options.directory / "node", 10) as load:
        site = Site(load, options.directory / "site", 0, plan.pool, new_database=options.new_database)
        alone = [load.new_address_rate(plan.addresses)]
        with site.running():
            drive(site.port, 1, repeat(new_request(site), plan.pool), b"201")
            at_work = {"web server": site.web.pid, "daemon": site.daemon.pid, "bitcoind": load.pid}
            at_work["clients"] = os.getpid()
            before = {name: processor_seconds(pid) for name, pid in at_work.items()}
            one = _rate(plan, site, [site.port])
            after = {name: processor_seconds(pid) for name, pid in at_work.items()}
            with site.second_web_server() as second_port:
                two = _rate(plan, site, [site.port, second_port])
            least = _least(plan, site)
        alone.append(load.new_address_rate(plan.addresses))
    used = [
        (name, end - start)
        for name, start in before.items()
        if start is not None and (end := after[name]) is not None
    ]
    return Rates(mean(alone), one, two, used, least)


def _processors_row(what: str, alone: float, each: dict[str, float]) -> Row:
    """Milliseconds beside what the machine's cores have for each, were it as many as are to be reached."""
    available = 1000 * (os.cpu_count() or 1) / (REACH * alone)
    parts = ", ".join(f"{name} {milliseconds:.2f}" for name, milliseconds in each.items())
    return Row(
        what,
        f"{available:.2f} ms of {os.cpu_count()} cores, were it {REACH:g} times",
        f"{sum(each.values()):.2f} ms: {parts}",
        f"{sum(each.values()) / available:.2f} times",
    )


def _least(plan: SustainedPlan, site: Site) -> float | None:
    """Milliseconds of the processor for an empty page, and for a request made by hand."""
    with empty_page() as page, site.database.connect() as connection:
        before = processor_seconds(page.pid)
        drive(page.port, plan.clients, repeat(get("/"), plan.addresses))
        after = processor_seconds(page.pid)
        # The daemon fills up the pool that has just been used up.
        while connection.value(FREE) < plan.pool:
            time.sleep(RETRY_SECONDS)
        by_hand = ByHand(connection, site.key, create_body())
        by_hand.make(plan.pool, plan.clients)
    if before is None or after is None:
        return None
    return 1000 * ((after - before) / plan.addresses + sum(by_hand.spent.values()) / plan.pool)


def _rate(plan: SustainedPlan, site: Site, ports: Sequence[int]) -> float:
    """New requests a second, by clients who ask again where there was no address."""
    create, deadline = new_request(site), time.perf_counter() + plan.seconds
    with ThreadPoolExecutor(plan.clients) as clients:
        made = [
            clients.submit(_ask_until, deadline, port, create) for port in islice(cycle(ports), plan.clients)
        ]
        return sum(count.result() for count in made) / plan.seconds


def _ask_until(deadline: float, port: int, create: bytes) -> int:
    count = 0
    with callers(port, 1) as [caller]:
        while time.perf_counter() < deadline:
            status, body = caller.ask(create)
            count += status == b"201"
            if status == b"503":
                time.sleep(RETRY_SECONDS)
            elif status != b"201":
                raise UnexpectedAnswerError(body.decode(errors="replace"))
    return count
