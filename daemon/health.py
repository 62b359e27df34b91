"""The daemon's state and problems, for the log, /health and systemd."""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import structlog

from daemon.address_pool import AddressPool
from daemon.counters import Counters
from daemon.node.feed import Batch, Feed
from daemon.node.feed_checks import FeedSetUp, silence_advice
from daemon.state import LoopState
from daemon.unit_of_work import unit_of_work
from models.daemon_status import beat
from models.db.leadership import LockLost
from models.db.lock import AdvisoryLock, FileLock
from sd_notify import ServiceManager

log = structlog.get_logger(__name__)

HEARTBEAT_SECONDS = 2.0
FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS = 0.25, 4.0


class WorkerEnded(Exception):
    """A thread has ended by a bug. The daemon must stop, because only a new start has all threads."""


class HasThread(Protocol):
    """A worker with a thread."""

    def is_alive(self) -> bool:
        """Return whether the thread runs."""


class HealthReporter:
    """Holds the problems of the daemon, and logs when each begins and ends."""

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
        self._node_problems: list[str] = []
        self._set_up: FeedSetUp | None = None
        self._lost = 0
        self._trouble: LoopState | None = None
        self._reason: str | None = None
        self._slow_call: str | None = None
        self._node_height: int | None = None
        self._tip_height: int | None = None

    @property
    def trouble(self) -> LoopState | None:
        """Return WAITING or OUT_OF_TOUCH from its beginning to the result of a look, and else None."""
        return self._trouble

    def begin_look(self) -> None:
        """Note that a look begins. The trouble stays until the look's result."""
        self._tip_height = None

    def work(self, tip_height: int) -> None:
        """End the trouble, because the loop has worked up to this tip."""
        self._end_outage()
        if self._trouble is LoopState.WAITING:
            log.info("waiting over", reason=self._reason)
        self._trouble, self._reason = None, None
        self._tip_height = self._node_height = tip_height

    def wait(self, reason: str) -> None:
        """Note WAITING, because nothing can be decided now."""
        if (self._trouble, self._reason) != (LoopState.WAITING, reason):
            log.warning("waiting", reason=reason)
        self._end_outage()
        self._trouble, self._reason = LoopState.WAITING, reason
        self._tip_height = self._node_height = None

    def lose_touch(self, reason: str) -> float:
        """Note OUT_OF_TOUCH, because bitcoind or the database fails. Return the seconds until a retry."""
        if self._trouble is not LoopState.OUT_OF_TOUCH:
            log.error("outage", reason=reason)
        self._trouble, self._reason = LoopState.OUT_OF_TOUCH, reason
        self._tip_height = self._node_height = None
        seconds = self._retry_seconds
        self._retry_seconds = min(2 * seconds, MAX_RETRY_SECONDS)
        return seconds

    def _end_outage(self) -> None:
        if self._trouble is LoopState.OUT_OF_TOUCH:
            log.info("outage over", reason=self._reason)
            self._retry_seconds = FIRST_RETRY_SECONDS

    def note_node_height(self, height: int) -> None:
        """Note the height of bitcoind's tip, which the daemon has not read yet."""
        self._node_height = height

    def note_slow_call(self, problem: str | None) -> None:
        """Note the problem of a slow call to bitcoind, or that no call is slow."""
        self._slow_call = problem

    def note_feed(self, batch: Batch) -> None:
        """Count the messages and the connections of the feed, and log what is lost."""
        for name, label, count in (
            ("feed_messages", "rawtx", len(batch.transactions)),
            ("feed_messages", "hashblock", batch.tips),
            ("feed_messages_lost", "", batch.lost),
            ("feed_gaps", "", int(batch.lost > 0)),
            ("feed_connections", "", int(batch.has_connected)),
        ):
            if count:
                self._counters.add(name, label, count)
        if batch.lost:
            log.warning("feed messages lost", count=batch.lost)
            self._lost += batch.lost
        if batch.has_connected:
            log.info("feed connected")

    def note_node(self, problems: list[str], set_up: FeedSetUp) -> None:
        """Note the problems of bitcoind's settings, and what its feed could do better. Log the changes."""
        for line in set_up.advice:
            if self._set_up is None or line not in self._set_up.advice:
                log.info("advice", reason=line)
        self._set_up = set_up
        for problem in problems:
            if problem not in self._node_problems:
                log.warning("bitcoind needs attention", reason=problem)
        if self._node_problems and not problems:
            log.info("bitcoind is as it should be")
        self._node_problems = problems

    def is_beat_due(self) -> bool:
        """Return whether a heartbeat is due. If so, schedule the next heartbeat."""
        if time.monotonic() < self._beat_at:
            return False
        self._beat_at = time.monotonic() + HEARTBEAT_SECONDS
        return True

    def beat(self, now: datetime) -> None:
        """Store a heartbeat in the database.

        Raise LockLost where another daemon may use the database by now, WorkerEnded, or a transient error.
        """
        if not self._lock.is_held():
            raise LockLost("the connection to the database was cut, or another database is in its place")
        if not all(worker.is_alive() for worker in self._workers):
            raise WorkerEnded
        with unit_of_work("heartbeat"):
            beat(now, self._node_height, self.problems(), self._counters.document(), self.advice())

    def report_alive(self) -> None:
        """Report to systemd that the daemon works, and its state."""
        self._manager.alive(self._text())

    def report_ready(self) -> None:
        """Report to systemd once that the first look is done, or its problem."""
        if not self._manager.has_sent_ready:
            self._manager.ready(self._text())

    def problems(self) -> list[str]:
        """Return a line for each thing that is wrong."""
        lost = [
            f"no ZMQ connection to {source}" for source in self._feed.silent_sources() if not source.is_found
        ]
        # An outage of bitcoind explains the problem of the pool.
        is_away = self._trouble is LoopState.OUT_OF_TOUCH or self._slow_call is not None
        pool = None if is_away else self._pool.problem
        found = [self._reason, self._slow_call, pool, *self._node_problems, *lost]
        return list(dict.fromkeys(problem for problem in found if problem))

    def advice(self) -> list[str]:
        """Return a line for each thing that bitcoind could do better. None of them hides a payment."""
        if self._set_up is None:
            return []
        lines = list(self._set_up.advice)
        # An outage of bitcoind explains the silence of its feed.
        if self._trouble is not LoopState.OUT_OF_TOUCH:
            silent = [source for source in self._feed.silent_sources() if source.is_found]
            lines += [silence_advice(source) for source in silent]
        if self._lost:
            lines.append(
                f"the feed has lost {self._lost:,} messages since the daemon started. Nodetill noticed it, "
                "and looked at the chain and the mempool each time"
            )
        return lines

    def _text(self) -> str:
        if problems := self.problems():
            return "; ".join(problems)
        return LoopState.READING.value if self._tip_height is None else f"at block {self._tip_height}"
