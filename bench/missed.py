"""Blocks that were mined while the daemon was down: how long it takes to have read them all."""

import http.client
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from statistics import median

from bench.block import HEIGHT
from bench.floor import fetch_and_parse
from bench.load import Load
from bench.observer import Watcher
from bench.part import Options
from bench.report import Row, spread
from bench.site import Site

REACH = 1.5
STARTS = 3


@dataclass(frozen=True, slots=True)
class MissedPlan:
    """How many blocks are missed, and how often."""

    counts: tuple[int, ...] = (1_000, 10_000)
    runs: int = 3


REMARKS = """\
- Missed blocks: from the daemon's start until they are read, less the time that a start with nothing missed
  takes. Their floor: each block's bytes by REST, and parsing them. bitcoind's `rescanblockchain` of its own
  wallet stands beside it.
"""

LEAN = MissedPlan(counts=(1_000,), runs=2)
QUICK = MissedPlan(counts=(20,), runs=1)


def rows(options: Options) -> Iterator[Row]:
    """A line for each number of blocks."""
    plan = options.choose(MissedPlan(), LEAN, QUICK)
    with Load.start(options.directory / "node", 10) as load:
        site = Site(load, options.directory / "site", 1_000, 1, new_database=options.new_database)
        for count in plan.counts:
            starts, caught_up, floor, rescans = [], [], [], []
            for _ in range(plan.runs):
                starts.append(_start(load, site))
                load.mine(count)
                caught_up.append(_start(load, site))
                hashes = load.newest(count)
                floor.append(_fetch_and_parse_all(load, hashes))
                rescans.append(load.rescan(count))
            # What every start takes is not the blocks' doing.
            ours = [seconds - median(starts) for seconds in caught_up]
            yield _row(f"{count:,} missed blocks of one transaction", floor, ours)
            yield Row(f"the same by bitcoind's rescanblockchain, {count:,} blocks", spread(rescans), "", "")


def _start(load: Load, site: Site) -> float:
    """The seconds that the daemon takes from its start until it has read the node's whole chain."""
    height = load.height()
    with Watcher(site.database) as watcher:
        began = time.perf_counter()
        with site.daemon_alone():
            return watcher.wait_for(HEIGHT, is_it=lambda reached: reached == height) - began


def _fetch_and_parse_all(load: Load, hashes: list[str]) -> float:
    with closing(http.client.HTTPConnection("127.0.0.1", load.node.rpc_port)) as connection:
        return sum(fetch_and_parse(connection, block_hash) for block_hash in hashes)


def _row(what: str, floor: list[float], ours: list[float]) -> Row:
    ratio = median(ours) / median(floor)
    return Row(
        what, spread(floor), spread(ours), f"{ratio:.2f} times", f"within {REACH:g} times", ratio <= REACH
    )
