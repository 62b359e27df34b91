"""Full blocks: from bitcoind's hashblock message to the committed statuses."""

import http.client
import time
from contextlib import closing
from dataclasses import dataclass, field
from statistics import median

from bench.floor import fetch_and_parse
from bench.live import PENDING, STATUS
from bench.load import Load
from bench.observer import Subscriber, Watcher
from bench.site import AMOUNT_SATS, Request, Site

HEIGHT = (
    "SELECT min(height) FROM "
    "(SELECT max(height) AS height FROM block UNION ALL SELECT assessed_height FROM daemon_report) AS reached"
)
FLOOR_RUNS = 5
PAUSE_SECONDS = 0.5


@dataclass(slots=True)
class BlockSeconds:
    """Measured times; the floor is to fetch the block's bytes and to parse them. Weights as in BIP 141."""

    ours: list[float] = field(default_factory=list)
    floor: list[float] = field(default_factory=list)
    weights: list[int] = field(default_factory=list)


def measure_block(
    load: Load, site: Site, requests: list[Request], foreign_count: int, seconds: BlockSeconds
) -> None:
    """Fill the mempool with foreign transactions and, last of all, these payments; mine them."""
    with Subscriber("hashblock", load.node.zmq_hashblock) as subscriber, Watcher(site.database) as watcher:
        raws = [load.foreign() for _ in range(foreign_count)]
        load.submit(raws + [load.payment(request.script, AMOUNT_SATS) for request in requests])
        # Once the last is seen, so are the others.
        watcher.wait_for(STATUS, requests[-1].reference)
        watcher.wait_for(PENDING, is_it=lambda count: count == 0)
        time.sleep(PAUSE_SECONDS)
        height = watcher.value(HEIGHT)
        load.begin_mine()
        came = subscriber.wait_for()
        done = watcher.wait_for(HEIGHT, is_it=lambda reached: reached == height + 1)
        (block_hash,) = load.finish()
    time.sleep(PAUSE_SECONDS)
    seconds.ours.append(done - came)
    seconds.weights.append(load.weight(block_hash))
    seconds.floor.append(_floor(load, block_hash))


def clear_mempool(load: Load, site: Site) -> None:
    """Mine what is there, so that the next block holds nothing else than it should."""
    with Watcher(site.database) as watcher:
        height = watcher.value(HEIGHT)
        load.begin_mine()
        watcher.wait_for(HEIGHT, is_it=lambda reached: reached == height + 1)
        load.finish()


def _floor(load: Load, block_hash: str) -> float:
    with closing(http.client.HTTPConnection("127.0.0.1", load.node.rpc_port)) as connection:
        return median(fetch_and_parse(connection, block_hash) for _ in range(FLOOR_RUNS))
