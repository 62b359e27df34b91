"""Full blocks: from bitcoind's hashblock message to the committed statuses; and blocks that were missed."""

import http.client
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.database import connect, fill
from bench.load import FULL_BLOCK_WEIGHT, Load, foreign_weight
from bench.observer import Subscriber, Watcher
from bench.payments import PENDING, STATUS
from bench.process import DAEMON_MEBIBYTES, memory_rows, peak_memory, wait_until_quiet
from bench.report import Row, within
from bench.requests import open_requests
from bench.site import AMOUNT_SATS, FIRST_ADDRESS_ID, Request, Site
from payments.transaction import parse_block

FETCH_REACH, GROWTH_REACH, OPEN_REACH, MISSED_REACH = 2.0, 1.5, 1.2, 1.5
HEIGHT = (
    "SELECT min(height) FROM "
    "(SELECT max(height) AS height FROM block UNION ALL SELECT assessed_height FROM daemon_report) AS reached"
)
STORED = "SELECT max(height) FROM block"
COLUMNS = "height, hash, chainwork, mined_at"
CONFIRMATIONS = 6
PAUSE_SECONDS = 0.5
SELDOM_SECONDS = 0.002
"""Seldom enough to take nothing from the measured daemon."""

REMARKS = """\
- Block: from the hashblock message to the block and the statuses at its height, committed. One of its
  transactions is a payment to us; all of them were in the mempool before.
- Fetching and parsing: a bare subscriber fetches the block's bytes by REST when the message comes, and parses
  them. The daemon is stopped meanwhile (SIGSTOP).
- Missed blocks: full blocks that were mined while the daemon was down. From when the first of them are stored
  until all are, beside fetching the same blocks one after another and parsing each.
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """The sizes of blocks and tables, and how often each block is measured."""

    addresses: tuple[int, int] = (1_000, 1_000_000)
    open_requests: int = 100_000
    transactions: int = FULL_BLOCK_WEIGHT // foreign_weight()
    rounds: int = 2
    runs: int = 4
    missed: int = 20
    catch_ups: int = 3


QUICK = Plan((1_000, 6_000), open_requests=500, transactions=200, rounds=1, runs=1, missed=14, catch_ups=1)


def rows(directory: Path, *, is_quick: bool) -> Iterator[Row]:
    """Yield the rows of full blocks, of blocks beside open requests, and of missed blocks."""
    plan = QUICK if is_quick else Plan()
    few, many = plan.addresses
    with closing(Load.start(directory / "node", plan.transactions)) as load:
        sites = [
            Site(load, directory / name, count, plan.runs)
            for name, count in (("few", few), ("many", many), ("open", many))
        ]
        open_requests(sites[-1].database, range(FIRST_ADDRESS_ID, FIRST_ADDRESS_ID + plan.open_requests))
        found: list[list[float]] = [[] for _ in sites]
        fetched: list[float] = []
        memory: list[float | None] = []
        for number in range(plan.rounds):
            print(f"round {number + 1} of {plan.rounds}", flush=True)
            for site, seconds in zip(sites, found, strict=True):
                memory.append(_measure_round(plan, load, site, seconds, fetched))
        yield from _block_rows(plan, found, fetched)
        yield from memory_rows("daemon's memory after these blocks", memory, DAEMON_MEBIBYTES)
        yield _missed_row(plan, load, sites[0])


def _block_rows(plan: Plan, found: list[list[float]], fetched: list[float]) -> Iterator[Row]:
    few, many, beside_open = found
    what, whose = f"block of {plan.transactions + 1:,} transactions", "fetching and parsing it"
    for count, seconds in zip(plan.addresses, (few, many), strict=True):
        yield within(f"{what}, {count:,} addresses", fetched, whose, seconds, FETCH_REACH)
    fewest, most = (f"{count:,} addresses" for count in plan.addresses)
    yield within(f"{what}, {most}, growth", few, f"with {fewest}", many, GROWTH_REACH)
    beside = f"beside {plan.open_requests:,} open requests"
    yield within(f"{what}, {beside}", many, "beside none", beside_open, OPEN_REACH)


def _measure_round(
    plan: Plan, load: Load, site: Site, seconds: list[float], fetched: list[float]
) -> float | None:
    """Measure blocks in turns, and return the daemon's memory after them in MiB."""
    with site.running() as daemon:
        # The next block must have no other transactions.
        load.begin_mine()
        load.finish()
        wait_for_tip(load, site)
        wait_until_quiet(daemon.pid)
        for request in site.requests(plan.runs):
            fetched.append(_measure_fetching(load, site, _raws(plan, load)))
            seconds.append(_measure_block(load, site, _raws(plan, load, request), request))
        return peak_memory(daemon.pid)


