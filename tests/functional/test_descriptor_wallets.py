"""Wallets of descriptors on a bitcoind with disablewallet=1. No call of bitcoind's wallet is ever made."""

import json
import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from daemon.node.rpc import DESCRIPTOR_CALLS, RPC_CALLS, WALLET_CALLS
from models.address import Address
from models.output import Output
from models.wallet import LOOKAHEAD, wallet_named
from regtest.node import RegtestNode
from tests.conftest import NewDatabase, sqlite_in
from tests.functional.test_wallet_add import TPUB
from tests.support.chain_state import ChainState
from tests.support.merchant import SELLER, Merchant, Order
from tests.support.scenario import FEE_SATS
from tests.support.tx_builder import BuiltTransaction

pytestmark = pytest.mark.bitcoind

POOL = 5
BRANCHES = count()
COINS = 60
ALLOWED = ",".join(sorted(RPC_CALLS - WALLET_CALLS | DESCRIPTOR_CALLS))


@pytest.fixture(scope="session")
def new_database() -> NewDatabase:
    """Return a maker of SQLite databases, because a test puts back the copy of a file."""
    return sqlite_in


@pytest.fixture(scope="module")
def world(start_node: Callable[..., RegtestNode]) -> ChainState:
    """Return a node without wallets, which logs each call, with coins that anyone can spend.

    Nodetill's user may make no call of a wallet, and no call of `wallet add`.
    """
    node = start_node("-disablewallet=1", "-debug=rpc", f"-rpcwhitelist=nodetill:{ALLOWED}")
    world = ChainState(node).begin()
    world.settle(COINS, 1)
    return world


@pytest.fixture
def till(world: ChainState, tmp_path: Path) -> Iterator[Merchant]:
    """Yield an open merchant whose default wallet is a descriptor."""
    till = new_till(world, tmp_path)
    yield till
    till.close()
    assert calls_of_wallets(world.node) == set()


def new_till(world: ChainState, directory: Path) -> Merchant:
    assert isinstance(world.node, RegtestNode)
    till = Merchant(
        world.node,
        directory,
        ADDRESS_POOL=str(POOL),
        RECONCILE_INTERVAL="3600",
        DATABASE_URL=sqlite_in(directory),
    )
    # The tests share a chain, so each has addresses of its own.
    key = f"wpkh({TPUB}/{next(BRANCHES)}/*)"
    till.installation.manage_json("wallet", "add", "shop", key, "--start-index", "0", "--default")
    return till.open(has_wallet=False)


def calls_of_wallets(node: Any) -> set[str]:
    """Return the calls of bitcoind's wallet that bitcoind has logged."""
    lines = (node.datadir / "regtest" / "debug.log").read_text(encoding="utf-8").splitlines()
    called = {line.rpartition("method=")[2].split()[0] for line in lines if "ThreadRPCServer method=" in line}
    assert "deriveaddresses" in called
    return called & WALLET_CALLS


def pay(world: ChainState, script: bytes, amount_sats: int, *, is_public: bool = True) -> BuiltTransaction:
    made = world.build_transaction([world.coin()], [(script, amount_sats)], FEE_SATS)
    if is_public:
        assert world.publish(made)
    return made


def script_of(world: ChainState, address: str) -> bytes:
    return bytes.fromhex(world.node.rpc("validateaddress", address)["scriptPubKey"])


def pay_order(world: ChainState, order: Order, *, is_public: bool = True) -> BuiltTransaction:
    return pay(world, script_of(world, order.address), order.amount_sats, is_public=is_public)


def index_of(till: Merchant, order: Order) -> int:
    with till.database():
        index = Address.get(Address.address == order.address).derivation_index
        assert index is not None
        return index


def derived(till: Merchant, index: int) -> str:
    """Return an address of the wallet shop."""
    with till.database():
        wallet = wallet_named("shop")
        assert wallet is not None
        return str(till.node.rpc("deriveaddresses", wallet.descriptor, [index, index])[0])


