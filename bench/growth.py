"""Start and memory with tables as large as they get, beside an installation with none."""

import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import cycle, islice, repeat, starmap
from operator import eq
from statistics import median
from typing import Any

from bench.block import HEIGHT
from bench.callers import drive, get
from bench.database import Database
from bench.live import STATUS
from bench.load import FULL_BLOCK_WEIGHT, Load, foreign_weight
from bench.memory import REACH_MEBIBYTES, memory_of
from bench.observer import Watcher
from bench.part import Options
from bench.processor import wait_until_quiet
from bench.report import Row, spread
from bench.requests import confirmed, expired, fill_requests, request_row
from bench.site import AMOUNT_SATS, Site, filled
from bench.web import new_request
from regtest.node import PROJECT
from regtest.process import READY_SECONDS, Process

START_REACH = 1.2
FIRST_ADDRESS = 1_000

REMARKS = """\
- Start: from the process's start until it tells systemd that it is ready (READY=1), with the tables in the
  system's cache. Of the requests one in a thousand is open, a third expired; the others are
  confirmed, and each has its output. The filter before the address table is read after the start.
- Memory: its floor is a Python that has imported the same modules and does nothing. Idle is once the filter
  is read; load is two full blocks with payments, new requests and status reads by 32 clients at once. All of
  it has `rich` in it, which structlog loads where it is installed: it is needed by the tests' packages alone.
"""


@dataclass(frozen=True, slots=True)
class GrowthPlan:
    """How large the tables are, how many starts are measured, and how much load there is."""

    addresses: int = 10_000_000
    requests: int = 1_000_000
    starts: int = 5
    payments: int = 50
    foreign: int = FULL_BLOCK_WEIGHT // foreign_weight() - payments
    calls: int = 500
    clients: int = 32


LEAN = GrowthPlan(addresses=1_000_000, requests=500_000)
QUICK = GrowthPlan(addresses=8_000, requests=1_000, starts=1, payments=2, foreign=20, calls=4, clients=2)


def rows(options: Options) -> Iterator[Row]:
    """Lines for the starts, and for memory."""
    plan = options.choose(GrowthPlan(), LEAN, QUICK)
    with Load.start(options.directory / "node", plan.foreign + 2 * plan.payments) as load:
        few = Site(load, options.directory / "few", 0, 1, new_database=options.new_database)
        many = _grown(plan, load, options)
        yield from _start_rows(plan, few, many)
        yield from _memory_rows(plan, load, many)
    if not options.is_lean:
        yield from map(_development_row, ("run_daemon", "run_web"))


def _grown(plan: GrowthPlan, load: Load, options: Options) -> Site:
    database = filled(options, plan.addresses)
    requests = 2 * plan.payments + 2 * plan.calls
    site = Site(
        load, options.directory / "many", plan.addresses, requests, new_database=lambda _directory: database
    )
    past_requests(database, plan.requests)
    return site


def _start_rows(plan: GrowthPlan, few: Site, many: Site) -> Iterator[Row]:
    seconds: dict[str, tuple[list[float], list[float]]] = {}
    for _ in range(plan.starts):
        for number, site in enumerate((few, many)):
            for process in (site.daemon, site.web):
                seconds.setdefault(process.name, ([], []))[number].append(_start(process))
    for name, (floor, ours) in seconds.items():
        ratio = median(ours) / median(floor)
        yield Row(
            f"{name}'s start, {plan.addresses:,} addresses and {plan.requests:,} requests",
            f"{spread(floor)}, with none",
            spread(ours),
            f"{ratio:.2f} times",
            f"within {START_REACH:g} times",
            ratio <= START_REACH,
        )


