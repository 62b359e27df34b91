"""The daemon in the test's own process, turned by hand: it works while the test waits for something.

Its loop, feed, RPC, tables and courier are the real ones. What can go wrong is brought about where they
meet: a message that the feed doesn't bring, a call after which the process is dead or bitcoind is gone.
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
from daemon.delivery.emails import EmailContent
from daemon.delivery.outbox_worker import OutboxWorker
from daemon.loop import Loop
from daemon.node.client import Bitcoind
from daemon.node.feed import Batch, Feed
from daemon.node.rpc import NodeError
from models.db.connection import disconnect
from models.db.lock import AdvisoryLock, FileLock
from sd_notify import ServiceManager

NEVER, OFTEN = 3600, 0.2
"""Seconds between two looks without a reason: with a whole feed none is needed."""


WHOLE_MEMPOOL = ("wallet_mempool_txids", "mempool_txids")
"""The calls that are made where everything is looked at."""


class Hearing(Enum):
    """How much of the feed arrives."""

    ALL = "all"
    SOME = "half of it"
    NOTHING = "nothing"


class Fault(Enum):
    """What happens at a call to bitcoind."""

    KILL = "the process is dead"
    KILL_AFTER = "the process is dead as soon as the answer is there"
    REFUSE = "bitcoind has no answer"


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
"""What a bitcoind says of its mempool that has just started and still reads it from its disk."""


class Killed(BaseException):
    """The process is dead: nothing may catch this, and what was not committed is lost."""


class FrailNode:
    """bitcoind as the daemon sees it, with a fault at one of the calls to come."""

    def __init__(self, node: Bitcoind, *, is_loading: bool = False) -> None:
        self._node = node
        self._calls_left = 0
        self._fault: Fault | None = None
        self._calls_before = 0
        self._meanwhile: Callable[[], None] | None = None
        self.is_loading = is_loading
        self.looks = 0

    def plan(self, fault: Fault, calls: int) -> None:
        """The fault comes at this call from now, counted from 1."""
        self._fault, self._calls_left = fault, calls

    def meanwhile(self, happen: Callable[[], None], calls: int) -> None:
        """`happen` is called just before this call from now, counted from 1."""
        self._meanwhile, self._calls_before = happen, calls

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = getattr(self._node, name)

        def asked(*parameters: Any, **options: Any) -> Any:
            if name == "close":
                return call()
            self._let_happen()
            fault = self._due()
            if fault is Fault.KILL:
                raise Killed
            if fault is Fault.REFUSE:
                raise NodeError("no answer, says the test")
            is_empty = self.is_loading and name in EMPTY
            answer = EMPTY[name] if is_empty else call(*parameters, **options)
            if fault is Fault.KILL_AFTER:
                raise Killed
            self.looks += name in WHOLE_MEMPOOL
            return answer

        return asked

    def _let_happen(self) -> None:
        self._calls_before -= 1
        happen = self._meanwhile
        if happen is not None and self._calls_before <= 0:
            self._meanwhile = None
            happen()

    def _due(self) -> Fault | None:
        self._calls_left -= 1
        fault = self._fault
        if fault is None or self._calls_left > 0:
            return None
        self._fault = None
        return fault


class AnyFeed(Protocol):
    """What a daemon reads news from: daemon.node.feed.Feed, or one in memory."""

    def poll(self, timeout_seconds: float) -> Batch: ...
    def silent_topics(self) -> list[str]: ...
    def close(self) -> None: ...


class LeakyFeed:
    """A feed of which only a part arrives; nothing shows that there was more."""

    def __init__(self, feed: AnyFeed, hearing: Hearing) -> None:
        self._feed = feed
        self._hearing = hearing
        self._dice = random.Random(7)

    def poll(self, timeout_seconds: float) -> Batch:
        """Return what arrives of it."""
        batch = self._feed.poll(timeout_seconds)
        if self._hearing is Hearing.ALL:
            return batch
        batch.transactions = [raw for raw in batch.transactions if self._is_lucky()]
        batch.tips = batch.tips if self._is_lucky() else 0
        return batch

    def silent_topics(self) -> list[str]:
        """Return the topics that are not connected."""
        return self._feed.silent_topics()

    def close(self) -> None:
        """Close the feed."""
        self._feed.close()

    def _is_lucky(self) -> bool:
        return self._hearing is Hearing.SOME and self._dice.random() < 0.5


@dataclass(slots=True)
class Postbox:
    """A mailer that takes everything: the Message-ID of each email, in the order of their arrival."""

    taken: list[str] = field(default_factory=list)

    def send(
        self, recipient: str, letter: EmailContent, message_id: str, *, is_urgent: bool, now: datetime
    ) -> None:
        self.taken.append(message_id)


class _Idle:
    """A worker with nothing to do, in the place of the address pool and the rates."""

    problem = None

    def begin(self) -> None:
        """The loop has imported the wallet's addresses."""

    def is_alive(self) -> bool:
        return True

    def check_soon(self) -> None:
        """Check nothing."""


