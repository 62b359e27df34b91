"""A daemon that reads missed blocks reports its progress, and reads the address table once."""

from typing import Any

import pytest

from daemon import health
from models.daemon_status import beat, daemon_report
from tests.support.scenario import PATIENCE_SECONDS, Scenario

MISSED = 5


def test_the_heartbeat_has_the_number_of_missed_blocks(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Statuses are old while the daemon reads missed blocks, and /health shows the distance."""
    scenario.begin()
    scenario.daemon.stop()
    for _ in range(MISSED):
        scenario.chain.mine()
    seen: list[int] = []

    def record_beat(now: Any, node_height: int | None, *rest: Any) -> None:
        if node_height is not None:
            seen.append(node_height - daemon_report().assessed_height)
        beat(now, node_height, *rest)

    monkeypatch.setattr(health, "beat", record_beat)
    monkeypatch.setattr(health, "HEARTBEAT_SECONDS", 0)
    scenario.daemon.start()
    assert scenario.daemon.look(PATIENCE_SECONDS)
    assert seen[0] == MISSED
    assert seen[-1] == 0
