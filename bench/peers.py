"""Nodetill beside others that watch for payments: a backlog of foreign transactions, and a full block."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from statistics import median

from bench.load import FULL_BLOCK_WEIGHT, Load, foreign_weight
from bench.observer import Subscriber
from bench.part import Options
from bench.report import Row
from bench.site import Site
from bench.watching import WARM_UPS, Nodetill, Script, Watching, bitcoinwatcher, program

FASTER_REACH, SEEN_REACH_SECONDS = 100, 0.2
SPARE = WARM_UPS + 10


@dataclass(frozen=True, slots=True)
class PeersPlan:
    """Transactions of a block, and of each backlog: Nodetill's and the floor's, a decoder's, the package's;
    and how often."""

    block: int = FULL_BLOCK_WEIGHT // foreign_weight() - SPARE
    backlogs: tuple[int, int, int] = (5_000, 2_000, 500)
    rounds: tuple[int, int, int] = (5, 3, 1)


REMARKS = """\
- Backlog: the program is stopped (SIGSTOP) while the transactions go into the mempool, a payment last; from
  SIGCONT until it has seen the payment. Nodetill has seen it when the status is committed, the others when
  they have written its txid. Each has its own number of transactions, so that none takes minutes. The floor
  is a program that takes each message and looks for its script's bytes in it, no more (bench/watch_bare.py).
- A payment right after a full block: sent as soon as bitcoind has answered that it has mined the block; from
  then until it is seen. bitcoind publishes all of the block's transactions before it.
- `bitcoinwatcher` 2.18 runs as its simple_address_listener.py does, its log going nowhere; this bitcoind has
  no -txindex, so its question for the spent outputs fails, and it does without. The other watcher is
  bench/watch_by_decoding.py.
"""

QUICK = PeersPlan(block=60, backlogs=(50, 20, 10), rounds=(1, 1, 1))


@dataclass(slots=True)
class Figures:
    """What was measured of one program."""

    name: str
    backlog: int
    rounds: int
    rates: list[float] = field(default_factory=list)
    seen: list[float] = field(default_factory=list)
    block: int = 0


def rows(options: Options) -> Iterator[Row]:
    """Two lines for Nodetill, two for each peer."""
    plan = QUICK if options.is_quick else PeersPlan()
    package = bitcoinwatcher()
    ours, floor = (Figures(name, plan.backlogs[0], plan.rounds[0]) for name in ("Nodetill", "floor"))
    peers = map(Figures, ("decoderawtransaction", "bitcoinwatcher"), plan.backlogs[1:], plan.rounds[1:])
    with Load.start(options.directory / "node", plan.block + SPARE) as load:
        start = partial(Script.running, load, directory=options.directory)
        site = Site(load, options.directory / "site", 1_000, 2 * ours.rounds)
        _measure(load, plan.block, lambda: Nodetill.running(load, site, 2), ours)
        _measure(load, plan.block, partial(start, program("watch_bare")), floor)
        yield from _our_rows(ours, floor)
        for peer, command in zip(peers, (program("watch_by_decoding"), package), strict=True):
            _measure(load, plan.block, partial(start, command), peer)
            yield from _peer_rows(peer, ours, floor)


def _measure(
    load: Load, block: int, start: Callable[[], AbstractContextManager[Watching]], found: Figures
) -> None:
    """Each round: fill the mempool up to `block` transactions, the last a backlog; mine them, and pay."""
    for _ in range(found.rounds):
        load.submit([load.foreign() for _ in range(block - found.backlog - 1)])
        with start() as watching:
            found.rates.append(found.backlog / _work_off(load, watching, found.backlog))
            load.begin_mine()
            (block_hash,) = load.finish()
            payment = watching.payment()
            began = time.perf_counter()
            load.submit([payment])
            found.seen.append(watching.wait_seen() - began)
        found.block = load.size(block_hash)
        load.mine(1)


def _work_off(load: Load, watching: Watching, count: int) -> float:
    """The seconds that it takes over a backlog of so many foreign transactions, with a payment at its end."""
    raws = [load.foreign() for _ in range(count)]
    payment = watching.payment()
    with Subscriber("rawtx", load.node.zmq_rawtx) as subscriber:
        os.kill(watching.pid, signal.SIGSTOP)
        try:
            load.submit([*raws, payment])
            subscriber.wait_for(payment)
        finally:
            began = time.perf_counter()
            os.kill(watching.pid, signal.SIGCONT)
    return watching.wait_seen() - began


def _our_rows(ours: Figures, floor: Figures) -> Iterator[Row]:
    share = median(ours.rates) / median(floor.rates)
    yield Row(
        f"a backlog of {ours.backlog:,} foreign transactions",
        _rate(floor.rates),
        _rate(ours.rates),
        f"{share:.2f} times",
    )
    seconds = median(ours.seen)
    yield Row(
        f"a payment right after a block of {ours.block:,}",
        _seconds(floor.seen),
        _seconds(ours.seen),
        "",
        f"seen within {SEEN_REACH_SECONDS:g} s",
        seconds <= SEEN_REACH_SECONDS,
    )


def _peer_rows(peer: Figures, ours: Figures, floor: Figures) -> Iterator[Row]:
    faster, most = (median(figures.rates) / median(peer.rates) for figures in (ours, floor))
    yield Row(
        f"beside {peer.name}, with a backlog of {peer.backlog:,}",
        f"{_rate(peer.rates)}; the floor is {most:,.0f} times faster",
        _rate(ours.rates),
        f"{faster:,.0f} times faster",
        f"{FASTER_REACH} times faster",
        faster >= FASTER_REACH,
    )
    yield Row(
        f"beside {peer.name}, a payment right after a block of {peer.block:,}",
        _seconds(peer.seen),
        _seconds(ours.seen),
        f"{median(peer.seen) / median(ours.seen):,.0f} times faster",
    )


def _rate(rates: list[float]) -> str:
    least, most = min(rates), max(rates)
    spread = f" ({least:,.0f} – {most:,.0f})" if len(rates) > 1 else ""
    return f"{median(rates):,.0f} a second{spread}"


def _seconds(seconds: list[float]) -> str:
    spread = f" ({min(seconds):.3f} – {max(seconds):.3f})" if len(seconds) > 1 else ""
    return f"{median(seconds):.3f} s{spread}"