class _NoWebhooks:
    def send(self, *_: object, **__: object) -> None:
        raise AssertionError("no seller has a webhook")


Connect = Callable[[Settings], tuple[Bitcoind, AnyFeed]]


def connect_to_bitcoind(settings: Settings) -> tuple[Bitcoind, AnyFeed]:
    """Return the client and the feed of a real bitcoind."""
    feed = Feed(settings.bitcoind_zmq_rawtx, settings.bitcoind_zmq_hashblock)
    return Bitcoind(settings), feed


class HandDaemon:
    """A daemon that can be started, turned, stopped, killed and started again."""

    def __init__(
        self,
        settings: Settings,
        lock: FileLock | AdvisoryLock,
        connect: Connect = connect_to_bitcoind,
        often_seconds: float = OFTEN,
    ) -> None:
        """`connect` gives the node and the feed of each start."""
        self.postbox = Postbox()
        self.manager = ServiceManager({})
        self._settings = settings
        self._connect = connect
        self._often_seconds = often_seconds
        self._lock = lock
        self._is_done: Callable[[], bool] = lambda: True
        self._is_loading = False
        self._parts: tuple[Loop, FrailNode, LeakyFeed, OutboxWorker] | None = None

    @property
    def is_up(self) -> bool:
        return self._parts is not None

    def start(self, hearing: Hearing = Hearing.ALL) -> None:
        """Begin; nothing happens before the first turn."""
        interval = NEVER if hearing is Hearing.ALL else self._often_seconds
        settings = replace(self._settings, reconcile_interval=cast(int, interval))
        bitcoind, whole_feed = self._connect(settings)
        feed = LeakyFeed(whole_feed, hearing)
        node = FrailNode(bitcoind, is_loading=self._is_loading)
        counters = Counters()
        courier = OutboxWorker(settings, self.postbox, _NoWebhooks(), _clock, time.monotonic, counters)
        idle = cast(Any, _Idle())
        loop = Loop(
            settings,
            cast(Bitcoind, node),
            cast(Feed, feed),
            idle,
            courier,
            idle,
            self._lock,
            lambda: self._is_done(),
            self.manager,
            counters,
        )
        courier.start()
        self._parts = loop, node, feed, courier

    def plan(self, fault: Fault, calls: int) -> None:
        """Something goes wrong at a later call to bitcoind."""
        assert self._parts is not None
        self._parts[1].plan(fault, calls)

    def meanwhile(self, happen: Callable[[], None], calls: int) -> None:
        """Something happens between two later calls to bitcoind: what it answered is no longer so."""
        assert self._parts is not None
        self._parts[1].meanwhile(happen, calls)

    @contextmanager
    def loading(self) -> Iterator[None]:
        """bitcoind has started, and has yet to read its mempool from its disk."""
        self._set_loading(is_loading=True)
        yield
        self._set_loading(is_loading=False)

    def _set_loading(self, *, is_loading: bool) -> None:
        self._is_loading = is_loading
        if self._parts is not None:
            self._parts[1].is_loading = is_loading

    def look(self, seconds: float) -> bool:
        """Work until everything has been looked at since it was started."""
        assert self._parts is not None
        node = self._parts[1]
        return self.work_until(lambda: node.looks > 0, seconds)

    def work_until(self, is_done: Callable[[], bool], seconds: float) -> bool:
        """Turn the loop until then; False if that takes too long. A daemon that is killed starts again."""
        deadline = time.monotonic() + seconds
        was_done, ask_at = False, 0.0

        def should_stop() -> bool:
            """To ask takes no more than half of the time: the loop wants to know at each block."""
            nonlocal was_done, ask_at
            began = time.monotonic()
            if not was_done and began >= ask_at:
                was_done = is_done()
                ask_at = 2 * time.monotonic() - began
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
        """Let go of everything; nothing that it had in mind is remembered."""
        assert self._parts is not None
        _, node, feed, courier = self._parts
        assert courier.stop(30)
        feed.close()
        node.close()
        disconnect()
        self._parts = None


def _clock() -> datetime:
    return datetime.now(UTC)
