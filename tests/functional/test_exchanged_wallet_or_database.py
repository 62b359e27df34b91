"""Another wallet, chain or database under the old name gives no address, and changes no status."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from models.address import Address
from models.daemon_status import update_report
from models.output import MINED, Output
from regtest.node import RegtestNode
from regtest.process import Process
from tests.conftest import NewDatabase, sqlite_in
from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.merchant import SELLER, Merchant

pytestmark = pytest.mark.bitcoind

POOL = 5


@pytest.fixture(scope="session")
def new_database() -> NewDatabase:
    """Return a maker of SQLite databases, because a test puts back the copy of a file."""
    return sqlite_in


@pytest.fixture
def merchant(make_merchant: MerchantMaker) -> Iterator[Merchant]:
    """Yield a merchant whose daemon reconciles only after an hour."""
    merchant = make_merchant(ADDRESS_POOL=str(POOL), RECONCILE_INTERVAL="3600").open()
    _wait_full(merchant)
    yield merchant
    merchant.close()


def _wait_full(merchant: Merchant) -> None:
    merchant.wait(lambda: merchant.health().document["addresses"]["free"] == POOL, "fill the address pool")


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


def _is_in_wallet(merchant: Merchant, address: str) -> bool:
    return bool(merchant.node.rpc("getaddressinfo", address, wallet=merchant.wallet)["ismine"])


def _request_addresses_of_the_wallet(merchant: Merchant, *, but: list[str]) -> None:
    """Make more requests than the pool has addresses, each with an address of the wallet."""
    given = [merchant.request().address for _ in range(POOL + 2)]
    assert all(_is_in_wallet(merchant, address) for address in given)
    assert not set(given) & set(but)


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
    _request_addresses_of_the_wallet(merchant, but=old)
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
    _request_addresses_of_the_wallet(merchant, but=old)
    assert f"{POOL} more are held" in " ".join(merchant.installation.manage("doctor").stdout.split())


def test_a_running_daemon_detects_a_new_wallet_and_the_old_one(merchant: Merchant) -> None:
    """The old wallet comes back, and its addresses are free again."""
    old = _free(merchant)
    lost = _lose_wallet(merchant)
    merchant.node.rpc("createwallet", merchant.wallet)
    merchant.daemon.wait_for_line("free addresses held", f"count={POOL}")
    _request_addresses_of_the_wallet(merchant, but=old)
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


def test_a_database_of_another_chain_gets_no_address_of_this_one(make_merchant: MerchantMaker) -> None:
    """Payments of customers on the main chain would be lost."""
    merchant = make_merchant()
    with merchant.database():
        update_report(chain="main")
    merchant.open(is_well=False)
    merchant.wait_problem("this database belongs to main")
    assert _free(merchant) == []


def test_an_old_copy_of_the_database_gives_no_address_twice(merchant: Merchant, tmp_path: Path) -> None:
    """The wallet has made addresses since the copy, so each free address in the copy may be in use."""
    copy = tmp_path / "copy.db"
    merchant.installation.manage_json("database", "backup", str(copy))
    since = [merchant.request() for _ in range(POOL - 1)]
    _wait_full(merchant)
    _restore(merchant, copy)
    merchant.daemon.start()
    merchant.daemon.wait_for_line("addresses of the wallet taken in", f"free_retired={POOL}")
    merchant.web.start()
    merchant.installation.wait_ready()
    _request_addresses_of_the_wallet(merchant, but=[order.address for order in since])


@pytest.mark.broad
def test_payments_since_a_backup_are_found_after_a_late_wallet(
    merchant: Merchant, customer: Customer, tmp_path: Path
) -> None:
    """The daemon reads the blocks before the wallet is back. Then the pool is the first to use the wallet."""
    copy = tmp_path / "copy.db"
    merchant.installation.manage_json("database", "backup", str(copy))
    for _ in range(POOL):
        merchant.request()
    _wait_full(merchant)
    late = merchant.request()
    sent = customer.pay(late.address, late.amount_sats)
    merchant.node.mine()
    late.wait("confirming")
    _restore(merchant, copy)
    lost = _lose_wallet(merchant)
    merchant.daemon.start()
    merchant.daemon.wait_for_line("block connected")
    _restore_wallet(merchant, lost)
    merchant.web.start()

    def is_stored() -> bool:
        with merchant.database():
            return bool(Output.select().where((Output.txid == sent.txid) & (Output.state == MINED)).exists())

    merchant.wait(is_stored, "store the payment")


def _restore(merchant: Merchant, copy: Path) -> None:
    """Stop both servers, and put the copy in the place of their database."""
    merchant.installation.stop()
    name = merchant.installation.settings["DATABASE_URL"].removeprefix("sqlite:///")
    for beside in ("", "-wal", "-shm"):
        Path(name + beside).unlink(missing_ok=True)
    shutil.copy(copy, name)


@pytest.mark.broad
def test_a_chain_that_began_again_changes_no_status(
    start_node: Callable[..., RegtestNode], tmp_path: Path
) -> None:
    """The new chain has the same genesis block, more work, and a wallet of the same name."""
    node = start_node()
    node.fund_customer()
    merchant = Merchant(node, tmp_path, ADDRESS_POOL=str(POOL)).open()
    try:
        _wait_full(merchant)
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


def test_servers_follow_a_database_that_replaces_theirs(merchant: Merchant, tmp_path: Path) -> None:
    """The servers have the old file open, and later writes to it would be lost."""
    copy = tmp_path / "copy.db"
    merchant.installation.manage_json("database", "backup", str(copy))
    lost = merchant.request()
    path = Path(merchant.installation.settings["DATABASE_URL"].removeprefix("sqlite:///"))
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink()
    copy.rename(path)
    assert merchant.client.get(lost.path).status == 404
    merchant.daemon.wait_for_line("lock lost", "another database is in its place")
    merchant.daemon.wait_for_line("addresses of the wallet taken in")
    kept = merchant.request()
    merchant.installation.stop()
    merchant.daemon.start()
    merchant.web.start()
    merchant.installation.wait_ready()
    assert kept.now()["payment_request_id"] == kept.id


@pytest.mark.broad
def test_two_paths_to_one_database_have_one_daemon(merchant: Merchant, tmp_path: Path) -> None:
    """The second daemon is a standby, although its DATABASE_URL is a link."""
    path = Path(merchant.installation.settings["DATABASE_URL"].removeprefix("sqlite:///"))
    link = tmp_path / "link.db"
    link.symlink_to(path)
    environ = merchant.installation.environ | {"DATABASE_URL": f"sqlite:///{link}"}
    second = Process("run_daemon.py", environ, tmp_path)
    second.start()
    try:
        second.wait_for_line("standby", "another daemon works on this database")
    finally:
        second.stop()
