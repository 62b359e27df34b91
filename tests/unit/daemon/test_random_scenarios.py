"""The database is right after each step of random scenarios, on a node in memory.

NODETILL_MEMORY_STORIES is the number of scenarios. If it is set, they differ at each run.
tests/functional/test_model.py runs the same scenarios on a real bitcoind."""

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest

from config import Settings, load_settings
from daemon import health, loop
from daemon.chain import mempool
from daemon.node.client import Bitcoind
from models.db.connection import disconnect
from models.db.lock import database_lock
from models.db.schema import open_database
from tests.support import random_scenario, scenario
from tests.support.chain_state import ChainState
from tests.support.in_memory_client import InMemoryFeed, InMemoryRpc
from tests.support.in_memory_node import InMemoryNode
from tests.support.in_process_daemon import AnyFeed, InProcessDaemon
from tests.support.random_scenario import RandomScenario
from tests.support.rows import new_seller
from tests.support.scenario import Scenario

SCENARIOS, STEPS = int(os.environ.get("NODETILL_MEMORY_STORIES", "0")), 15


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
def stage(fast_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scenario]:
    """Start a node in memory, a database and a daemon, with short waits."""
    monkeypatch.setattr(mempool, "DROP_GRACE", timedelta(seconds=0.03))
    monkeypatch.setattr(loop, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(health, "FIRST_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(scenario, "HELD", timedelta(seconds=0.05))
    monkeypatch.setattr(
        random_scenario,
        "EXPIRIES",
        (scenario.LONG,) * 4 + (timedelta(seconds=0.02), timedelta(seconds=0.1)),
    )
    node = InMemoryNode()
    node.rpc("createwallet", "nodetill")
    variables = {
        "DATABASE_URL": f"sqlite:///{fast_directory / 'nodetill.db'}",
        "RATE_SOURCES": "fixed:EUR=50000",
        "BITCOIND_REST": "off",
        "SMTP_URL": f"maildir:{fast_directory / 'mail'}",
    }
    settings = load_settings(variables, fast_directory)

    def connect(settings: Settings) -> tuple[Bitcoind, AnyFeed]:
        return Bitcoind(settings, InMemoryRpc(settings, node)), InMemoryFeed(node)

    world = ChainState(node).begin()
    open_database(settings.database_url.reveal())
    lock = database_lock("daemon")
    assert lock.acquire()
    new_seller()
    daemon = InProcessDaemon(settings, lock, connect, often_seconds=0.02)
    yield Scenario(world, daemon, settings)
    if daemon.is_up:
        daemon.stop()
    lock.release()
    disconnect()


def test_the_database_is_right_after_each_step_of_a_random_scenario(stage: Scenario) -> None:
    """Outputs, statuses and events are compared with bitcoind's chain and mempool."""
    seeds = Random() if SCENARIOS else Random(1)
    for _ in range(SCENARIOS or 12):
        stage.begin()
        steps = RandomScenario(stage, seeds.getrandbits(32))
        # Several things have happened, and the daemon may have processed some of them before the others.
        stage.is_rough = True
        for _ in range(STEPS):
            steps.go_on()
            stage.settle()
        stage.end()
