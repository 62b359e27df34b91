"""Long work tells how far it is, now and then."""

from collections.abc import Callable
from itertools import count

import pytest
from structlog.testing import CapturingLogger

from daemon import progress
from daemon.progress import TELL_SECONDS, Progress


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, object]]]:
    """The lines of the log so far."""
    logger = CapturingLogger()
    monkeypatch.setattr(progress, "log", logger)
    return lambda: [{"event": call.args[0], **call.kwargs} for call in logger.calls]


def test_a_line_comes_each_five_seconds(told: Callable[[], list[dict[str, object]]]) -> None:
    """With how much of it is done."""
    seconds = count(0, TELL_SECONDS / 2)
    work = Progress("catching up", 4, lambda: next(seconds))
    for done in range(1, 5):
        work.tell(done, height=100 + done)
    first, *_ = lines = told()
    assert first == {"event": "catching up", "done": 2, "total": 4, "height": 102}
    assert len(lines) < 4


def test_what_is_soon_done_has_no_line(told: Callable[[], list[dict[str, object]]]) -> None:
    """A block or two are told of by themselves."""
    work = Progress("catching up", 100, lambda: 0)
    for done in range(100):
        work.tell(done)
    assert told() == []
