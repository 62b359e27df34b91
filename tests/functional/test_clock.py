"""A clock that is wrong for a while: what it did is over when it is right again."""

from datetime import UTC, datetime, timedelta

import pytest

from daemon import loop
from tests.support.scenario import PATIENCE_SECONDS, Scenario


def test_a_clock_that_was_a_day_ahead_expires_no_later_request(
    stage: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that starts with a wrong clock and is set right by NTP: a new request has its whole time."""
    stage.begin()
    stage.daemon.stop()
    with monkeypatch.context() as wrong:
        wrong.setattr(loop, "_now", lambda: datetime.now(UTC) + timedelta(days=1))
        stage.daemon.start()
        assert stage.daemon.look(PATIENCE_SECONDS)
    account = stage.request(2_000, expiry=timedelta(hours=1))
    stage.pay([(account, 1_000)])
    stage.settle()
    assert account.row().status == "underpaid"