def _start(process: Process) -> float:
    """The seconds until it says that it is ready: sd_notify(3)."""
    with (
        # The name of a socket may have 108 letters.
        tempfile.TemporaryDirectory() as place,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify,
    ):
        path = f"{place}/notify"
        notify.bind(path)
        notify.settimeout(READY_SECONDS)
        environ = process.environ | {"NOTIFY_SOCKET": path}
        again = Process(f"{process.name}.py", environ, process.directory)
        began = time.perf_counter()
        with again:
            while b"READY=1" not in notify.recv(4096):
                pass
            return time.perf_counter() - began


def _memory_rows(plan: GrowthPlan, load: Load, site: Site) -> Iterator[Row]:
    processes = (site.daemon, site.web)
    with site.running() as daemon:
        if memory_of(daemon.pid) is None:
            return
        wait_until_quiet(daemon.pid)
        for process in processes:
            yield _memory_row(plan, process, "idle")
        _work(plan, load, site)
        for process in processes:
            yield _memory_row(plan, process, "after load")


def _work(plan: GrowthPlan, load: Load, site: Site) -> None:
    for _ in range(2):
        requests = site.requests(plan.payments)
        raws = [load.foreign() for _ in range(plan.foreign)]
        load.submit(raws + [load.payment(request.script, AMOUNT_SATS) for request in requests])
        with Watcher(site.database) as watcher:
            watcher.wait_for(STATUS, requests[-1].reference)
            load.begin_mine()
            load.finish()
            watcher.wait_for(HEIGHT, is_it=partial(eq, load.height()))
    drive(site.port, plan.clients, repeat(new_request(site), plan.calls), b"201")
    pages = [site.status_page() for _ in range(plan.calls)]
    drive(site.port, plan.clients, starmap(get, islice(cycle(pages), 4 * plan.calls)), b"304")


def _memory_row(plan: GrowthPlan, process: Process, when: str) -> Row:
    memory = memory_of(process.pid)
    assert memory is not None
    return Row(
        f"{process.name}'s memory {when}, {plan.addresses:,} addresses and {plan.requests:,} requests",
        f"{_imports(process.name):.1f} MiB to import",
        f"{memory.resident:.1f} MiB, at most {memory.peak:.1f}",
        "",
        f"below {REACH_MEBIBYTES} MiB",
        memory.peak < REACH_MEBIBYTES,
    )


def _development_row(module: str) -> Row:
    """structlog loads rich where it is installed; of ours only the tests' packages need it."""
    bare = _imports(module, "import sys; sys.modules['rich'] = None; ")
    return Row(
        f"{module}'s imports without rich", f"{_imports(module):.1f} MiB with it", f"{bare:.1f} MiB", ""
    )


def _imports(module: str, before: str = "") -> float:
    """What a Python takes that has imported this module, in MiB."""
    told = "from bench.memory import memory_of; print(memory_of(os.getpid()).resident)"
    script = f"{before}import os, {module}; {told}"
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, check=True)
    return float(done.stdout)


def past_requests(database: Database, count: int) -> None:
    """Requests of the last two years, at addresses of nobody: one in a thousand is open, a third expired."""
    now = datetime.now(UTC)
    with database.connect() as connection:
        connection.execute("BEGIN")
        fill_requests(connection, (_past_request(number, count, now) for number in range(count)))
        connection.execute(
            "INSERT INTO output (address_id, txid, vout, amount_sats, first_seen_at, present_since, state, "
            "block_hash, block_height) "
            "SELECT address_id, txid, 0, amount_sats, created_at, created_at, 'mined', txid, 1 "
            "FROM payment_request WHERE status = 'confirmed'"
        )
        connection.execute("COMMIT")
        connection.settle()


def _past_request(number: int, count: int, now: datetime) -> dict[str, Any]:
    if number % 1000 == 0:
        return request_row(number, FIRST_ADDRESS + number, now)
    age = timedelta(days=730) * (count - number) / count + timedelta(days=8)
    row = request_row(number, FIRST_ADDRESS + number, now - age)
    return expired(row) if number % 3 == 0 else confirmed(row, secrets.token_hex(32))