def test_a_payment_from_request_to_confirmation(till: Merchant, world: ChainState) -> None:
    """The addresses are given in the descriptor's order."""
    orders = [till.request(confirmations=1) for _ in range(POOL + 3)]
    assert [order.address for order in orders] == [derived(till, index) for index in range(POOL + 3)]
    paid = pay_order(world, orders[1])
    orders[1].wait("received")
    world.mine([paid])
    orders[1].wait("confirmed")
    orders[1].wait_told("received", "confirmed")
    assert orders[0].now()["status"] == "new"
    till.wait(lambda: till.health().document["addresses"]["free"] == POOL, "fill the pool again")


def test_payments_while_the_daemon_is_down_are_found(till: Merchant, world: ChainState) -> None:
    """One is in a block, and another only in the mempool, which the daemon reads by itself."""
    mined, waiting = till.request(confirmations=1), till.request()
    till.daemon.stop()
    world.mine([pay_order(world, mined)])
    pay_order(world, waiting)
    till.daemon.start()
    mined.wait("confirmed")
    waiting.wait("received")
    till.wait_well()
    till.daemon.kill()
    again = till.request()
    pay_order(world, again)
    till.daemon.start()
    again.wait("received")


def test_doctor_and_audit_need_no_wallet(till: Merchant, world: ChainState) -> None:
    order = till.request(confirmations=1)
    world.mine([pay_order(world, order)])
    order.wait("confirmed")
    report = json.loads(till.installation.manage("doctor", "--json").stdout)
    found = {(each["part"], each["state"]): each["text"] for each in report["findings"]}
    assert "bitcoind derives the addresses of shop" in found["wallet", "ok"]
    assert "can't spend" in found["rpc user", "ok"]
    assert found["wallets", "ok"] == "in use: shop"
    done = till.installation.manage("audit", "--json")
    audit = json.loads(done.stdout)
    assert (audit["differences"], audit["not_checked"], done.returncode) == ([], [], 0)


def test_each_sellers_wallet_has_its_own_pool(till: Merchant, world: ChainState) -> None:
    till.installation.manage_json(
        "wallet", "add", "vault", f"tr({TPUB}/{next(BRANCHES)}/*)", "--start-index", "7"
    )
    till.installation.manage_json("seller", "set", SELLER, "--wallet", "vault")

    def has_both() -> bool:
        figures = till.installation.manage_json("wallet", "list")
        return [each["free"] for each in figures if each["in_use"]] == [POOL, POOL]

    till.wait(has_both, "fill both pools")
    order = till.request()
    assert order.address.startswith("bcrt1p")
    assert index_of(till, order) == 7
    pay_order(world, order)
    order.wait("received")
    listed = {each["wallet"]: each for each in till.installation.manage_json("wallet", "list")}
    assert (listed["vault"]["next_index"], listed["vault"]["last_paid_index"]) == (8, 7)
    labels = [
        json.loads(line) for line in till.installation.manage("wallet", "labels", "vault").stdout.splitlines()
    ]
    assert labels[0] == {"type": "addr", "ref": order.address, "label": order.id}
    assert [each["type"] for each in labels] == ["addr", "tx"]
    till.installation.manage_json("seller", "set", SELLER, "--no-wallet")
    assert till.request().address.startswith("bcrt1q")


def test_an_empty_pool_refuses_the_requests_of_its_sellers_alone(till: Merchant) -> None:
    """/health names the wallet."""
    till.wait(lambda: till.health().document["addresses"]["free"] == POOL, "fill the pool")
    till.daemon.stop()
    till.installation.manage_json("wallet", "add", "vault", f"tr({TPUB}/0/*)", "--start-index", "0")
    till.installation.manage_json("seller", "set", SELLER, "--wallet", "vault")
    body = {"amount_fiat": "10.00", "currency": "EUR"}
    assert till.client.post("/api/v1/payments", body).status == 503
    assert any("no free addresses in wallet vault" in line for line in till.problems())
    till.installation.manage_json("seller", "set", SELLER, "--no-wallet")
    assert till.client.post("/api/v1/payments", body).status == 201


