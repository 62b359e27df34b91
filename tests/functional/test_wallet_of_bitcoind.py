"""bitcoind's wallet or chain is exchanged, missing, unloaded or locked. No payment is lost or invented."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from models.address import Address
from models.output import MEMPOOL, MINED, Output
from regtest.node import RegtestNode
from tests.functional.conftest import MerchantMaker, run_on_sqlite
from tests.support.customer import Customer
from tests.support.merchant import SELLER, Merchant
from tests.support.scenario import FEE_SATS, PATIENCE_SECONDS, Scenario
from tests.support.tx_builder import BuiltTransaction

pytestmark = pytest.mark.bitcoind

POOL = 5
AMOUNT_SATS = 2_000
ADDRESSES = 30


@pytest.fixture
def merchant(make_merchant: MerchantMaker, tmp_path: Path) -> Iterator[Merchant]:
    yield from run_on_sqlite(make_merchant, tmp_path, POOL)


def _wallet_path(merchant: Merchant) -> Path:
    return merchant.node.datadir / "regtest" / "wallets" / merchant.wallet


def _lose_wallet(merchant: Merchant) -> Path:
    """Take the wallet from bitcoind, and return the directory where it lies."""
    lost = _wallet_path(merchant).with_name(f"{merchant.wallet}-lost")
    merchant.node.stop()
    _wallet_path(merchant).rename(lost)
    merchant.node.launch()
    return lost


def _restore_wallet(merchant: Merchant, lost: Path) -> None:
    """Put the wallet back, in the place of another wallet with its name."""
    merchant.node.stop()
    shutil.rmtree(_wallet_path(merchant), ignore_errors=True)
    lost.rename(_wallet_path(merchant))
    merchant.node.launch()


def _free(merchant: Merchant) -> list[str]:
    with merchant.database():
        return [row.address for row in Address.select().where(Address.is_free())]


def _post(merchant: Merchant) -> int:
    return merchant.client.post(
        "/api/v1/payments", {"seller_id": SELLER, "amount_fiat": "10.00", "currency": "EUR"}
    ).status


def test_wallet_create_removes_the_lost_wallets_addresses_from_the_pool(
    merchant: Merchant, customer: Customer
) -> None:
    """The command does it at once, because the web server also makes requests while the daemon is down."""
    order, old = merchant.request(), _free(merchant)
    merchant.daemon.stop()
    _lose_wallet(merchant)
    assert merchant.installation.manage_json("wallet", "create")["created"]
    assert _post(merchant) == 503
    merchant.daemon.start()
    merchant.request_addresses_of_the_wallet(POOL + 2, but=old)
    customer.pay(order.address, order.amount_sats)
    order.wait("received")


def test_a_daemon_that_starts_detects_a_new_wallet(merchant: Merchant) -> None:
    """bitcoin-cli made the wallet."""
    old = _free(merchant)
    merchant.daemon.stop()
    _lose_wallet(merchant)
    merchant.node.rpc("createwallet", merchant.wallet)
    merchant.daemon.start()
    merchant.daemon.wait_for_line("free addresses held", f"count={POOL}")
    merchant.request_addresses_of_the_wallet(POOL + 2, but=old)
    assert f"{POOL} more are held" in " ".join(merchant.installation.manage("doctor").stdout.split())


def test_a_running_daemon_detects_a_new_wallet_and_the_old_one(merchant: Merchant) -> None:
    """The old wallet comes back, and its addresses are free again."""
    old = _free(merchant)
    lost = _lose_wallet(merchant)
    merchant.node.rpc("createwallet", merchant.wallet)
    merchant.daemon.wait_for_line("free addresses held", f"count={POOL}")
    merchant.request_addresses_of_the_wallet(POOL + 2, but=old)
    _restore_wallet(merchant, lost)
    merchant.wait(lambda: set(old) <= set(_free(merchant)), "free the old addresses")
    assert merchant.request().address in old


@pytest.mark.broad
def test_a_missing_wallet_gives_no_address(merchant: Merchant) -> None:
    """The wallet's keys may be lost. After the wallet is back, requests get addresses again."""
    lost = _lose_wallet(merchant)
    merchant.wait(lambda: _post(merchant) == 503, "refuse requests")
    merchant.wait_problem(f"no new addresses from wallet {merchant.wallet}")
    _restore_wallet(merchant, lost)
    merchant.wait(lambda: _post(merchant) == 201, "accept requests again")
    merchant.wait_well()


