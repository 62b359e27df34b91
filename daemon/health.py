"""The daemon's health: its state and its problems, as the log, /health and systemd show them."""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import structlog

from daemon.address_pool import AddressPool
from daemon.counters import Counters
from daemon.node.feed import Feed
from daemon.state import State
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


class HealthReporter:
    """Holds the daemon's state, and logs where trouble begins and ends. The table is `State`'s."""

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
        self._state = State.STARTING
        self._reason: str | None = None
        self._slow_call: str | None = None
        self._node_height: int | None = None
        self._tip_height: int | None = None

    @property
    def state(self) -> State:
        """What the daemon is doing."""
        return self._state

    def begin_look(self) -> None:
        """Enter READING, but stay in trouble until it is known to be over."""
        self._tip_height = None
        if self._reason is None:
            self._state = State.READING

    def work(self, tip_height: int) -> None:
        """Enter WORKING: all is known up to this tip."""
        self._end_outage()
        if self._state is State.WAITING:
            log.info("waiting over", reason=self._reason)
        self._state, self._reason = State.WORKING, None
        self._tip_height = self._node_height = tip_height

    def wait(self, reason: str) -> None:
        """Enter WAITING: nothing can be decided now."""
        if (self._state, self._reason) != (State.WAITING, reason):
            log.warning("waiting", reason=reason)
        self._end_outage()
        self._state, self._reason = State.WAITING, reason
        self._tip_height = self._node_height = None

    def lose_touch(self, reason: str) -> float:
        """Enter OUT_OF_TOUCH: bitcoind or the database can't be used. Return the seconds until a try."""
        if self._state is not State.OUT_OF_TOUCH:
            log.error("outage", reason=reason)
        self._state, self._reason = State.OUT_OF_TOUCH, reason
        self._tip_height = self._node_height = None
        seconds = self._retry_seconds
        self._retry_seconds = min(2 * seconds, LONGEST_RETRY_SECONDS)
        return seconds

    def _end_outage(self) -> None:
        if self._state is State.OUT_OF_TOUCH:
            log.info("outage over", reason=self._reason)
            self._retry_seconds = FIRST_RETRY_SECONDS

    def note_node_height(self, height: int) -> None:
        """Note the height of bitcoind's tip, which is still to be read."""
        self._node_height = height

    def note_slow_call(self, what: str | None) -> None:
        """Note which call bitcoind takes its time for, or that none is slow."""
        self._slow_call = what

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

    def beat(self, now: datetime) -> None:
        """Store a sign of life in the database.

        Raises LockLost where another daemon may work on it by now, WorkerDied, or one of TRANSIENT_ERRORS.
        """
        if not self._lock.is_held():
            raise LockLost("the connection to the database was cut, or another database is in its place")
        if not all(worker.is_alive() for worker in self._workers):
            raise WorkerDied
        with unit_of_work("heartbeat"):
            beat(now, self._node_height, self.problems(), self._counters.document())

    def tell_alive(self) -> None:
        """Report to systemd that the daemon works, and its state."""
        self._manager.alive(self._text())

    def tell_ready(self) -> None:
        """Report to systemd, once, that the first look is done or what it is waiting for."""
        if not self._manager.is_told_ready:
            self._manager.ready(self._text())

    def problems(self) -> list[str]:
        """Return a line for each thing that is wrong."""
        lost = [f"no ZMQ connection to {topic}" for topic in self._feed.silent_topics()]
        # While bitcoind is away the pool has nothing to add.
        is_away = self._state is State.OUT_OF_TOUCH or self._slow_call is not None
        pool = None if is_away else self._pool.problem
        found = [self._reason, self._slow_call, pool, *self._of_node, *lost]
        return list(dict.fromkeys(problem for problem in found if problem))

    def _text(self) -> str:
        if problems := self.problems():
            return "; ".join(problems)
        return State.READING.value if self._tip_height is None else f"at block {self._tip_height}"
