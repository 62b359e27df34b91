"""A clock that was wrong for a while has no effect after its correction."""

from datetime import UTC, datetime, timedelta

import pytest

from daemon import loop, reconciler
from tests.support.scenario import PATIENCE_SECONDS, Scenario


def test_a_clock_that_was_a_day_ahead_expires_no_later_request(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine starts with a wrong clock, and NTP corrects it. A new request then has its full time."""
    scenario.begin()
    scenario.daemon.stop()
    with monkeypatch.context() as wrong:
        for module in (loop, reconciler):
            wrong.setattr(module, "_now", lambda: datetime.now(UTC) + timedelta(days=1))
        scenario.daemon.start()
        assert scenario.daemon.look(PATIENCE_SECONDS)
    request = scenario.request(2_000, expiry=timedelta(hours=1))
    scenario.pay([(request, 1_000)])
    scenario.settle()
    assert request.row().status == "underpaid"
