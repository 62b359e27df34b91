"""Wallets of descriptors on a bitcoind with disablewallet=1. No call of bitcoind's wallet is ever made."""

import json
import shutil
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from daemon.node.calls import DESCRIPTOR_CALLS, RPC_CALLS, WALLET_CALLS
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
def chain(start_node: Callable[..., RegtestNode]) -> ChainState:
    """Return a node without wallets, which logs each call, with coins that anyone can spend.

    Nodetill's user may make no call of a wallet, and no call of `wallet add`.
    """
    node = start_node("-disablewallet=1", "-debug=rpc", f"-rpcwhitelist=nodetill:{ALLOWED}")
    chain = ChainState(node).begin()
    chain.settle(COINS, 1)
    return chain


@pytest.fixture
def merchant(chain: ChainState, tmp_path: Path) -> Iterator[Merchant]:
    """Yield an open merchant whose default wallet is a descriptor."""
    merchant = new_merchant(chain, tmp_path)
    yield merchant
    merchant.close()
    assert calls_of_wallets(chain.node) == set()


def new_merchant(chain: ChainState, directory: Path) -> Merchant:
    assert isinstance(chain.node, RegtestNode)
    merchant = Merchant(
        chain.node,
        directory,
        ADDRESS_POOL=str(POOL),
        RECONCILE_INTERVAL="3600",
        DATABASE_URL=sqlite_in(directory),
    )
    # The tests share a chain, so each has addresses of its own.
    key = f"wpkh({TPUB}/{next(BRANCHES)}/*)"
    merchant.installation.manage_json("wallet", "add", "shop", key, "--start-index", "0", "--default")
    return merchant.open(has_wallet=False)


def calls_of_wallets(node: Any) -> set[str]:
    """Return the calls of bitcoind's wallet that bitcoind has logged."""
    lines = (node.datadir / "regtest" / "debug.log").read_text(encoding="utf-8").splitlines()
    called = {line.rpartition("method=")[2].split()[0] for line in lines if "ThreadRPCServer method=" in line}
    assert "deriveaddresses" in called
    return called & WALLET_CALLS


def pay(chain: ChainState, script: bytes, amount_sats: int, *, is_public: bool = True) -> BuiltTransaction:
    made = chain.build_transaction([chain.coin()], [(script, amount_sats)], FEE_SATS)
    if is_public:
        assert chain.publish(made)
    return made


def script_of(chain: ChainState, address: str) -> bytes:
    return bytes.fromhex(chain.node.rpc("validateaddress", address)["scriptPubKey"])


def pay_order(chain: ChainState, order: Order, *, is_public: bool = True) -> BuiltTransaction:
    return pay(chain, script_of(chain, order.address), order.amount_sats, is_public=is_public)


def index_of(merchant: Merchant, order: Order) -> int:
    with merchant.database():
        index = Address.get(Address.address == order.address).derivation_index
        assert index is not None
        return index


def derived(merchant: Merchant, index: int) -> str:
    """Return an address of the wallet shop."""
    with merchant.database():
        wallet = wallet_named("shop")
        assert wallet is not None
        return str(merchant.node.rpc("deriveaddresses", wallet.descriptor, [index, index])[0])


def test_a_payment_from_request_to_confirmation(merchant: Merchant, chain: ChainState) -> None:
    """The addresses are given in the descriptor's order."""
    orders = [merchant.request(confirmations=1) for _ in range(POOL + 3)]
    assert [order.address for order in orders] == [derived(merchant, index) for index in range(POOL + 3)]
    paid = pay_order(chain, orders[1])
    orders[1].wait("received")
    chain.mine([paid])
    orders[1].wait("confirmed")
    orders[1].wait_told("received", "confirmed")
    assert orders[0].now()["status"] == "new"
    merchant.wait_full()


