"""The daemon's states: what /health and systemd show of each, and what the log has of their changes."""

from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from daemon.counters import Counters
from daemon.health import FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS, HealthReporter
from daemon.state import State


class Quiet:
    """A feed that is connected, and an address pool that is full."""

    problem = None

    def silent_topics(self) -> list[str]:
        return []


class Manager:
    """systemd, as far as it gets a status."""

    def __init__(self) -> None:
        self.status = ""
        self.is_told_ready = False

    def alive(self, status: str) -> None:
        self.status = status


@pytest.fixture
def manager() -> Manager:
    return Manager()


@pytest.fixture
def vitals(manager: Manager) -> HealthReporter:
    quiet = cast(Any, Quiet())
    return HealthReporter(quiet, quiet, (), cast(Any, None), cast(Any, manager), Counters())


def events(logged: list[Any]) -> list[tuple[str, str]]:
    return [(line["event"], line["reason"]) for line in logged]


def test_a_look_that_finds_all_is_work(vitals: HealthReporter, manager: Manager) -> None:
    """From the start over reading to a tip; none of it is a problem."""
    states = [vitals.state]
    vitals.begin_look()
    states.append(vitals.state)
    vitals.tell_alive()
    assert manager.status == "reading the chain"
    vitals.work(120)
    states.append(vitals.state)
    assert states == [State.STARTING, State.READING, State.WORKING]
    vitals.tell_alive()
    assert manager.status == "at block 120"
    assert vitals.problems() == []


def test_a_look_does_not_end_trouble_but_its_result_does(vitals: HealthReporter) -> None:
    """/health shows the reason until then; the log has the beginning and the end, not each try."""
    with capture_logs() as logged:
        for _ in range(3):
            vitals.begin_look()
            vitals.lose_touch("no answer")
            assert vitals.state is State.OUT_OF_TOUCH
        vitals.begin_look()
        assert vitals.problems() == ["no answer"]
        vitals.work(120)
    assert vitals.problems() == []
    assert events(logged) == [("outage", "no answer"), ("outage over", "no answer")]


def test_waiting_has_a_line_for_each_reason_and_one_for_its_end(
    vitals: HealthReporter, manager: Manager
) -> None:
    """A reason that stays has no second line."""
    with capture_logs() as logged:
        for reason in ("loading", "loading", "behind"):
            vitals.begin_look()
            vitals.wait(reason)
            assert vitals.state is State.WAITING
            vitals.tell_alive()
            assert manager.status == reason
        vitals.work(120)
    assert events(logged) == [("waiting", "loading"), ("waiting", "behind"), ("waiting over", "behind")]


def test_bitcoind_that_answers_again_and_is_behind_is_no_outage(vitals: HealthReporter) -> None:
    """The outage is over, and the daemon waits."""
    with capture_logs() as logged:
        vitals.lose_touch("no answer")
        vitals.wait("behind")
        assert vitals.problems() == ["behind"]
    assert events(logged) == [("outage", "no answer"), ("waiting", "behind"), ("outage over", "no answer")]


def test_the_time_between_tries_grows_to_an_end_and_begins_anew(vitals: HealthReporter) -> None:
    """So that a short outage is short, and a long one costs nothing."""
    seconds = [vitals.lose_touch("no answer") for _ in range(10)]
    assert seconds[0] == FIRST_RETRY_SECONDS
    assert seconds == sorted(seconds)
    assert seconds[-1] == LONGEST_RETRY_SECONDS
    vitals.work(120)
    assert vitals.lose_touch("no answer") == FIRST_RETRY_SECONDS


def test_a_slow_call_is_a_problem_for_as_long_as_it_is_slow(vitals: HealthReporter) -> None:
    """Whatever the state is."""
    vitals.work(120)
    vitals.note_slow_call("getblock takes its time")
    assert vitals.problems() == ["getblock takes its time"]
    vitals.note_slow_call(None)
    assert vitals.problems() == []
