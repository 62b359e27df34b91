"""The database is right after each step of random scenarios, on a node in memory.

NODETILL_MEMORY_STORIES is the number of scenarios. If it is set, they differ at each run.
tests/functional/test_random_scenarios.py runs the same scenarios on a real bitcoind."""

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest

from daemon import health, schedule
from daemon.chain import mempool
from tests.support.needs import examples
from tests.support.random_scenario import RandomScenario
from tests.support.scenario import LONG, Scenario
from tests.support.scenario_setup import scenario_in_memory

SCENARIOS, STEPS = int(os.environ.get("NODETILL_MEMORY_STORIES", "0")), 15

ORPHANED_ANCESTOR = 4665
"""A seed. A reorg takes a payment's ancestor out of its block, and a rival of the ancestor is mined."""


@pytest.fixture
def fast_directory(tmp_path: Path) -> Iterator[Path]:
    """Return a directory in memory if there is one, since these tests do not need a durable disk."""
    memory = Path("/dev/shm")
    if not memory.is_dir():
        yield tmp_path
        return
    with TemporaryDirectory(dir=memory) as directory:
        yield Path(directory)


@pytest.fixture
def scenario(fast_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scenario]:
    """Start a node in memory, a database and a daemon, with short waits."""
    monkeypatch.setattr(mempool, "DROP_GRACE", timedelta(seconds=0.03))
    monkeypatch.setattr(schedule, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(health, "FIRST_RETRY_SECONDS", 0.01)
    monkeypatch.setattr("tests.support.scenario.HELD", timedelta(seconds=0.05))
    expiries = (LONG,) * 4 + (timedelta(seconds=0.02), timedelta(seconds=0.1))
    monkeypatch.setattr("tests.support.random_scenario.EXPIRIES", expiries)
    database_url = f"sqlite:///{fast_directory / 'nodetill.db'}"
    with scenario_in_memory(database_url, fast_directory, often_seconds=0.02) as scenario_:
        yield scenario_


def test_the_database_is_right_after_each_step_of_a_random_scenario(scenario: Scenario) -> None:
    """Outputs, statuses and events are compared with bitcoind's chain and mempool."""
    seeds = Random() if SCENARIOS else Random(1)
    for number in range(SCENARIOS or examples(15)):
        scenario.begin()
        steps = RandomScenario(scenario, seeds.getrandbits(32) if number else ORPHANED_ANCESTOR)
        # Several things have happened, and the daemon may have processed some of them before the others.
        scenario.is_rough = True
        for _ in range(STEPS):
            steps.go_on()
            scenario.settle()
        scenario.end()