def test_payments_while_the_daemon_is_down_are_found(merchant: Merchant, chain: ChainState) -> None:
    """One is in a block, and another only in the mempool, which the daemon reads by itself."""
    mined, waiting = merchant.request(confirmations=1), merchant.request()
    merchant.daemon.stop()
    chain.mine([pay_order(chain, mined)])
    pay_order(chain, waiting)
    merchant.daemon.start()
    mined.wait("confirmed")
    waiting.wait("received")
    merchant.wait_well()
    merchant.daemon.kill()
    again = merchant.request()
    pay_order(chain, again)
    merchant.daemon.start()
    again.wait("received")


def test_doctor_and_audit_need_no_wallet(merchant: Merchant, chain: ChainState) -> None:
    order = merchant.request(confirmations=1)
    chain.mine([pay_order(chain, order)])
    order.wait("confirmed")
    report = json.loads(merchant.installation.manage("doctor", "--json").stdout)
    found = {(each["part"], each["state"]): each["text"] for each in report["findings"]}
    assert "bitcoind derives the addresses of shop" in found["wallet", "ok"]
    assert "can't spend" in found["rpc user", "ok"]
    assert found["wallets", "ok"] == "in use: shop"
    done = merchant.installation.manage("audit", "--json")
    audit = json.loads(done.stdout)
    assert (audit["differences"], audit["not_checked"], done.returncode) == ([], [], 0)


def test_each_sellers_wallet_has_its_own_pool(merchant: Merchant, chain: ChainState) -> None:
    merchant.installation.manage_json(
        "wallet", "add", "vault", f"tr({TPUB}/{next(BRANCHES)}/*)", "--start-index", "7"
    )
    merchant.installation.manage_json("seller", "set", SELLER, "--wallet", "vault")

    def has_both() -> bool:
        figures = merchant.installation.manage_json("wallet", "list")
        return [each["free"] for each in figures if each["in_use"]] == [POOL, POOL]

    merchant.wait(has_both, "fill both pools")
    order = merchant.request()
    assert order.address.startswith("bcrt1p")
    assert index_of(merchant, order) == 7
    pay_order(chain, order)
    order.wait("received")
    listed = {each["wallet"]: each for each in merchant.installation.manage_json("wallet", "list")}
    assert (listed["vault"]["next_index"], listed["vault"]["last_paid_index"]) == (8, 7)
    labels = [
        json.loads(line)
        for line in merchant.installation.manage("wallet", "labels", "vault").stdout.splitlines()
    ]
    assert labels[0] == {"type": "addr", "ref": order.address, "label": order.id}
    assert [each["type"] for each in labels] == ["addr", "tx"]
    merchant.installation.manage_json("seller", "set", SELLER, "--no-wallet")
    assert merchant.request().address.startswith("bcrt1q")


def test_an_empty_pool_refuses_the_requests_of_its_sellers_alone(merchant: Merchant) -> None:
    """/health names the wallet."""
    merchant.wait_full()
    merchant.daemon.stop()
    merchant.installation.manage_json("wallet", "add", "vault", f"tr({TPUB}/0/*)", "--start-index", "0")
    merchant.installation.manage_json("seller", "set", SELLER, "--wallet", "vault")
    body = {"amount_fiat": "10.00", "currency": "EUR"}
    assert merchant.client.post("/api/v1/payments", body).status == 503
    assert any("no free addresses in wallet vault" in line for line in merchant.problems())
    merchant.installation.manage_json("seller", "set", SELLER, "--no-wallet")
    assert merchant.client.post("/api/v1/payments", body).status == 201


def test_money_beyond_the_pool_is_recorded_and_the_wallet_goes_on_behind(
    merchant: Merchant, chain: ChainState
) -> None:
    """Another program has given the address, and may have given those before it."""
    merchant.request()
    beyond = POOL + 200
    paid = pay(chain, script_of(chain, derived(merchant, beyond)), 5_000)
    merchant.daemon.wait_for_line("output seen", paid.txid)
    merchant.wait(lambda: index_of(merchant, merchant.request()) > beyond, "go on behind the address")
    done = merchant.installation.manage("audit")
    assert "belongs to no request, and 5000 sats came to it" in done.stdout


