"""A clock that was wrong for a while has no effect after its correction."""

from datetime import UTC, datetime, timedelta

import pytest

from daemon import loop, reconciler
from tests.support.scenario import PATIENCE_SECONDS, Scenario


def test_a_clock_that_was_a_day_ahead_expires_no_later_request(
    stage: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine starts with a wrong clock, and NTP corrects it. A new request then has its full time."""
    stage.begin()
    stage.daemon.stop()
    with monkeypatch.context() as wrong:
        for module in (loop, reconciler):
            wrong.setattr(module, "_now", lambda: datetime.now(UTC) + timedelta(days=1))
        stage.daemon.start()
        assert stage.daemon.look(PATIENCE_SECONDS)
    request = stage.request(2_000, expiry=timedelta(hours=1))
    stage.pay([(request, 1_000)])
    stage.settle()
    assert request.row().status == "underpaid"
