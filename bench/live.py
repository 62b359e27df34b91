"""One payment at a time: from bitcoind's rawtx message to the committed status."""

import time
from dataclasses import dataclass, field

from bench.floor import Commits
from bench.load import Load
from bench.observer import Subscriber, Watcher
from bench.site import AMOUNT_SATS, Request, Site

STATUS = "SELECT status = 'received' FROM payment_request WHERE reference = ?"
PENDING = "SELECT count(*) FROM message WHERE next_attempt_at IS NOT NULL"
PAUSE_SECONDS = 0.02


@dataclass(slots=True)
class LiveSeconds:
    """Measured times. The floor is a subscriber that stores one row at each message."""

    ours: list[float] = field(default_factory=list)
    floor: list[float] = field(default_factory=list)


def measure_live(load: Load, site: Site, requests: list[Request], seconds: LiveSeconds) -> None:
    """Pay these requests one after another; between two of them, a foreign transaction for the floor."""
    with (
        Subscriber("rawtx", load.node.zmq_rawtx) as subscriber,
        Watcher(site.database) as watcher,
        Commits(site.database) as commits,
    ):
        for request in requests:
            seconds.ours.append(_pay(load, request, subscriber, watcher))
            watcher.wait_for(PENDING, is_it=lambda count: count == 0)
            time.sleep(PAUSE_SECONDS)
            seconds.floor.append(_store_foreign(load, subscriber, commits))
            time.sleep(PAUSE_SECONDS)


def _pay(load: Load, request: Request, subscriber: Subscriber, watcher: Watcher) -> float:
    raw = load.payment(request.script, AMOUNT_SATS)
    load.begin_submit(raw)
    came = subscriber.wait_for(raw)
    done = watcher.wait_for(STATUS, request.reference)
    load.finish()
    return done - came


def _store_foreign(load: Load, subscriber: Subscriber, commits: Commits) -> float:
    raw = load.foreign()
    load.begin_submit(raw)
    came = subscriber.wait_for(raw)
    commits.store(raw)
    done = time.perf_counter()
    load.finish()
    return done - came
