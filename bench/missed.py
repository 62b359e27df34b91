"""Blocks that were mined while the daemon was down: how long it takes to have read them all."""

import http.client
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from bench.floor import fetch_and_parse
from bench.load import Load
from bench.observer import Watcher
from bench.part import Options
from bench.report import Row, beside, spread
from bench.site import Site

REACH = 1.5
LOOK_SECONDS = 0.002
"""Seldom enough to take nothing from what is measured, which takes long."""

STORED = "SELECT max(height) FROM block"
COLUMNS = "height, hash, chainwork, mined_at"


@dataclass(frozen=True, slots=True)
class Missed:
    """So many blocks of so many transactions each, and the miner's."""

    blocks: int
    transactions: int = 0

    def mine(self, load: Load) -> None:
        """Mine them."""
        if not self.transactions:
            load.mine(self.blocks)
            return
        for _ in range(self.blocks):
            load.submit([load.foreign() for _ in range(self.transactions)])
            load.begin_mine()
            load.finish()

    def __str__(self) -> str:
        content = f"{self.transactions + 1} transactions" if self.transactions else "one transaction"
        return f"{self.blocks:,} missed blocks of {content}"


@dataclass(frozen=True, slots=True)
class MissedPlan:
    """What is missed, and how often."""

    missed: tuple[Missed, ...] = (Missed(1_000), Missed(300, 50), Missed(10_000))
    runs: int = 5


REMARKS = """\
- Missed blocks: a daemon that has just started reads them; from when the first of them are stored until all
  are. The floor: for the same blocks, each one's bytes by REST, and parsing them.
  bitcoind's `rescanblockchain` of its own wallet stands beside it. They are mined once; the daemon's table of
  blocks is taken back for each run.
"""

LEAN = MissedPlan(missed=(Missed(1_000),), runs=3)
QUICK = MissedPlan(missed=(Missed(600), Missed(60, 50)), runs=1)


def rows(options: Options) -> Iterator[Row]:
    """Two lines for each."""
    plan = options.choose(MissedPlan(), LEAN, QUICK)
    coin_count = max(missed.transactions for missed in plan.missed) + 10
    with Load.start(options.directory / "node", coin_count) as load:
        site = Site(load, options.directory / "site", 1_000, 1, new_database=options.new_database)
        for missed in plan.missed:
            ours, floor, rescans = [], [], []
            before = _blocks(site)
            missed.mine(load)
            hashes = load.newest(missed.blocks)
            for _ in range(plan.runs):
                _take_back(site, before)
                seconds, count = _catch_up(load, site)
                ours.append(seconds)
                floor.append(_fetch_and_parse_all(load, hashes[-count:]))
                rescans.append(load.rescan(missed.blocks))
            yield beside(str(missed), floor, ours, REACH)
            yield Row(f"{missed}, by bitcoind's rescanblockchain", spread(rescans), "", "")


def _blocks(site: Site) -> list[tuple[Any, ...]]:
    """Those that the daemon, which is down, has read."""
    with site.database.connect() as connection:
        return list(connection.execute(f"SELECT {COLUMNS} FROM block ORDER BY height").fetchall())


def _take_back(site: Site, blocks: list[tuple[Any, ...]]) -> None:
    """Have the daemon, which is down, know of these blocks only."""
    with site.database.connect() as connection:
        connection.execute("DELETE FROM block")
        connection.fill("block", COLUMNS, blocks)
        connection.execute("UPDATE daemon_report SET assessed_height = ?", blocks[-1][0])


def _catch_up(load: Load, site: Site) -> tuple[float, int]:
    """The seconds that the daemon takes from the first blocks that it stores to the last, and how many
    blocks it has read in that time."""
    height = load.height()
    with Watcher(site.database, look_seconds=LOOK_SECONDS) as watcher:
        known = watcher.value(STORED)
        with site.daemon_alone():
            began = watcher.wait_for(STORED, is_it=lambda stored: stored > known)
            begun_at = watcher.value(STORED)
            seconds = watcher.wait_for(STORED, is_it=lambda stored: stored == height) - began
    return seconds, height - begun_at


def _fetch_and_parse_all(load: Load, hashes: list[str]) -> float:
    with closing(http.client.HTTPConnection("127.0.0.1", load.node.rpc_port)) as connection:
        return sum(fetch_and_parse(connection, block_hash) for block_hash in hashes)
