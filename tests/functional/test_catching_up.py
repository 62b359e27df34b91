"""A daemon that reads missed blocks reports its progress, and reads the address table once."""

from collections.abc import Iterable
from typing import Any

import pytest

from daemon import health
from daemon.chain import watchlist
from models.address import find_scripts
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


def test_the_scripts_of_all_missed_blocks_are_looked_up_at_once(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database may be on another machine, so the daemon sends one query for all blocks."""
    scenario.begin()
    scenario.daemon.stop()
    for _ in range(MISSED):
        scenario.chain.mine()
    queried: list[set[bytes]] = []

    def record_query(scripts: Iterable[bytes]) -> dict[bytes, int]:
        queried.append(set(scripts))
        return find_scripts(queried[-1])

    monkeypatch.setattr(watchlist, "find_scripts", record_query)
    scenario.daemon.start()
    assert scenario.daemon.look(PATIENCE_SECONDS)
    assert len(queried) == 1
