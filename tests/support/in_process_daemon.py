"""The daemon in the test's own process: its loop runs while the test waits for a condition.

Loop, feed, RPC, tables and outbox worker are the real ones. A test injects faults between them. The feed can
drop messages, bitcoind can refuse a call, and a call can kill the daemon.
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum
from types import MappingProxyType
from typing import Any, Protocol, cast

from config import Settings
from daemon.counters import Counters
from daemon.delivery.email_layout import EmailContent
from daemon.delivery.outbox_worker import OutboxWorker
from daemon.health import HealthReporter
from daemon.loop import Loop, Workers
from daemon.node.client import Bitcoind
from daemon.node.errors import NodeError
from daemon.node.feed import Batch, Feed
from daemon.node.feed_places import Source, Sources
from models.db.connection import disconnect
from models.db.lock import AdvisoryLock, FileLock
from sd_notify import ServiceManager

NEVER, OFTEN = 3600, 0.2
"""RECONCILE_INTERVAL in seconds. A daemon with a complete feed needs no periodic reconciling."""

WHOLE_MEMPOOL = ("wallet_mempool_txids", "mempool_txids")
"""The calls that the daemon makes when it reconciles."""


class FeedDelivery(Enum):
    """The part of the feed's messages that arrives."""

    ALL = "all"
    SOME = "half of it"
    NOTHING = "nothing"


class Fault(Enum):
    """A fault at a call to bitcoind."""

    KILL = "the daemon is killed before the call"
    KILL_AFTER = "the daemon is killed after the answer"
    REFUSE = "bitcoind does not answer"


EMPTY: Mapping[str, Any] = MappingProxyType(
    {
        "is_mempool_loaded": False,
        "mempool_txids": frozenset(),
        "mempool_entry": None,
        "in_mempool": set(),
        "mempool_ancestors": [],
        "mempool_transactions": [],
        "mempool_spenders": {},
    }
)
"""The answers of a bitcoind that has just started and has yet to load its mempool from disk."""


class Killed(BaseException):
    """A simulated kill: no code may catch it, and uncommitted changes are lost."""


class FaultyNode:
    """A client of bitcoind with a planned fault at a later call."""

    def __init__(self, node: Bitcoind, *, is_loading: bool = False) -> None:
        self._node = node
        self._calls_left = 0
        self._fault: Fault | None = None
        self._calls_before = 0
        self._meanwhile: Callable[[], None] | None = None
        self.is_loading = is_loading
        self.looks = 0

    def plan(self, fault: Fault, calls: int) -> None:
        """Plan a fault at the call with this number from now, counted from 1."""
        self._fault, self._calls_left = fault, calls

    def meanwhile(self, happen: Callable[[], None], calls: int) -> None:
        """Call `happen` just before the call with this number from now, counted from 1."""
        self._meanwhile, self._calls_before = happen, calls

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = getattr(self._node, name)

        def faulty_call(*parameters: Any, **options: Any) -> Any:
            if name == "close":
                return call()
            self._run_meanwhile()
            fault = self._due_fault()
            if fault is Fault.KILL:
                raise Killed
            if fault is Fault.REFUSE:
                raise NodeError("no answer, as the test plans")
            is_empty = self.is_loading and name in EMPTY
            answer = EMPTY[name] if is_empty else call(*parameters, **options)
            if fault is Fault.KILL_AFTER:
                raise Killed
            self.looks += name in WHOLE_MEMPOOL
            return answer

        return faulty_call

    def _run_meanwhile(self) -> None:
        self._calls_before -= 1
        happen = self._meanwhile
        if happen is not None and self._calls_before <= 0:
            self._meanwhile = None
            happen()

    def _due_fault(self) -> Fault | None:
        self._calls_left -= 1
        fault = self._fault
        if fault is None or self._calls_left > 0:
            return None
        self._fault = None
        return fault


class AnyFeed(Protocol):
    """A daemon's feed: daemon.node.feed.Feed, or one in memory."""

    @property
    def is_whole(self) -> bool: ...
    def subscribe(self, sources: Sources) -> None: ...
    def poll(self, timeout_seconds: float) -> Batch: ...
    def silent_sources(self) -> list[Source]: ...
    def close(self) -> None: ...


class LossyFeed:
    """A feed that drops messages, without a gap in their sequence numbers."""

    def __init__(self, feed: AnyFeed, delivery: FeedDelivery) -> None:
        self._feed = feed
        self._delivery = delivery
        self._random = random.Random(7)

    def poll(self, timeout_seconds: float) -> Batch:
        """Return the next messages without the dropped ones."""
        batch = self._feed.poll(timeout_seconds)
        if self._delivery is FeedDelivery.ALL:
            return batch
        batch.transactions = [raw for raw in batch.transactions if self._is_delivered()]
        batch.tips = batch.tips if self._is_delivered() else 0
        return batch

    @property
    def is_whole(self) -> bool:
        """Return whether both topics are connected."""
        return self._feed.is_whole

    def subscribe(self, sources: Sources) -> None:
        """Change to these sources."""
        self._feed.subscribe(sources)

    def silent_sources(self) -> list[Source]:
        """Return the sources that are not connected."""
        return self._feed.silent_sources()

    def close(self) -> None:
        """Close the feed."""
        self._feed.close()

    def _is_delivered(self) -> bool:
        return self._delivery is FeedDelivery.SOME and self._random.random() < 0.5


