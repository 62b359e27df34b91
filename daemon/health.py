"""Whether the daemon is well: what it tells of itself to the log, to /health and to systemd."""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import structlog

from daemon.address_pool import AddressPool
from daemon.counters import Counters
from daemon.node.feed import Feed
from daemon.unit_of_work import unit_of_work
from models.daemon_status import beat
from models.db.leadership import LockLost
from models.db.lock import AdvisoryLock, FileLock
from sd_notify import ServiceManager

log = structlog.get_logger(__name__)

HEARTBEAT_SECONDS = 2.0
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.25, 4.0


class WorkerDied(Exception):
    """A thread ended by a bug: stop, so that the next start has all of its parts."""


class HasThread(Protocol):
    """The courier, the rate keeper, the address pool."""

    def is_alive(self) -> bool:
        """Whether it works."""


class Vitals:
    """What keeps the daemon from its work, each thing told to the log when it begins and when it ends.

    `outage` is why bitcoind or the database can't be used; `waiting_for` why nothing can be decided;
    `silence` which question bitcoind takes its time for.
    """

    def __init__(
        self,
        feed: Feed,
        pool: AddressPool,
        workers: Sequence[HasThread],
        lock: FileLock | AdvisoryLock,
        manager: ServiceManager,
        counters: Counters,
    ) -> None:
        self._feed = feed
        self._pool = pool
        self._workers = workers
        self._lock = lock
        self._manager = manager
        self._counters = counters
        self._beat_at = 0.0
        self._retry_seconds = FIRST_RETRY_SECONDS
        self._of_node: list[str] = []
        self.outage: str | None = None
        self.waiting_for: str | None = None
        self.silence: str | None = None

    def wait_for(self, reason: str) -> None:
        """Nothing can be decided now."""
        if self.waiting_for != reason:
            log.warning("waiting", reason=reason)
        self.waiting_for = reason

    def begin_outage(self, reason: str) -> float:
        """bitcoind or the database can't be used; the seconds until another try."""
        if self.outage is None:
            log.error("outage", reason=reason)
        self.outage, self.waiting_for = reason, None
        seconds = self._retry_seconds
        self._retry_seconds = min(2 * seconds, LONGEST_RETRY_SECONDS)
        return seconds

    def end_outage(self) -> None:
        """Both can be used again."""
        if self.outage is not None:
            log.info("outage over", reason=self.outage)
            self.outage = None
            self._retry_seconds = FIRST_RETRY_SECONDS

    def note_node(self, problems: list[str]) -> None:
        """What is wrong with bitcoind's settings now."""
        for problem in problems:
            if problem not in self._of_node:
                log.warning("bitcoind needs attention", reason=problem)
        if self._of_node and not problems:
            log.info("bitcoind is as it should be")
        self._of_node = problems

    def is_beat_due(self) -> bool:
        """Whether it is time for a sign of life; the next one's time begins then."""
        if time.monotonic() < self._beat_at:
            return False
        self._beat_at = time.monotonic() + HEARTBEAT_SECONDS
        return True

    def beat(self, now: datetime, node_height: int | None) -> None:
        """A sign of life in the database.

        Raises LockLost where another daemon may work on it by now, WorkerDied, or one of DATABASE_TROUBLE.
        """
        if not self._lock.is_held():
            raise LockLost("the connection to the database was cut, or another database is in its place")
        if not all(worker.is_alive() for worker in self._workers):
            raise WorkerDied
        with unit_of_work("heartbeat"):
            beat(now, node_height, self.problems(), self._counters.document())

    def tell_alive(self, tip_height: int | None) -> None:
        """Tell systemd so, and how we are."""
        self._manager.alive(self._state(tip_height))

    def tell_ready(self, tip_height: int | None) -> None:
        """The first look is done, or what keeps us from it is known and is tried again."""
        if not self._manager.is_told_ready:
            self._manager.ready(self._state(tip_height))

    def problems(self) -> list[str]:
        """A line for each thing that is wrong."""
        lost = [f"no ZMQ connection to {topic}" for topic in self._feed.silent_topics()]
        # While bitcoind is away the pool has nothing to add.
        pool = None if self.outage or self.silence else self._pool.problem
        found = [self.outage, self.waiting_for, self.silence, pool, *self._of_node, *lost]
        return list(dict.fromkeys(problem for problem in found if problem))

    def _state(self, tip_height: int | None) -> str:
        """How we are, in a line."""
        if problems := self.problems():
            return "; ".join(problems)
        return "reading the chain" if tip_height is None else f"at block {tip_height}"
