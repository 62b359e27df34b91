"""What the functional tests start: a node with a customer, and tills on it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from config import load_settings
from daemon import health as vitals
from daemon import loop
from daemon.chain import mempool
from models.db.connection import disconnect
from models.db.lock import database_lock
from models.db.schema import open_database
from regtest.installation import settings_for
from regtest.node import RegtestNode
from tests.conftest import NewDatabase
from tests.support.chain_state import ChainState
from tests.support.customer import Customer
from tests.support.in_process_daemon import InProcessDaemon
from tests.support.merchant import Merchant
from tests.support.rows import new_seller
from tests.support.scenario import Scenario

MerchantMaker = Callable[..., Merchant]


@pytest.fixture(scope="module")
def regtest_node(start_node: Callable[..., RegtestNode]) -> RegtestNode:
    """A bitcoind that the tests of a module share; its customer has coins.

    They were mined an hour ago: blocks that are mined at once have times ahead of the clock, each six of them
    by a second more, and a payment is as old as its block.
    """
    node = start_node()
    node.rpc("setmocktime", int(datetime.now(UTC).timestamp()) - 3600)
    node.fund_customer()
    node.rpc("setmocktime", 0)
    return node


@pytest.fixture(scope="module")
def customer(regtest_node: RegtestNode) -> Customer:
    """Whoever pays, on the module's node."""
    return Customer(regtest_node)


@pytest.fixture(scope="module")
def make_till(
    regtest_node: RegtestNode,
    customer: Customer,
    new_database: NewDatabase,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[MerchantMaker]:
    """Tills on the module's node, with these settings: not open yet; they close with the module."""
    with ExitStack() as stack:

        def make(**settings: str) -> Merchant:
            directory = tmp_path_factory.mktemp("till")
            if "DATABASE_URL" not in settings:
                settings["DATABASE_URL"] = new_database(directory)
            till = Merchant(regtest_node, directory, **settings)
            stack.callback(till.close)
            return till

        yield make


@pytest.fixture(scope="module")
def till(make_till: MerchantMaker) -> Merchant:
    """A till with the default settings, which the tests of a module share."""
    return make_till().open()


@pytest.fixture
def stage(
    start_node: Callable[..., RegtestNode],
    new_database: NewDatabase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Scenario]:
    """A node, a database and a daemon, in a hurry."""
    monkeypatch.setattr(mempool, "DROP_GRACE", timedelta(seconds=0.3))
    monkeypatch.setattr(loop, "RETRY_SECONDS", 0.1)
    monkeypatch.setattr(loop, "CHECK_SECONDS", 0.2)
    monkeypatch.setattr(vitals, "FIRST_RETRY_SECONDS", 0.05)
    node = start_node()
    # …, load_on_startup: it is there again after a restart.
    node.rpc("createwallet", "nodetill", False, False, "", False, True, True)
    variables = settings_for(node, tmp_path) | {"DATABASE_URL": new_database(tmp_path)}
    settings = load_settings(variables, tmp_path)
    world = ChainState(node).begin()
    open_database(settings.database_url.reveal())
    lock = database_lock("daemon")
    assert lock.acquire()
    new_seller()
    daemon = InProcessDaemon(settings, lock)
    yield Scenario(world, daemon, settings)
    if daemon.is_up:
        daemon.stop()
    lock.release()
    disconnect()
