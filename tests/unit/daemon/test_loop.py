"""The loop decides and reads the feed in the states in which its table says so."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import pytest

from config import load_settings
from daemon import health, loop, schedule
from daemon.counters import Counters
from daemon.health import HealthReporter
from daemon.loop import Loop, Workers
from daemon.node.errors import NodeError
from daemon.node.feed import Batch
from daemon.reconciler import Look, NotReady
from models.daemon_status import daemon_report
from models.db.connection import disconnect
from sd_notify import ServiceManager
from tests.support.prepared_database import open_prepared

RAW = b"a transaction"


class FakeMempool:
    """A mempool in which no payment is missing."""

    is_missing_any = False

    def is_any_gone(self) -> bool:
        return False


class FakeReconciler:
    """A reconciler whose looks end as planned. It keeps the feed's transactions.

    `looked_at` has for each look the stored time of the last complete look before it.
    """

    def __init__(self, results: Sequence[Look | Exception]) -> None:
        self.mempool = FakeMempool()
        self.looked_at: list[datetime | None] = []
        self.read: list[bytes] = []
        self._results = list(results)

    @property
    def looks(self) -> int:
        return len(self.looked_at)

    def look(self) -> Look:
        result = self._results[min(self.looks, len(self._results) - 1)]
        self.looked_at.append(daemon_report().complete_look_at)
        if isinstance(result, Exception):
            raise result
        return result

    def compare_with_feed(self, transactions: list[bytes]) -> None:
        self.read += transactions


class FakePart:
    """A node, a feed, a worker and a lock without a fault. Each poll brings a transaction."""

    problem = None
    is_whole = True
    is_gap = False

    def poll(self, _seconds: float) -> Batch:
        return Batch(transactions=[RAW], is_incomplete=self.is_gap)

    def on_wait(self, _callback: object) -> None:
        pass

    def silent_sources(self) -> list[Any]:
        return []

    def check_soon(self) -> None:
        pass

    def close(self) -> None:
        pass

    def is_held(self) -> bool:
        return True

    is_alive = is_held


@pytest.fixture(autouse=True)
def opened(database_url: str) -> Iterator[None]:
    """Open a migrated database."""
    open_prepared(database_url)
    yield
    disconnect()


Run = Callable[..., FakeReconciler]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs a loop whose looks end as given, and returns its reconciler."""

    def work(*results: Look | Exception, steps: int, has_gaps: bool = False) -> FakeReconciler:
        reconciler = FakeReconciler(results)
        monkeypatch.setattr(loop, "Reconciler", lambda *_: reconciler)
        part = cast(Any, FakePart())
        part.is_gap = has_gaps
        left = iter([False] * steps)
        workers = Workers(part, part, part)
        reporter = HealthReporter(part, part, workers, part, ServiceManager({}), Counters())
        settings = load_settings({}, tmp_path)
        Loop(settings, part, part, workers, reporter, Counters(), lambda: next(left, True)).run()
        return reconciler

    return work


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a look follow another without a pause, while work is left or bitcoind is away."""
    monkeypatch.setattr(schedule, "RETRY_SECONDS", 0)
    monkeypatch.setattr(health, "FIRST_RETRY_SECONDS", 0)


def test_nothing_is_decided_before_the_first_complete_look(run: Run) -> None:
    """SCANNING: the feed is read meanwhile."""
    found = run(Look(100, is_complete=False), steps=3)
    assert (found.looks, found.read) == (1, 3 * [RAW])
    assert daemon_report().complete_look_at is None
    assert daemon_report().assessed_height == 0


def test_a_complete_look_decides(run: Run) -> None:
    """WORKING: the next look comes after the interval."""
    found = run(Look(100, is_complete=True), steps=3)
    assert (found.looks, found.read) == (1, 3 * [RAW])
    assert daemon_report().complete_look_at is not None
    assert daemon_report().assessed_height == 100


def test_a_later_look_that_is_not_complete_decides_as_of_the_earlier_one(run: Run) -> None:
    looks = Look(101, is_complete=True), Look(102, is_complete=False)
    found = run(*looks, steps=3, has_gaps=True)
    first, second, third = found.looked_at
    assert first is None
    assert second == third == daemon_report().complete_look_at is not None
    assert daemon_report().assessed_height == 102


@pytest.mark.parametrize("reason", [NotReady("loading"), NodeError("no answer")])
def test_the_feed_is_unread_while_the_daemon_waits_or_bitcoind_is_away(run: Run, reason: Exception) -> None:
    """WAITING and OUT_OF_TOUCH. The next look reads the mempool."""
    found = run(reason, Look(100, is_complete=True), steps=3)
    assert (found.looks, found.read) == (1, [])
    assert daemon_report().assessed_height == 0


@pytest.mark.usefixtures("no_pause")
@pytest.mark.parametrize("reason", [NotReady("loading"), NodeError("no answer")])
def test_the_next_look_ends_the_trouble(run: Run, reason: Exception) -> None:
    found = run(reason, reason, Look(100, is_complete=True), steps=4)
    assert (found.looks, found.read) == (3, 2 * [RAW])
    assert daemon_report().assessed_height == 100


def test_a_gap_brings_a_look_forward_except_during_an_outage(run: Run) -> None:
    assert run(Look(100, is_complete=True), steps=3, has_gaps=True).looks == 3
    assert run(NotReady("loading"), steps=3, has_gaps=True).looks == 3
    assert run(NodeError("no answer"), steps=3, has_gaps=True).looks == 1
