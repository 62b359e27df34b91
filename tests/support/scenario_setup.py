"""A scenario on a node: a chain with coins, an open database with a seller, and a daemon of this process."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from config import Settings, load_settings
from daemon.node.client import Bitcoind
from models.db.connection import disconnect
from models.db.lock import database_lock
from tests.support.chain_state import AnyNode, ChainState
from tests.support.in_memory_client import InMemoryFeed, InMemoryRpc
from tests.support.in_memory_miner import MiningNode
from tests.support.in_process_daemon import AnyFeed, Connect, InProcessDaemon
from tests.support.prepared_database import open_prepared
from tests.support.rows import new_seller
from tests.support.scenario import Scenario


@contextmanager
def scenario_on(
    node: AnyNode, variables: Mapping[str, str], directory: Path, connect: Connect, often_seconds: float
) -> Iterator[Scenario]:
    """Yield a scenario with these settings. The wallet `nodetill` must be there."""
    settings = load_settings(dict(variables), directory)
    chain = ChainState(node).begin()
    open_prepared(settings.database_url.reveal())
    lock = database_lock("daemon")
    assert lock.acquire()
    new_seller()
    daemon = InProcessDaemon(settings, lock, connect, often_seconds)
    yield Scenario(chain, daemon, settings)
    if daemon.is_up:
        daemon.stop()
    lock.release()
    disconnect()


@contextmanager
def scenario_in_memory(database_url: str, directory: Path, often_seconds: float) -> Iterator[Scenario]:
    """Yield a scenario on a node in memory."""
    node = MiningNode()
    node.rpc("createwallet", "nodetill")
    variables = {
        "DATABASE_URL": database_url,
        "RATE_SOURCES": "fixed:EUR=50000",
        "BITCOIND_REST": "off",
        "SMTP_URL": f"maildir:{directory / 'mail'}",
    }

    def connect(settings: Settings) -> tuple[Bitcoind, AnyFeed]:
        return Bitcoind(settings, InMemoryRpc(settings, node)), InMemoryFeed(node)

    with scenario_on(node, variables, directory, connect, often_seconds) as scenario:
        yield scenario
