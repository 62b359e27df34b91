"""A daemon that has blocks to read says how far it is."""

from collections.abc import Iterable
from typing import Any

import pytest

from daemon import health as vitals
from daemon.chain import address_filter as addresses
from models.address import find_scripts
from models.daemon_status import beat, daemon_report
from tests.support.scenario import PATIENCE_SECONDS, Scenario

MISSED = 5


def test_health_knows_how_far_the_daemon_is_behind(stage: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it reads what it has missed: then statuses are old, and whoever looks must know it."""
    stage.begin()
    stage.daemon.stop()
    for _ in range(MISSED):
        stage.world.mine()
    seen: list[int] = []

    def heard(now: Any, node_height: int | None, *rest: Any) -> None:
        if node_height is not None:
            seen.append(node_height - daemon_report().assessed_height)
        beat(now, node_height, *rest)

    monkeypatch.setattr(vitals, "beat", heard)
    monkeypatch.setattr(vitals, "HEARTBEAT_SECONDS", 0)
    stage.daemon.start()
    assert stage.daemon.look(PATIENCE_SECONDS)
    assert seen[0] == MISSED
    assert seen[-1] == 0


def test_what_was_missed_is_looked_through_at_once(stage: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address table is asked once for all of it, not for each block: it may be on another machine."""
    stage.begin()
    stage.daemon.stop()
    for _ in range(MISSED):
        stage.world.mine()
    asked: list[set[bytes]] = []

    def ask(scripts: Iterable[bytes]) -> tuple[dict[bytes, int], int]:
        asked.append(set(scripts))
        return find_scripts(asked[-1])

    monkeypatch.setattr(addresses, "find_scripts", ask)
    stage.daemon.start()
    assert stage.daemon.look(PATIENCE_SECONDS)
    assert len(asked) == 1
