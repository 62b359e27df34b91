"""Fixtures of the functional tests: a node with a customer, and merchants on it."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from admin.doctor import feed as feed_diagnosis
from daemon import health, schedule
from daemon.chain import mempool
from regtest.installation import settings_for
from regtest.node import RegtestNode
from regtest.process import StartPython, start_python
from tests.conftest import NewDatabase, sqlite_in
from tests.support.customer import Customer
from tests.support.fork_server import fork_python
from tests.support.in_memory_bitcoind import InMemoryBitcoind
from tests.support.in_process_daemon import OFTEN, connect_to_bitcoind
from tests.support.merchant import Merchant
from tests.support.postgres import PostgresServer
from tests.support.scenario import Scenario
from tests.support.scenario_setup import scenario_in_memory, scenario_on
from tests.support.web_role import RoleDatabase, stocked_role_database

MerchantMaker = Callable[..., Merchant]

EVERYWHERE = os.environ.get("TEST_NODE") == "bitcoind"
"""With TEST_NODE=bitcoind, as in `make soak`, all modules use a real bitcoind and new interpreters."""


@pytest.fixture(scope="module")
def regtest_node(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RegtestNode]:
    """Yield the module's node, whose customer has coins: a bitcoind, or a node in memory with its interfaces.

    Blocks that are mined at once have times ahead of the clock, by a second for
    every six of them. A payment is as old as its block.
    """
    yield from run_node(request, tmp_path_factory.mktemp("node"), is_real=_needs_bitcoind(request))


def run_node(request: pytest.FixtureRequest, directory: Path, *, is_real: bool) -> Iterator[RegtestNode]:
    """Yield a bitcoind, or a node in memory, whose customer has coins that are an hour old."""
    with ExitStack() as stack:
        if is_real:
            node = request.getfixturevalue("start_node")()
        else:
            node = InMemoryBitcoind(directory)
            node.launch()
            stack.callback(node.stop)
        node.rpc("setmocktime", int(datetime.now(UTC).timestamp()) - 3600)
        node.fund_customer()
        node.rpc("setmocktime", 0)
        yield cast(RegtestNode, node)


def _needs_bitcoind(request: pytest.FixtureRequest) -> bool:
    return EVERYWHERE or request.node.get_closest_marker("bitcoind") is not None


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RegtestNode]:
    """Yield a bitcoind for an installed package: with a wallet for Nodetill, and a customer with coins."""
    with RegtestNode.start(tmp_path / "bitcoind") as node:
        node.rpc("createwallet", "nodetill")
        node.fund_customer()
        yield node


@pytest.fixture(scope="module")
def customer(regtest_node: RegtestNode) -> Customer:
    """Return the customer on the module's node."""
    return Customer(regtest_node)


@pytest.fixture(scope="module")
def start_program() -> StartPython:
    """Return the function that starts a merchant's programs. In `make soak` it starts a new interpreter."""
    return start_python if EVERYWHERE else fork_python


@pytest.fixture(scope="module")
def make_merchant(
    regtest_node: RegtestNode,
    start_program: StartPython,
    customer: Customer,
    new_database: NewDatabase,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[MerchantMaker]:
    """Yield a maker of merchants on the module's node. They are not open yet, and close with the module."""
    with ExitStack() as stack:

        def make(**settings: str) -> Merchant:
            directory = tmp_path_factory.mktemp("till")
            if "DATABASE_URL" not in settings:
                settings["DATABASE_URL"] = new_database(directory)
            merchant = Merchant(regtest_node, directory, start_program, **settings)
            stack.callback(merchant.close)
            return merchant

        yield make


def run_on_sqlite(make_merchant: MerchantMaker, directory: Path, pool: int) -> Iterator[Merchant]:
    """Yield a merchant with a full pool, for a test that exchanges its SQLite file or its wallet.

    The daemon reconciles by itself only after an hour.
    """
    settings = {"DATABASE_URL": sqlite_in(directory), "RECONCILE_INTERVAL": "3600"}
    merchant = make_merchant(ADDRESS_POOL=str(pool), **settings).open()
    merchant.wait_full()
    yield merchant
    merchant.close()


@pytest.fixture(scope="module")
def merchant(make_merchant: MerchantMaker) -> Merchant:
    """Return an open merchant with the default settings, for all tests of a module."""
    return make_merchant().open()


@pytest.fixture
def scenario(
    request: pytest.FixtureRequest,
    new_database: NewDatabase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Scenario]:
    """Yield a node, a database and a daemon with short times. The node is in memory as in `regtest_node`."""
    with ExitStack() as stack:
        if _needs_bitcoind(request):
            _shorten_times(monkeypatch, 1.0)
            node = request.getfixturevalue("start_node")()
            # The last argument is load_on_startup, so bitcoind loads the wallet after a restart.
            node.rpc("createwallet", "nodetill", False, False, "", False, True, True)
            variables = settings_for(node, tmp_path) | {"DATABASE_URL": new_database(tmp_path)}
            context = scenario_on(node, variables, tmp_path, connect_to_bitcoind, OFTEN)
        else:
            _shorten_times(monkeypatch, 0.1)
            context = scenario_in_memory(new_database(tmp_path), tmp_path, OFTEN / 10)
        yield stack.enter_context(context)


def _shorten_times(monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    monkeypatch.setattr(mempool, "DROP_GRACE", timedelta(seconds=0.3 * factor))
    monkeypatch.setattr(schedule, "RETRY_SECONDS", 0.1 * factor)
    monkeypatch.setattr(schedule, "CHECK_SECONDS", 0.2 * factor)
    monkeypatch.setattr(health, "FIRST_RETRY_SECONDS", 0.05 * factor)


@pytest.fixture
def short_listening(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let the doctor listen to a quiet node for a short time only, in a directory without .env."""
    monkeypatch.setattr(feed_diagnosis, "LISTEN_SECONDS", 0.3)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def role_database(postgres: PostgresServer) -> Iterator[RoleDatabase]:
    """Create a database with a seller, prices and addresses, and grant the web server's rights."""
    with stocked_role_database(postgres) as made:
        yield made