@dataclass(slots=True)
class RecordingMailer:
    """A mailer that accepts each email, and keeps the Message-IDs in their order."""

    taken: list[str] = field(default_factory=list)

    def send(
        self, recipient: str, email: EmailContent, message_id: str, *, is_urgent: bool, now: datetime
    ) -> None:
        self.taken.append(message_id)


class _Idle:
    """A worker that does nothing, instead of the address pool and the rate updater."""

    problem = None

    def begin(self) -> None:
        """Begin nothing."""

    def is_alive(self) -> bool:
        return True

    def check_soon(self) -> None:
        """Check nothing."""


class _Shop:
    """An endpoint of BTCPay's kind that accepts each webhook."""

    def send(self, *_: object, **__: object) -> None:
        raise AssertionError("no seller has a standard webhook")

    def send_btcpay(self, *_: object, **__: object) -> int:
        return 200


Connect = Callable[[Settings], tuple[Bitcoind, AnyFeed]]


def connect_to_bitcoind(settings: Settings) -> tuple[Bitcoind, AnyFeed]:
    """Return the client and the feed of a real bitcoind."""
    return Bitcoind(settings), Feed()


class InProcessDaemon:
    """A daemon that a test starts, runs, stops and kills."""

    def __init__(
        self,
        settings: Settings,
        lock: FileLock | AdvisoryLock,
        connect: Connect = connect_to_bitcoind,
        often_seconds: float = OFTEN,
    ) -> None:
        """Prepare the daemon; `connect` returns the client and the feed for each start."""
        self.mailer = RecordingMailer()
        self.manager = ServiceManager({})
        self._settings = settings
        self._connect = connect
        self._often_seconds = often_seconds
        self._lock = lock
        self._is_done: Callable[[], bool] = lambda: True
        self._is_loading = False
        self._parts: tuple[Loop, FaultyNode, LossyFeed, OutboxWorker] | None = None

    @property
    def is_up(self) -> bool:
        return self._parts is not None

    def start(self, delivery: FeedDelivery = FeedDelivery.ALL) -> None:
        """Build and connect the parts. The loop does not run before `work_until`."""
        interval = NEVER if delivery is FeedDelivery.ALL else self._often_seconds
        settings = replace(self._settings, reconcile_interval=cast(int, interval))
        bitcoind, whole_feed = self._connect(settings)
        feed = LossyFeed(whole_feed, delivery)
        node = FaultyNode(bitcoind, is_loading=self._is_loading)
        counters = Counters()
        outbox_worker = OutboxWorker(settings, self.mailer, _Shop(), _clock, time.monotonic, counters)
        idle = cast(Any, _Idle())
        workers = Workers(idle, idle, outbox_worker)
        health = HealthReporter(cast(Feed, feed), idle, workers, self._lock, self.manager, counters)
        loop = Loop(
            settings,
            cast(Bitcoind, node),
            cast(Feed, feed),
            workers,
            health,
            counters,
            lambda: self._is_done(),
        )
        outbox_worker.start()
        self._parts = loop, node, feed, outbox_worker

    def plan(self, fault: Fault, calls: int) -> None:
        """Plan a fault at a later call to bitcoind."""
        assert self._parts is not None
        self._parts[1].plan(fault, calls)

    def meanwhile(self, happen: Callable[[], None], calls: int) -> None:
        """Call `happen` between two later calls to bitcoind, so that the earlier answer is out of date."""
        assert self._parts is not None
        self._parts[1].meanwhile(happen, calls)

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Let bitcoind answer as after a start, before it has loaded its mempool from disk."""
        self._set_loading(is_loading=True)
        yield
        self._set_loading(is_loading=False)

    def _set_loading(self, *, is_loading: bool) -> None:
        self._is_loading = is_loading
        if self._parts is not None:
            self._parts[1].is_loading = is_loading

    def look(self, seconds: float) -> bool:
        """Run the loop until the daemon has reconciled since its start."""
        assert self._parts is not None
        node = self._parts[1]
        return self.work_until(lambda: node.looks > 0, seconds)

    def work_until(self, is_done: Callable[[], bool], seconds: float) -> bool:
        """Run the loop until `is_done`, and return False after a timeout. A killed daemon starts again."""
        deadline = time.monotonic() + seconds
        was_done, check_at = False, 0.0

        def should_stop() -> bool:
            """Check `is_done` in at most half of the time, as the loop calls this function at each block."""
            nonlocal was_done, check_at
            began = time.monotonic()
            if not was_done and began >= check_at:
                was_done = is_done()
                check_at = 2 * time.monotonic() - began
            return was_done or began > deadline

        self._is_done = should_stop
        while not should_stop():
            assert self._parts is not None
            try:
                self._parts[0].run()
            except Killed:
                self.stop()
                self.start()
        return was_done

    def stop(self) -> None:
        """Stop the parts and close the connections. The daemon's state in memory is lost."""
        assert self._parts is not None
        _, node, feed, outbox_worker = self._parts
        assert outbox_worker.stop(30)
        feed.close()
        node.close()
        disconnect()
        self._parts = None


def _clock() -> datetime:
    return datetime.now(UTC)
