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
def reporter(manager: FakeManager, feed: HealthyPart) -> HealthReporter:
    quiet = cast(Any, feed)
    return HealthReporter(quiet, quiet, (), cast(Any, None), cast(Any, manager), Counters())


def events(logged: list[Any]) -> list[tuple[str, str]]:
    return [(line["event"], line["reason"]) for line in logged]


def test_a_successful_reconciling_leads_to_working(reporter: HealthReporter, manager: FakeManager) -> None:
    """None of the states from the start to the tip is a problem."""
    reporter.begin_look()
    reporter.report_alive()
    assert manager.status == "reading the chain"
    reporter.work(120)
    assert reporter.trouble is None
    reporter.report_alive()
    assert manager.status == "at block 120"
    assert reporter.problems() == []


def test_an_outage_ends_with_a_result_and_not_with_a_try(reporter: HealthReporter) -> None:
    """/health shows the reason until then. The log has the begin and the end, and not each try."""
    with capture_logs() as logged:
        for _ in range(3):
            reporter.begin_look()
            reporter.lose_touch("no answer")
            assert reporter.trouble is LoopState.OUT_OF_TOUCH
        reporter.begin_look()
        assert reporter.problems() == ["no answer"]
        reporter.work(120)
    assert reporter.problems() == []
    assert events(logged) == [("outage", "no answer"), ("outage over", "no answer")]


def test_waiting_logs_each_reason_once_and_its_end(reporter: HealthReporter, manager: FakeManager) -> None:
    with capture_logs() as logged:
        for reason in ("loading", "loading", "behind"):
            reporter.begin_look()
            reporter.wait(reason)
            assert reporter.trouble is LoopState.WAITING
            reporter.report_alive()
            assert manager.status == reason
        reporter.work(120)
    assert events(logged) == [("waiting", "loading"), ("waiting", "behind"), ("waiting over", "behind")]


def test_an_answering_bitcoind_that_is_behind_is_no_outage(reporter: HealthReporter) -> None:
    """The outage ends, and the daemon waits."""
    with capture_logs() as logged:
        reporter.lose_touch("no answer")
        reporter.wait("behind")
        assert reporter.problems() == ["behind"]
    assert events(logged) == [("outage", "no answer"), ("waiting", "behind"), ("outage over", "no answer")]


def test_the_time_between_tries_grows_to_a_limit_and_resets(reporter: HealthReporter) -> None:
    """A short outage ends soon, and a long one causes few calls."""
    seconds = [reporter.lose_touch("no answer") for _ in range(10)]
    assert seconds[0] == FIRST_RETRY_SECONDS
    assert seconds == sorted(seconds)
    assert seconds[-1] == MAX_RETRY_SECONDS
    reporter.work(120)
    assert reporter.lose_touch("no answer") == FIRST_RETRY_SECONDS


def test_a_slow_call_is_a_problem_while_it_lasts(reporter: HealthReporter) -> None:
    reporter.work(120)
    reporter.note_slow_call("getblock takes its time")
    assert reporter.problems() == ["getblock takes its time"]
    reporter.note_slow_call(None)
    assert reporter.problems() == []


def set_up(*advice: str) -> FeedSetUp:
    return FeedSetUp(Sources(), (), advice=advice)


def test_advice_is_no_problem_and_is_logged_once(reporter: HealthReporter) -> None:
    """A node that could do better hides no payment."""
    with capture_logs() as logged:
        reporter.note_node([], set_up("publish rawtx"))
        reporter.note_node([], set_up("publish rawtx"))
    assert (reporter.problems(), reporter.advice()) == ([], ["publish rawtx"])
    assert events(logged) == [("advice", "publish rawtx")]
    reporter.note_node([], set_up())
    assert reporter.advice() == []


def test_a_silent_source_that_bitcoind_names_is_advice(reporter: HealthReporter, feed: HealthyPart) -> None:
    """A source of the settings is a problem. During an outage, the outage explains the silence."""
    named, configured = (Source(("rawtx",), f"tcp://127.0.0.1:{port}", port == 1) for port in (1, 2))
    reporter.note_node([], set_up())
    reporter.work(120)
    feed.silent = [named]
    assert reporter.problems() == []
    (line,) = reporter.advice()
    assert "no ZMQ connection to rawtx at tcp://127.0.0.1:1" in line
    reporter.lose_touch("no answer")
    assert (reporter.problems(), reporter.advice()) == (["no answer"], [])
    reporter.work(120)
    feed.silent = [configured]
    assert (reporter.problems(), reporter.advice()) == (
        ["no ZMQ connection to rawtx at tcp://127.0.0.1:2"],
        [],
    )


def test_lost_messages_are_advice(reporter: HealthReporter) -> None:
    reporter.note_node([], set_up())
    reporter.note_feed(Batch(lost=1_200))
    reporter.note_feed(Batch(lost=34))
    (line,) = reporter.advice()
    assert "has lost 1,234 messages" in line
    assert reporter.problems() == []
