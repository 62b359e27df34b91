"""Full blocks: from bitcoind's hashblock message to the committed statuses."""

import http.client
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from bench.floor import fetch_and_parse, fetched
from bench.live import PENDING, STATUS
from bench.load import Load
from bench.observer import Subscriber, Watcher
from bench.processor import first_thread_seconds
from bench.site import Request, Site
from payments.transaction import parse_transaction

HEIGHT = (
    "SELECT min(height) FROM "
    "(SELECT max(height) AS height FROM block UNION ALL SELECT assessed_height FROM daemon_report) AS reached"
)
CONFIRMATIONS = 6
PAUSE_SECONDS = 0.5
FEED_SECONDS = 0.001


@dataclass(slots=True)
class BlockSeconds:
    """Measured times of blocks that are alike, and their weight, BIP 141; in `computed`, what of each time
    the daemon's loop was computing, where Linux says so."""

    seconds: list[float] = field(default_factory=list)
    computed: list[float] = field(default_factory=list)
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
        before = first_thread_seconds(site.daemon.pid)
        done = watcher.wait_for(HEIGHT, is_it=lambda reached: reached == height + 1)
        after = first_thread_seconds(site.daemon.pid)
        (block_hash,) = load.finish()
        found.seconds.append(done - came)
        if before is not None and after is not None:
            found.computed.append(after - before)
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


def measure_look(load: Load, site: Site, raws: Sequence[bytes]) -> float:
    """The same by a bare subscriber to both topics, as the daemon is one, which parses what the feed brings;
    at the word of a block it fetches and parses that, and looks each output's script up in a set."""
    with (
        Subscriber("rawtx", load.node.zmq_rawtx) as feed,
        Subscriber("hashblock", load.node.zmq_hashblock) as tips,
        Watcher(site.database) as watcher,
        closing(http.client.HTTPConnection("127.0.0.1", load.node.rpc_port)) as connection,
    ):
        known = _scripts(site)
        load.submit(raws)
        time.sleep(PAUSE_SECONDS)
        connection.connect()
        with _held_still(site.daemon.pid):
            load.begin_mine()
            while not tips.has_message():
                if feed.has_message(FEED_SECONDS):
                    parse_transaction(feed.message()[1])
            came, block_hash = tips.message()
            block = fetched(connection, block_hash.hex())
            assert not [script for t in block.transactions for _, script in t.outputs if script in known]
            seconds = time.perf_counter() - came
            load.finish()
        _wait_for_tip(load, watcher)
    time.sleep(PAUSE_SECONDS)
    return seconds


def _scripts(site: Site) -> set[bytes]:
    """Those of all addresses: as quick to ask as can be, for a hundred bytes each."""
    with site.database.connect() as connection:
        return {bytes(script) for (script,) in connection.execute("SELECT script FROM address")}


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