@pytest.mark.broad
def test_payments_since_a_backup_are_found_after_a_late_wallet(
    merchant: Merchant, customer: Customer, tmp_path: Path
) -> None:
    """The daemon reads the blocks before the wallet is back. Then the pool is the first to use the wallet."""
    copy = tmp_path / "copy.db"
    merchant.installation.manage_json("database", "backup", str(copy))
    for _ in range(POOL):
        merchant.request()
    merchant.wait_full()
    late = merchant.request()
    sent = customer.pay(late.address, late.amount_sats)
    merchant.node.mine()
    late.wait("confirming")
    merchant.put_back(copy)
    lost = _lose_wallet(merchant)
    merchant.daemon.start()
    merchant.daemon.wait_for_line("block connected")
    _restore_wallet(merchant, lost)
    merchant.web.start()

    def is_stored() -> bool:
        with merchant.database():
            return bool(Output.select().where((Output.txid == sent.txid) & (Output.state == MINED)).exists())

    merchant.wait(is_stored, "store the payment")


@pytest.mark.broad
def test_a_chain_that_began_again_changes_no_status(
    start_node: Callable[..., RegtestNode], tmp_path: Path
) -> None:
    """The new chain has the same genesis block, more work, and a wallet of the same name."""
    node = start_node()
    node.fund_customer()
    merchant = Merchant(node, tmp_path, ADDRESS_POOL=str(POOL)).open()
    try:
        merchant.wait_full()
        customer, paid, order = Customer(node), merchant.request(confirmations=1), merchant.request()
        customer.pay(paid.address, paid.amount_sats)
        node.mine()
        paid.wait("confirmed")
        node.stop()
        shutil.rmtree(node.datadir / "regtest")
        node.launch()
        node.rpc("createwallet", merchant.wallet, False, False, "", False, True, True)
        node.mine(130)
        merchant.wait_problem("follows another regtest chain than this database")
        merchant.daemon.wait_for_line("free addresses held")
        assert _post(merchant) == 503
        assert _free(merchant) == []
        assert (paid.now()["status"], order.now()["status"]) == ("confirmed", "new")
        assert paid.events() == ["received", "confirmed"]
        assert "follows another regtest chain" in merchant.installation.manage("doctor").stdout
        # The operator can order the daemon to follow that chain.
        followed = merchant.installation.manage_json("chain", "follow", "--yes", "--json")
        assert (followed["is_begun_anew"], followed["outputs_taken_back"]) == (True, 1)
        paid.wait("new")
        paid.wait_told("received", "confirmed", "reverted")
        again = Customer(node)
        again.pay(paid.address, paid.amount_sats)
        node.mine()
        paid.wait("confirmed")
    finally:
        merchant.close()


def test_an_unloaded_wallet_is_loaded_again(make_merchant: MerchantMaker, customer: Customer) -> None:
    """The daemon loads the wallet, because new addresses need it. Payments are found without it."""
    merchant = make_merchant(RECONCILE_INTERVAL="1").open()
    merchant.node.rpc("unloadwallet", merchant.wallet)
    order = merchant.request()
    customer.pay(order.address, order.amount_sats)
    order.wait("received")
    merchant.wait(lambda: merchant.wallet in merchant.node.rpc("listwallets"), "load the wallet")
    merchant.wait_full()
    merchant.wait_well()


def test_a_locked_wallet_is_enough(make_merchant: MerchantMaker, customer: Customer) -> None:
    """The daemon gets addresses and finds payments without the passphrase, because it spends nothing."""
    merchant = make_merchant(ADDRESS_POOL="5", RECONCILE_INTERVAL="1").open()
    merchant.node.rpc("encryptwallet", "correct horse", wallet=merchant.wallet)
    assert merchant.node.rpc("getwalletinfo", wallet=merchant.wallet)["unlocked_until"] == 0
    orders = [merchant.request(confirmations=1) for _ in range(8)]
    customer.pay(orders[-1].address, orders[-1].amount_sats)
    orders[-1].wait("received")
    merchant.node.mine()
    orders[-1].wait("confirmed")
    merchant.wait_full()
    merchant.wait_well()


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
