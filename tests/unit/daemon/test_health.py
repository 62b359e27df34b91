"""/health and systemd show the daemon's state, and the log has its changes."""

from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from daemon.counters import Counters
from daemon.health import FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS, HealthReporter
from daemon.node.feed import Batch
from daemon.node.feed_checks import FeedSetUp
from daemon.node.feed_places import Source, Sources
from daemon.state import LoopState


class HealthyPart:
    """A connected feed, and also a full address pool."""

    problem = None

    def __init__(self) -> None:
        self.silent: list[Source] = []

    def silent_sources(self) -> list[Source]:
        return self.silent


class FakeManager:
    """A service manager that keeps the last status."""

    def __init__(self) -> None:
        self.status = ""
        self.has_sent_ready = False

    def alive(self, status: str) -> None:
        self.status = status


@pytest.fixture
def manager() -> FakeManager:
    return FakeManager()


@pytest.fixture
def feed() -> HealthyPart:
    return HealthyPart()


@pytest.fixture
def vitals(manager: FakeManager, feed: HealthyPart) -> HealthReporter:
    quiet = cast(Any, feed)
    return HealthReporter(quiet, quiet, (), cast(Any, None), cast(Any, manager), Counters())


def events(logged: list[Any]) -> list[tuple[str, str]]:
    return [(line["event"], line["reason"]) for line in logged]


def test_a_successful_reconciling_leads_to_working(vitals: HealthReporter, manager: FakeManager) -> None:
    """None of the states from the start to the tip is a problem."""
    vitals.begin_look()
    vitals.tell_alive()
    assert manager.status == "reading the chain"
    vitals.work(120)
    assert vitals.trouble is None
    vitals.tell_alive()
    assert manager.status == "at block 120"
    assert vitals.problems() == []


def test_an_outage_ends_with_a_result_and_not_with_a_try(vitals: HealthReporter) -> None:
    """/health shows the reason until then. The log has the begin and the end, and not each try."""
    with capture_logs() as logged:
        for _ in range(3):
            vitals.begin_look()
            vitals.lose_touch("no answer")
            assert vitals.trouble is LoopState.OUT_OF_TOUCH
        vitals.begin_look()
        assert vitals.problems() == ["no answer"]
        vitals.work(120)
    assert vitals.problems() == []
    assert events(logged) == [("outage", "no answer"), ("outage over", "no answer")]


def test_waiting_logs_each_reason_once_and_its_end(vitals: HealthReporter, manager: FakeManager) -> None:
    with capture_logs() as logged:
        for reason in ("loading", "loading", "behind"):
            vitals.begin_look()
            vitals.wait(reason)
            assert vitals.trouble is LoopState.WAITING
            vitals.tell_alive()
            assert manager.status == reason
        vitals.work(120)
    assert events(logged) == [("waiting", "loading"), ("waiting", "behind"), ("waiting over", "behind")]


def test_an_answering_bitcoind_that_is_behind_is_no_outage(vitals: HealthReporter) -> None:
    """The outage ends, and the daemon waits."""
    with capture_logs() as logged:
        vitals.lose_touch("no answer")
        vitals.wait("behind")
        assert vitals.problems() == ["behind"]
    assert events(logged) == [("outage", "no answer"), ("waiting", "behind"), ("outage over", "no answer")]


def test_the_time_between_tries_grows_to_a_limit_and_resets(vitals: HealthReporter) -> None:
    """A short outage ends soon, and a long one causes few calls."""
    seconds = [vitals.lose_touch("no answer") for _ in range(10)]
    assert seconds[0] == FIRST_RETRY_SECONDS
    assert seconds == sorted(seconds)
    assert seconds[-1] == MAX_RETRY_SECONDS
    vitals.work(120)
    assert vitals.lose_touch("no answer") == FIRST_RETRY_SECONDS


def test_a_slow_call_is_a_problem_while_it_lasts(vitals: HealthReporter) -> None:
    vitals.work(120)
    vitals.note_slow_call("getblock takes its time")
    assert vitals.problems() == ["getblock takes its time"]
    vitals.note_slow_call(None)
    assert vitals.problems() == []


def set_up(*advice: str) -> FeedSetUp:
    return FeedSetUp(Sources(), (), advice=advice)


def test_advice_is_no_problem_and_is_logged_once(vitals: HealthReporter) -> None:
    """A node that could do better hides no payment."""
    with capture_logs() as logged:
        vitals.note_node([], set_up("publish rawtx"))
        vitals.note_node([], set_up("publish rawtx"))
    assert (vitals.problems(), vitals.advice()) == ([], ["publish rawtx"])
    assert events(logged) == [("advice", "publish rawtx")]
    vitals.note_node([], set_up())
    assert vitals.advice() == []


def test_a_silent_source_that_bitcoind_names_is_advice(vitals: HealthReporter, feed: HealthyPart) -> None:
    """A source of the settings is a problem. During an outage, the outage explains the silence."""
    named, configured = (Source(("rawtx",), f"tcp://127.0.0.1:{port}", port == 1) for port in (1, 2))
    vitals.note_node([], set_up())
    vitals.work(120)
    feed.silent = [named]
    assert vitals.problems() == []
    (line,) = vitals.advice()
    assert "no ZMQ connection to rawtx at tcp://127.0.0.1:1" in line
    vitals.lose_touch("no answer")
    assert (vitals.problems(), vitals.advice()) == (["no answer"], [])
    vitals.work(120)
    feed.silent = [configured]
    assert (vitals.problems(), vitals.advice()) == (["no ZMQ connection to rawtx at tcp://127.0.0.1:2"], [])


def test_lost_messages_are_advice(vitals: HealthReporter) -> None:
    vitals.note_node([], set_up())
    vitals.note_feed(Batch(lost=1_200))
    vitals.note_feed(Batch(lost=34))
    (line,) = vitals.advice()
    assert "has lost 1,234 messages" in line
    assert vitals.problems() == []