@pytest.mark.parametrize(
    "place", ["addresses-derived.written", "addresses-derived.committed", "rpc.deriveaddresses"]
)
def test_a_daemon_killed_while_it_derives_gives_no_address_twice(merchant: Merchant, place: str) -> None:
    merchant.wait_full()
    merchant.daemon.stop()
    merchant.daemon.environ["NODETILL_FAILPOINT"] = place
    merchant.daemon.start()
    given = [merchant.request().address]
    merchant.wait(lambda: not merchant.daemon.is_running, "be killed")
    del merchant.daemon.environ["NODETILL_FAILPOINT"]
    merchant.daemon.start()
    given += [merchant.request().address for _ in range(POOL + 2)]
    assert len(set(given)) == POOL + 3
    assert not any("older copy" in line for line in merchant.daemon.lines())


@pytest.mark.parametrize("way", ["backup", "file", "directory", "new machine"])
def test_an_older_copy_of_the_database_gives_no_address_twice(
    merchant: Merchant, chain: ChainState, tmp_path: Path, way: str
) -> None:
    """All that may have been given is skipped, and money that comes to it is recorded."""
    merchant.request()
    merchant.wait_full()
    path, copy = tmp_path / "nodetill.db", tmp_path / "copy"
    copy.mkdir()
    if way == "backup":
        merchant.installation.manage_json("database", "backup", str(copy / "nodetill.db"))
    else:
        merchant.installation.stop()
        for each in tmp_path.glob("nodetill.db*"):
            shutil.copy2(each, copy / each.name)
        merchant.installation.start()
    lost = [merchant.request() for _ in range(2 * POOL)]
    merchant.wait_full()
    merchant.installation.stop()
    mined = pay_order(chain, lost[-1])
    chain.mine([mined])
    waiting = pay_order(chain, lost[0])
    for each in tmp_path.glob("nodetill.db*"):
        if way in ("directory", "new machine") or "witness" not in each.name:
            each.unlink()
    for each in copy.iterdir():
        if way == "directory" or "witness" not in each.name:
            shutil.copy2(each, tmp_path / each.name)
    assert path.exists()
    for place in ("addresses-skipped.written", "addresses-skipped.committed") if way == "backup" else ():
        merchant.daemon.environ["NODETILL_FAILPOINT"] = place
        merchant.daemon.start()
        merchant.daemon.wait()
    merchant.daemon.environ.pop("NODETILL_FAILPOINT", None)
    merchant.daemon.start()
    if way != "backup":
        merchant.daemon.wait_for_line("older copy of the database")
    merchant.web.start()
    merchant.installation.wait_ready()
    given = [merchant.request() for _ in range(POOL + 2)]
    assert not {order.address for order in given} & {order.address for order in lost}
    assert index_of(merchant, given[0]) >= POOL + 1 + LOOKAHEAD

    def is_stored() -> bool:
        with merchant.database():
            return {output.txid for output in Output.select()} == {mined.txid, waiting.txid}

    merchant.wait(is_stored, "record the payments to addresses that were given since the copy")
    assert "addresses in a row of wallet shop are unpaid" in " ".join(
        merchant.installation.manage("doctor").stdout.split()
    )
    merchant.daemon.stop()
    merchant.daemon.start()
    merchant.daemon.wait_for_line("feed connected")
    merchant.request()
    assert not any("older copy" in line for line in merchant.daemon.lines())


def test_retire_pool_skips_as_many_as_ordered(merchant: Merchant) -> None:
    """The operator may know that the shop was busy."""
    merchant.request()
    merchant.daemon.stop()
    merchant.installation.manage_json("database", "retire-pool", "--skip", "2500")
    with merchant.database():
        wallet = wallet_named("shop")
        assert wallet is not None
        wanted = wallet.watched_until + 2500
    merchant.daemon.start()
    assert index_of(merchant, merchant.request()) == wanted
