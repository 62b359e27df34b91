"""Payments to addresses that a restored database lacks are recorded and reported."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from models.output import MEMPOOL, MINED, Output
from regtest.node import RegtestNode
from tests.conftest import sqlite_in
from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.scenario import FEE_SATS, PATIENCE_SECONDS, Scenario
from tests.support.tx_builder import BuiltTransaction

pytestmark = pytest.mark.bitcoind

AMOUNT_SATS = 2_000
ADDRESSES = 30


def _addresses_since_backup(scenario: Scenario, count: int) -> dict[str, bytes]:
    """Create addresses that the database lacks, and return the script of each."""
    rpc, wallet = scenario.chain.node.rpc, scenario.settings.bitcoind_wallet
    named = [rpc("getnewaddress", "nodetill", "bech32", wallet=wallet) for _ in range(count)]
    return {each: bytes.fromhex(rpc("validateaddress", each)["scriptPubKey"]) for each in named}


def _pay(scenario: Scenario, script: bytes, *, is_public: bool) -> BuiltTransaction:
    made = scenario.chain.build_transaction([scenario.chain.coin()], [(script, AMOUNT_SATS)], FEE_SATS)
    if is_public:
        assert scenario.chain.publish(made)
    return made


def _wait_stored(
    scenario: Scenario, mined: list[BuiltTransaction], unconfirmed: list[BuiltTransaction]
) -> None:
    wanted = {each.txid: MINED for each in mined} | {each.txid: MEMPOOL for each in unconfirmed}

    def are_stored() -> bool:
        return {output.txid: output.state for output in Output.select()} == wanted

    assert scenario.daemon.work_until(are_stored, PATIENCE_SECONDS), list(Output.select().tuples())


def test_a_payment_to_an_address_created_since_the_backup_is_recorded(scenario: Scenario) -> None:
    """The daemon imports the addresses before it reads the blocks."""
    scenario.begin()
    scenario.daemon.stop()
    scripts = list(_addresses_since_backup(scenario, ADDRESSES).values())
    mined = [_pay(scenario, script, is_public=False) for script in scripts[:-1]]
    scenario.chain.mine(mined)
    waiting = _pay(scenario, scripts[-1], is_public=True)
    scenario.daemon.start()
    _wait_stored(scenario, mined, [waiting])
    scenario.end()


@contextmanager
def _wallet_away(scenario: Scenario) -> Iterator[None]:
    """Move the wallet's directory away, so that bitcoind can't load the wallet."""
    node, name = scenario.chain.node, scenario.settings.bitcoind_wallet
    assert isinstance(node, RegtestNode)
    [wallet] = [path for path in Path(node.datadir).rglob(name) if path.is_dir()]
    node.rpc("unloadwallet", name)
    wallet.rename(wallet.with_name("away"))
    yield
    wallet.with_name("away").rename(wallet)
    node.rpc("loadwallet", name)


@pytest.mark.parametrize("has_restarted", [False, True])
def test_blocks_are_read_again_once_the_wallet_is_loaded(scenario: Scenario, has_restarted: bool) -> None:
    """The blocks are read without the wallet. Payments to its addresses are found once the wallet is back."""
    scenario.begin()
    paid = scenario.request(AMOUNT_SATS)
    scenario.daemon.stop()
    scripts = list(_addresses_since_backup(scenario, 2).values())
    mined = [_pay(scenario, script, is_public=False) for script in scripts]
    known = scenario.pay([(paid, AMOUNT_SATS)])
    scenario.chain.mine([*mined, known])
    scenario.chain.mine()
    with _wallet_away(scenario):
        scenario.daemon.start()
        scenario.settle()
        assert [output.txid for output in Output.select()] == [known.txid]
        if has_restarted:
            scenario.daemon.stop()
    if has_restarted:
        scenario.daemon.start()
    scenario.is_rough = True
    # A new connection makes the daemon reconcile, and a new block does not.
    if not has_restarted:
        scenario.chain.node.restart()
    _wait_stored(scenario, [known, *mined], [])
    scenario.settle()
    scenario.end()


@pytest.mark.broad
def test_the_audit_names_payments_to_addresses_without_a_request(
    make_merchant: MerchantMaker, customer: Customer, tmp_path: Path
) -> None:
    """A restored database lacks requests, both for addresses of its pool and for later addresses."""
    merchant = make_merchant(ADDRESS_POOL="3", DATABASE_URL=sqlite_in(tmp_path)).open()
    merchant.request()
    merchant.wait(lambda: merchant.health().document["addresses"]["free"] == 3, "fill the pool")
    copy = tmp_path / "copy.db"
    merchant.installation.manage_json("database", "backup", str(copy))
    *paid, unpaid = (merchant.request() for _ in range(7))
    merchant.installation.stop()
    for order in paid:
        customer.pay(order.address, order.amount_sats)
    merchant.node.mine()
    waiting = customer.pay(paid[0].address, 5_000)
    for beside in ("", "-wal", "-shm"):
        (tmp_path / f"nodetill.db{beside}").unlink(missing_ok=True)
    shutil.copy(copy, tmp_path / "nodetill.db")
    merchant.installation.manage_json("database", "retire-pool")
    merchant.installation.start()
    with merchant.database():
        wanted = len(paid) + 1
        merchant.wait(
            lambda: Output.select().count() == wanted, "record the payments to addresses without a request"
        )
    done = merchant.installation.manage("audit")
    assert done.returncode == 1
    for order in paid[1:]:
        assert f"address {order.address} belongs to no request, and 20000 sats came to it" in done.stdout
    assert f"address {paid[0].address} belongs to no request, and 25000 sats came to it" in done.stdout
    assert waiting.txid in done.stdout
    assert unpaid.address not in done.stdout
    report = json.loads(merchant.installation.manage("audit", "--json").stdout)
    assert unpaid.address in report["addresses_without_request"]
    assert len(report["differences"]) == len(paid)

    merchant.daemon.stop()
    with merchant.database():
        Output.delete().where(Output.txid == waiting.txid).execute()
    done = merchant.installation.manage("audit", "--patience", "0")
    assert f"output {waiting.txid}:0 of 5000 sats is in the mempool, and is not stored" in done.stdout