def test_money_beyond_the_pool_is_recorded_and_the_wallet_goes_on_behind(
    till: Merchant, world: ChainState
) -> None:
    """Another program has given the address, and may have given those before it."""
    till.request()
    beyond = POOL + 200
    paid = pay(world, script_of(world, derived(till, beyond)), 5_000)
    till.daemon.wait_for_line("output seen", paid.txid)
    till.wait(lambda: index_of(till, till.request()) > beyond, "go on behind the address")
    done = till.installation.manage("audit")
    assert "belongs to no request, and 5000 sats came to it" in done.stdout


@pytest.mark.parametrize(
    "place", ["addresses-derived.written", "addresses-derived.committed", "rpc.deriveaddresses"]
)
def test_a_daemon_killed_while_it_derives_gives_no_address_twice(till: Merchant, place: str) -> None:
    till.wait(lambda: till.health().document["addresses"]["free"] == POOL, "fill the pool")
    till.daemon.stop()
    till.daemon.environ["NODETILL_FAILPOINT"] = place
    till.daemon.start()
    given = [till.request().address]
    till.wait(lambda: not till.daemon.is_running, "be killed")
    del till.daemon.environ["NODETILL_FAILPOINT"]
    till.daemon.start()
    given += [till.request().address for _ in range(POOL + 2)]
    assert len(set(given)) == POOL + 3
    assert not any("older copy" in line for line in till.daemon.lines())


@pytest.mark.parametrize("way", ["backup", "file", "directory", "new machine"])
def test_an_older_copy_of_the_database_gives_no_address_twice(
    till: Merchant, world: ChainState, tmp_path: Path, way: str
) -> None:
    """All that may have been given is skipped, and money that comes to it is recorded."""
    till.request()
    till.wait(lambda: till.health().document["addresses"]["free"] == POOL, "fill the pool")
    path, copy = tmp_path / "nodetill.db", tmp_path / "copy"
    copy.mkdir()
    if way == "backup":
        till.installation.manage_json("database", "backup", str(copy / "nodetill.db"))
    else:
        till.installation.stop()
        for each in tmp_path.glob("nodetill.db*"):
            shutil.copy2(each, copy / each.name)
        till.installation.start()
    lost = [till.request() for _ in range(2 * POOL)]
    till.wait(lambda: till.health().document["addresses"]["free"] == POOL, "fill the pool")
    till.installation.stop()
    mined = pay_order(world, lost[-1])
    world.mine([mined])
    waiting = pay_order(world, lost[0])
    for each in tmp_path.glob("nodetill.db*"):
        if way in ("directory", "new machine") or "witness" not in each.name:
            each.unlink()
    for each in copy.iterdir():
        if way == "directory" or "witness" not in each.name:
            shutil.copy2(each, tmp_path / each.name)
    assert path.exists()
    for place in ("addresses-skipped.written", "addresses-skipped.committed") if way == "backup" else ():
        till.daemon.environ["NODETILL_FAILPOINT"] = place
        till.daemon.start()
        till.daemon.wait()
    till.daemon.environ.pop("NODETILL_FAILPOINT", None)
    till.daemon.start()
    if way != "backup":
        till.daemon.wait_for_line("older copy of the database")
    till.web.start()
    till.installation.wait_ready()
    given = [till.request() for _ in range(POOL + 2)]
    assert not {order.address for order in given} & {order.address for order in lost}
    assert index_of(till, given[0]) >= POOL + 1 + LOOKAHEAD

    def is_stored() -> bool:
        with till.database():
            return {output.txid for output in Output.select()} == {mined.txid, waiting.txid}

    till.wait(is_stored, "record the payments to addresses that were given since the copy")
    assert "addresses in a row of wallet shop are unpaid" in " ".join(
        till.installation.manage("doctor").stdout.split()
    )
    till.daemon.stop()
    till.daemon.start()
    till.daemon.wait_for_line("feed connected")
    till.request()
    assert not any("older copy" in line for line in till.daemon.lines())


def test_retire_pool_skips_as_many_as_ordered(till: Merchant) -> None:
    """The operator may know that the shop was busy."""
    till.request()
    till.daemon.stop()
    till.installation.manage_json("database", "retire-pool", "--skip", "2500")
    with till.database():
        wallet = wallet_named("shop")
        assert wallet is not None
        wanted = wallet.watched_until + 2500
    till.daemon.start()
    assert index_of(till, till.request()) == wanted