def _raws(plan: Plan, load: Load, *paid: Request) -> list[bytes]:
    foreign = [load.foreign() for _ in range(plan.transactions - len(paid))]
    return foreign + [load.payment(request.script, AMOUNT_SATS) for request in paid]


def _measure_block(load: Load, site: Site, raws: Sequence[bytes], paid: Request) -> float:
    """Mine these transactions, of which the last pays the request."""
    with (
        closing(Subscriber("hashblock", load.node.zmq_hashblock)) as subscriber,
        closing(Watcher(site.database)) as watcher,
    ):
        load.submit(raws)
        # The daemon sees the last transaction after all the others.
        watcher.wait_for(STATUS, paid.reference)
        watcher.wait_for(PENDING, is_it=lambda count: count == 0)
        time.sleep(PAUSE_SECONDS)
        height = watcher.value(HEIGHT)
        load.begin_mine()
        came, _ = subscriber.message()
        done = watcher.wait_for(HEIGHT, is_it=lambda reached: reached == height + 1)
        load.finish()
        # Otherwise a later block would confirm the payment.
        load.mine(CONFIRMATIONS)
        wait_for_tip(load, site)
        watcher.wait_for(PENDING, is_it=lambda count: count == 0)
    time.sleep(PAUSE_SECONDS)
    return done - came


def _measure_fetching(load: Load, site: Site, raws: Sequence[bytes]) -> float:
    with (
        closing(Subscriber("hashblock", load.node.zmq_hashblock)) as subscriber,
        closing(http.client.HTTPConnection("127.0.0.1", load.node.rpc_port)) as connection,
    ):
        load.submit(raws)
        time.sleep(PAUSE_SECONDS)
        connection.connect()
        with stopped(site.daemon.pid):
            load.begin_mine()
            came, block_hash = subscriber.message()
            _fetch_and_parse(connection, block_hash.hex())
            seconds = time.perf_counter() - came
            load.finish()
    wait_for_tip(load, site)
    time.sleep(PAUSE_SECONDS)
    return seconds


def _fetch_and_parse(connection: http.client.HTTPConnection, block_hash: str) -> None:
    connection.request("GET", f"/rest/block/{block_hash}.bin")
    block = parse_block(connection.getresponse().read())
    assert block.hash == block_hash


def _missed_row(plan: Plan, load: Load, site: Site) -> Row:
    ours, fetched = [], []
    with site.daemon:
        wait_for_tip(load, site)
    with closing(connect(site.database)) as connection:
        before = connection.execute(f"SELECT {COLUMNS} FROM block ORDER BY height").fetchall()
    for _ in range(plan.missed):
        load.submit(_raws(plan, load))
        load.begin_mine()
        load.finish()
    hashes = load.newest(plan.missed)
    for _ in range(plan.catch_ups):
        _forget_later_blocks(site, before)
        seconds, count = _catch_up(load, site)
        ours.append(seconds)
        with closing(http.client.HTTPConnection("127.0.0.1", load.node.rpc_port)) as connection:
            began = time.perf_counter()
            for block_hash in hashes[-count:]:
                _fetch_and_parse(connection, block_hash)
            fetched.append(time.perf_counter() - began)
    what = f"{plan.missed} missed blocks of {plan.transactions + 1:,} transactions"
    return within(what, fetched, "fetching and parsing each", ours, MISSED_REACH)


def _forget_later_blocks(site: Site, blocks: list[tuple[Any, ...]]) -> None:
    """Leave only these blocks in the table of the daemon, which is down."""
    with closing(connect(site.database)) as connection:
        connection.execute("DELETE FROM block")
        fill(connection, "block", COLUMNS, blocks)
        connection.execute("UPDATE daemon_report SET assessed_height = ?", (blocks[-1][0],))


def _catch_up(load: Load, site: Site) -> tuple[float, int]:
    """Return the seconds from the first stored blocks to the last, and the number of blocks in that time."""
    height = load.height()
    with closing(Watcher(site.database, look_seconds=SELDOM_SECONDS)) as watcher:
        known = watcher.value(STORED)
        with site.daemon:
            began = watcher.wait_for(STORED, is_it=lambda stored: stored > known)
            begun_at = watcher.value(STORED)
            seconds = watcher.wait_for(STORED, is_it=lambda stored: stored == height) - began
    return seconds, height - begun_at


def wait_for_tip(load: Load, site: Site) -> None:
    """Wait until the statuses at the node's tip are committed."""
    height = load.height()
    with closing(Watcher(site.database)) as watcher:
        watcher.wait_for(HEIGHT, is_it=lambda reached: reached == height)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Stop a process meanwhile (SIGSTOP)."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
