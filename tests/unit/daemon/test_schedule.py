"""The schedule of looks: at once after the start, soon for an open matter, else seldom."""

import pytest

from daemon.schedule import CHECK_SECONDS, MAX_PAUSE_SECONDS, RETRY_SECONDS, TICK_SECONDS, LookSchedule

INTERVAL = 60.0


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def schedule(clock: Clock) -> LookSchedule:
    return LookSchedule(INTERVAL, clock)


def pause(schedule: LookSchedule, clock: Clock) -> float:
    """Return the seconds until a look is due, in tenths."""
    tenths = 0
    while not schedule.is_look_due():
        tenths += 1
        clock.seconds += 0.1
    return tenths / 10


def test_a_look_and_a_check_are_due_at_the_start(schedule: LookSchedule) -> None:
    assert schedule.is_look_due()
    assert schedule.is_check_due()
    assert schedule.poll_seconds() == 0


def test_checks_have_an_interval(schedule: LookSchedule, clock: Clock) -> None:
    assert [schedule.is_check_due() for _ in range(2)] == [True, False]
    clock.seconds += CHECK_SECONDS
    assert schedule.is_check_due()


@pytest.mark.parametrize(
    ("is_settled", "is_feed_whole", "look_seconds", "expected"),
    [
        (True, True, 0.1, INTERVAL),
        (False, True, 0.1, RETRY_SECONDS),
        (False, False, 5.0, RETRY_SECONDS),
        (True, False, 0.5, 5.0),
        (True, False, 30.0, MAX_PAUSE_SECONDS),
    ],
)
def test_the_pause_after_a_look(
    schedule: LookSchedule,
    clock: Clock,
    is_settled: bool,
    is_feed_whole: bool,
    look_seconds: float,
    expected: float,
) -> None:
    """It is short after a look that left work. It grows with the look while a part of the feed is missing."""
    schedule.end_look(look_seconds, is_settled=is_settled, is_feed_whole=is_feed_whole)
    assert schedule.poll_seconds() == TICK_SECONDS
    assert pause(schedule, clock) == pytest.approx(expected, abs=0.11)


def test_a_look_comes_soon_after_a_new_connection(schedule: LookSchedule, clock: Clock) -> None:
    """The subscription may not have reached bitcoind yet."""
    schedule.note_connection()
    schedule.end_look(0.1, is_settled=True, is_feed_whole=True)
    assert pause(schedule, clock) == pytest.approx(RETRY_SECONDS, abs=0.11)
    schedule.end_look(0.1, is_settled=True, is_feed_whole=True)
    assert pause(schedule, clock) == pytest.approx(INTERVAL, abs=0.11)


def test_a_look_can_be_brought_forward_and_not_put_off(schedule: LookSchedule, clock: Clock) -> None:
    schedule.look_after(5)
    schedule.look_within(10)
    schedule.look_within(2)
    assert pause(schedule, clock) == pytest.approx(2, abs=0.11)


def test_a_retry_puts_a_look_off(schedule: LookSchedule, clock: Clock) -> None:
    schedule.look_within(0)
    schedule.look_after(4)
    assert pause(schedule, clock) == pytest.approx(4, abs=0.11)
