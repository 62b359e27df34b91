"""The web server on one core under many clients: status reads of checkout pages, and new requests."""

import json
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import cycle, islice, repeat, starmap
from pathlib import Path
from statistics import median

from bench.callers import Traffic, drive, get, post
from bench.load import Load
from bench.process import WEB_MEBIBYTES, memory_rows, peak_memory
from bench.report import Row
from bench.site import AMOUNT_EUR, SELLER, Site, fill_addresses

STATUS_REACH, CREATE_REACH = 1_000, 300
SPARE = 100

REMARKS = """\
- Status reads and new requests: by clients in another process, while the web server has one core. The daemon
  is down, because it would hold the made-up addresses, which the wallet does not know.
- Status reads: each page has a connection of its own open, and sends the ETag of what it shows, as the
  checkout page does. The number of calls at one time is the number of clients.
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """The number of clients, of calls in each run, of open checkout pages, and of runs."""

    clients: int = 32
    reads: int = 4_000
    creations: int = 1_000
    pages: int = 1_000
    runs: int = 5


QUICK = Plan(clients=2, reads=20, creations=20, pages=5, runs=1)


def rows(directory: Path, *, is_quick: bool) -> Iterator[Row]:
    """Yield the rows of status reads, of new requests, and of the web server's memory."""
    plan = QUICK if is_quick else Plan()
    reads, creations = list[Traffic](), list[Traffic]()
    with closing(Load.start(directory / "node", 10)) as load:
        site = Site(load, directory / "site", 0, 1)
        with _on_one_core(site):
            site.daemon.stop()
            count = plan.pages + plan.creations * plan.runs + SPARE
            fill_addresses(site.database, count, is_free=True)
            pages = [site.status_page() for _ in range(plan.pages)]
            body = json.dumps({"seller_id": SELLER, "amount_fiat": AMOUNT_EUR, "currency": "EUR"}).encode()
            create = post("/api/v1/payments", site.key, body)
            for _ in range(plan.runs):
                status = starmap(get, islice(cycle(pages), plan.reads))
                reads.append(drive(site.port, plan.clients, status, b"304", plan.pages))
                new = repeat(create, plan.creations)
                creations.append(drive(site.port, plan.clients, new, b"201", plan.clients))
            memory = peak_memory(site.web.pid)
    clients = f"{plan.clients} clients"
    yield _row(f"status reads of {plan.pages:,} open pages, {clients}, one core", reads, STATUS_REACH)
    yield _row(f"new requests, {clients}, one core", creations, CREATE_REACH)
    yield from memory_rows("web server's memory after these calls", [memory], WEB_MEBIBYTES)


def _row(what: str, measured: list[Traffic], reach: int) -> Row:
    rate, p99 = median(traffic.rate for traffic in measured), median(traffic.p99 for traffic in measured)
    ours = f"{rate:,.0f} a second, p99 {1000 * p99:.1f} ms"
    return Row(what, "", ours, "", f"{reach:,} a second", rate >= reach)


@contextmanager
def _on_one_core(site: Site) -> Iterator[None]:
    """Run the site on one core, and this thread with its clients on the others, where there are several."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    first = set(sorted(cores)[:1])
    try:
        _use(first)
        with site.running():
            _use(cores - first or cores)
            yield
    finally:
        _use(cores)


def _use(cores: set[int]) -> None:
    if cores:
        os.sched_setaffinity(0, cores)
