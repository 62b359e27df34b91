"""The address pool. A pool that fails does not order new addresses with each attempt."""

import resource
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from config import load_settings
from daemon.address_pool import BATCH_SIZE, AddressPool
from daemon.node.calls import RPC_CALLS
from daemon.node.client import LABEL, Bitcoind
from models.address import Address, free_count
from models.block import Block
from models.daemon_status import update_report
from models.db.connection import database, disconnect
from models.db.schema import open_database
from regtest.installation import settings_for
from regtest.node import RegtestNode, rpcauth
from tests.conftest import sqlite_in
from tests.functional.conftest import MerchantMaker
from tests.support.waiting import wait_until

PoolMaker = Callable[[dict[str, str]], AddressPool]

POOL = 20
SMALL_FILE = 4096
WALLET = "nodetill"


def _made(node: RegtestNode, wallet: str) -> int:
    """Return how many addresses the wallet has made for the pool."""
    return len(node.rpc("getaddressesbylabel", LABEL, wallet=wallet))


def test_a_full_disk_wastes_no_addresses(make_merchant: MerchantMaker, tmp_path: Path) -> None:
    """The daemon cannot store addresses, so it orders none, though the pool lacks three."""
    url = sqlite_in(tmp_path)  # PostgreSQL's files are not the daemon's
    merchant = make_merchant(ADDRESS_POOL=str(POOL), RECONCILE_INTERVAL="1", DATABASE_URL=url).open()
    merchant.wait_full()
    made = _made(merchant.node, merchant.wallet)
    resource.prlimit(merchant.daemon.pid, resource.RLIMIT_FSIZE, (SMALL_FILE, resource.RLIM_INFINITY))
    for _ in range(3):
        merchant.request()
    merchant.wait(lambda: merchant.health().document["daemon"]["heartbeat_age"] > 3, "have an old heartbeat")
    assert merchant.health().document["addresses"]["free"] == POOL - 3
    assert _made(merchant.node, merchant.wallet) == made
    resource.prlimit(merchant.daemon.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    merchant.wait_full()
    assert _made(merchant.node, merchant.wallet) == made + 3


@pytest.fixture
def node(start_node: Callable[..., RegtestNode]) -> RegtestNode:
    """Return a node with a user who may make addresses, but may not call validateaddress."""
    node = start_node(
        f"-{rpcauth('poor', 'p')}", f"-rpcwhitelist=poor:{','.join(RPC_CALLS - {'validateaddress'})}"
    )
    node.rpc("createwallet", WALLET)
    node.mine(1)
    return node


@pytest.fixture
def pool_settings(node: RegtestNode, database_url: str, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Yield settings with an open database that has read the node's chain."""
    open_database(database_url)
    tip = node.rpc("getblockchaininfo")
    now = datetime.now(UTC)
    Block.create(height=tip["blocks"], hash=tip["bestblockhash"], chainwork=tip["chainwork"], mined_at=now)
    yield settings_for(node, tmp_path) | {"DATABASE_URL": database_url, "ADDRESS_POOL": str(POOL)}
    disconnect()


@pytest.fixture
def make_pool(tmp_path: Path) -> Iterator[PoolMaker]:
    """Yield a maker of pools, whose connections end with the test."""
    nodes: list[Bitcoind] = []

    def make(settings: dict[str, str]) -> AddressPool:
        loaded = load_settings(settings, tmp_path)
        nodes.append(Bitcoind(loaded))
        pool = AddressPool(loaded, nodes[-1], lambda: datetime.now(UTC))
        pool.begin()
        return pool

    yield make
    for node in nodes:
        node.close()


def _try_often(pool: AddressPool) -> None:
    for _ in range(4):
        pool.run_once()


def test_a_refused_rpc_call_wastes_no_addresses(
    node: RegtestNode, pool_settings: dict[str, str], make_pool: PoolMaker
) -> None:
    """The wallet makes addresses, and the next call fails. Later that call works, and fills the pool."""
    poor = pool_settings | {"BITCOIND_RPC_URL": f"http://poor:p@127.0.0.1:{node.rpc_port}"}
    pool = make_pool(poor)
    _try_often(pool)
    assert pool.problem is not None
    assert "add it to rpcwhitelist" in pool.problem
    assert (_made(node, WALLET), free_count()) == (POOL, 0)
    _try_often(make_pool(poor))
    _try_often(make_pool(pool_settings))
    assert (_made(node, WALLET), free_count()) == (POOL, POOL)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # only SQLite limits its pages
def test_a_failed_insert_wastes_no_addresses(
    node: RegtestNode, pool_settings: dict[str, str], make_pool: PoolMaker
) -> None:
    """The database stores the order but not the addresses, as on a disk that is nearly full."""
    pool = make_pool(pool_settings | {"ADDRESS_POOL": str(BATCH_SIZE)})
    update_report(chain="regtest")
    database.execute_sql("VACUUM")
    for _ in range(4):
        database.execute_sql(f"PRAGMA max_page_count = {database.obj.pragma('page_count')}")
        pool.run_once()
    assert free_count() == 0
    assert _made(node, WALLET) == BATCH_SIZE
    disconnect()
    _try_often(pool)
    assert (_made(node, WALLET), free_count()) == (BATCH_SIZE, BATCH_SIZE)


def test_the_pool_completes_an_interrupted_order(
    node: RegtestNode, pool_settings: dict[str, str], make_pool: PoolMaker
) -> None:
    """The daemon was killed before it stored the wallet's addresses."""
    update_report(addresses_ordered=BATCH_SIZE)
    for _ in range(3):
        node.rpc("getnewaddress", LABEL, "bech32", wallet=WALLET)
    _try_often(make_pool(pool_settings))
    assert (_made(node, WALLET), free_count(), Address.select().count()) == (POOL, POOL, POOL)


def test_the_pool_fills_in_a_thread_and_stops(pool_settings: dict[str, str], make_pool: PoolMaker) -> None:
    pool = make_pool(pool_settings)
    pool.start()
    wait_until(lambda: free_count() == POOL, what="a full pool")
    assert pool.stop(10)


def test_a_node_with_less_work_makes_no_addresses(
    node: RegtestNode, pool_settings: dict[str, str], make_pool: PoolMaker
) -> None:
    """The node may not be the node of this database."""
    Block.update(chainwork="f" * 64).execute()
    pool = make_pool(pool_settings)
    _try_often(pool)
    assert pool.problem is not None
    assert "behind the one already read" in pool.problem
    assert _made_or_none(node) == 0


def _made_or_none(node: RegtestNode) -> int:
    labels: list[str] = node.rpc("listlabels", wallet=WALLET)
    return _made(node, WALLET) if LABEL in labels else 0
