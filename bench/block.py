"""Full blocks: from bitcoind's hashblock message to the committed statuses."""

import http.client
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from bench.floor import fetch_and_parse
from bench.live import PENDING, STATUS
from bench.load import Load
from bench.observer import Subscriber, Watcher
from bench.site import Request, Site

HEIGHT = (
    "SELECT min(height) FROM "
    "(SELECT max(height) AS height FROM block UNION ALL SELECT assessed_height FROM daemon_report) AS reached"
)
CONFIRMATIONS = 6
PAUSE_SECONDS = 0.5


@dataclass(slots=True)
class BlockSeconds:
    """Measured times of blocks that are alike, and their weight, BIP 141."""

    seconds: list[float] = field(default_factory=list)
    weight: int = 0


def measure_block(
    load: Load, site: Site, raws: Sequence[bytes], paid: Sequence[Request], found: BlockSeconds
) -> None:
    """Have these transactions mined, of which the last ones pay these requests, in this order."""
    with Subscriber("hashblock", load.node.zmq_hashblock) as subscriber, Watcher(site.database) as watcher:
        load.submit(raws)
        # Once the last is seen, so are the others.
        watcher.wait_for(STATUS, paid[-1].reference)
        watcher.wait_for(PENDING, is_it=lambda count: count == 0)
        time.sleep(PAUSE_SECONDS)
        height = watcher.value(HEIGHT)
        load.begin_mine()
        came = subscriber.wait_for()
        done = watcher.wait_for(HEIGHT, is_it=lambda reached: reached == height + 1)
        (block_hash,) = load.finish()
        found.seconds.append(done - came)
        found.weight = load.weight(block_hash)
        # Else a later block would confirm them.
        load.mine(CONFIRMATIONS)
        _wait_for_tip(load, watcher)
        watcher.wait_for(PENDING, is_it=lambda count: count == 0)
    time.sleep(PAUSE_SECONDS)


def measure_floor(load: Load, site: Site, raws: Sequence[bytes]) -> float:
    """Have these mined while the daemon is held still: a bare subscriber fetches the block and parses it."""
    with (
        Subscriber("hashblock", load.node.zmq_hashblock) as subscriber,
        Watcher(site.database) as watcher,
        closing(http.client.HTTPConnection("127.0.0.1", load.node.rpc_port)) as connection,
    ):
        load.submit(raws)
        time.sleep(PAUSE_SECONDS)
        connection.connect()
        with _held_still(site.daemon.pid):
            load.begin_mine()
            came, block_hash = subscriber.message()
            fetch_and_parse(connection, block_hash.hex())
            seconds = time.perf_counter() - came
            load.finish()
        _wait_for_tip(load, watcher)
    time.sleep(PAUSE_SECONDS)
    return seconds


def clear_mempool(load: Load, site: Site) -> None:
    """Mine what is there, so that the next block holds nothing else than it should."""
    load.begin_mine()
    load.finish()
    with Watcher(site.database) as watcher:
        _wait_for_tip(load, watcher)


def _wait_for_tip(load: Load, watcher: Watcher) -> None:
    height = load.height()
    watcher.wait_for(HEIGHT, is_it=lambda reached: reached == height)


@contextmanager
def _held_still(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
