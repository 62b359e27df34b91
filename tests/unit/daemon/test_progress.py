"""Long work logs its progress from time to time."""

from collections.abc import Callable
from itertools import count

import pytest
from structlog.testing import CapturingLogger

from daemon import progress
from daemon.progress import REPORT_SECONDS, Progress


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, object]]]:
    """Return a function that returns the log lines so far."""
    logger = CapturingLogger()
    monkeypatch.setattr(progress, "log", logger)
    return lambda: [{"event": call.args[0], **call.kwargs} for call in logger.calls]


def test_progress_is_logged_each_five_seconds(logged: Callable[[], list[dict[str, object]]]) -> None:
    seconds = count(0, REPORT_SECONDS / 2)
    work = Progress("catching up", 4, lambda: next(seconds))
    for done in range(1, 5):
        work.report(done, height=100 + done)
    first, *_ = lines = logged()
    assert first == {"event": "catching up", "done": 2, "total": 4, "height": 102}
    assert len(lines) < 4


def test_short_work_logs_no_progress(logged: Callable[[], list[dict[str, object]]]) -> None:
    """A block or two have log lines of their own."""
    work = Progress("catching up", 100, lambda: 0)
    for done in range(100):
        work.report(done)
    assert logged() == []
