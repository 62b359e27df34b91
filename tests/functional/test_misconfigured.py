"""/health and one log line report a wrong setting with its remedy, and no secret. The remedy is enough."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from config import EX_CONFIG
from daemon.node.calls import RPC_CALLS
from models.address import Address
from models.daemon_status import update_report
from regtest.child import free_ports
from regtest.node import RegtestNode, rpcauth
from regtest.process import start_python
from tests.conftest import NewDatabase
from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.fork_server import fork_python
from tests.support.merchant import Merchant

pytestmark = pytest.mark.bitcoind


def _check_reported(merchant: Merchant, event: str, *parts: str) -> None:
    """Check that /health has this problem, and that retries add no second line to the log."""
    merchant.wait_problem(*parts)
    assert merchant.health().status == 503
    first = merchant.daemon.wait_for_line(event, *parts)
    merchant.wait_heartbeat()
    assert [line for line in merchant.daemon.lines() if all(part in line for part in (event, *parts))] == [
        first
    ]


def test_a_wrong_password_is_reported_without_its_text(
    make_merchant: MerchantMaker, regtest_node: RegtestNode
) -> None:
    """The line names the settings that may be wrong."""
    url = f"http://nodetill:wrong-password@127.0.0.1:{regtest_node.rpc_port}"
    merchant = make_merchant(BITCOIND_RPC_URL=url).open(is_well=False)
    _check_reported(merchant, "outage", "refuses our password", "BITCOIND_RPC_URL")
    assert "wrong-password" not in merchant.daemon.log_file.read_text()


def test_an_unreachable_node_is_reported_with_its_address(make_merchant: MerchantMaker) -> None:
    (port,) = free_ports(1)
    merchant = make_merchant(BITCOIND_RPC_URL=f"http://nodetill:unused@127.0.0.1:{port}").open(is_well=False)
    _check_reported(
        merchant, "outage", f"bitcoind at http://127.0.0.1:{port} cannot be reached", "BITCOIND_RPC_URL"
    )


def test_a_missing_cookie_file_is_reported(
    make_merchant: MerchantMaker, regtest_node: RegtestNode, tmp_path: Path
) -> None:
    """Without a password in the settings, the daemon reads bitcoind's cookie."""
    url, cookie = f"http://127.0.0.1:{regtest_node.rpc_port}", tmp_path / "nowhere"
    merchant = make_merchant(BITCOIND_RPC_URL=url, BITCOIND_COOKIE_FILE=str(cookie)).open(is_well=False)
    _check_reported(merchant, "outage", str(cookie), "BITCOIND_COOKIE_FILE")


@pytest.mark.broad
@pytest.mark.parametrize("topic", ["rawtx", "hashblock"])
def test_an_unpublished_topic_is_reported(
    start_node: Callable[..., RegtestNode], new_database: NewDatabase, tmp_path: Path, topic: str
) -> None:
    """The problem contains the lines for bitcoin.conf. Payments are found meanwhile."""
    option = f"-nozmqpub{topic}"
    node = start_node(option)
    node.fund_customer()
    settings = {"RECONCILE_INTERVAL": "1", "DATABASE_URL": new_database(tmp_path)}
    merchant = Merchant(node, tmp_path, fork_python, **settings).open(is_well=False)
    try:
        address = getattr(node, f"zmq_{topic}")
        _check_reported(merchant, "needs attention", f"zmqpub{topic}={address}", f"zmqpub{topic}hwm=0")
        order = merchant.request(confirmations=1)
        customer = Customer(node)
        customer.pay(order.address, order.amount_sats)
        order.wait("received")
        node.mine()
        order.wait("confirmed")
        order.wait_told("received", "confirmed")

        node.extra.remove(option)
        node.restart()
        merchant.wait_well()
    finally:
        merchant.close()


def test_a_user_who_may_not_list_the_topics_gets_advice(
    start_node: Callable[..., RegtestNode], new_database: NewDatabase, tmp_path: Path
) -> None:
    """The daemon then works without a feed, and /health is 200. The log has the line to set."""
    calls = ",".join(sorted(RPC_CALLS - {"getzmqnotifications"}))
    node = start_node(f"-{rpcauth('slow', 'c')}", f"-rpcwhitelist=slow:{calls}")
    node.fund_customer()
    settings = {
        "DATABASE_URL": new_database(tmp_path),
        "BITCOIND_RPC_URL": f"http://slow:c@127.0.0.1:{node.rpc_port}",
        "BITCOIND_ZMQ_RAWTX": "auto",
        "BITCOIND_ZMQ_HASHBLOCK": "auto",
        "RECONCILE_INTERVAL": "3600",
    }
    merchant = Merchant(node, tmp_path, fork_python, **settings).open()
    try:
        merchant.daemon.wait_for_line("advice", "rpcwhitelist=slow:", "getzmqnotifications")
        order = merchant.request()
        Customer(node).pay(order.address, order.amount_sats)
        order.wait("received")
    finally:
        merchant.close()


def test_a_wrong_setting_ends_both_servers_with_one_line(make_merchant: MerchantMaker) -> None:
    """The exit status is 78. The line names the variable and its wrong value."""
    merchant = make_merchant(CONFIRMATIONS="many")
    for server in (merchant.daemon, merchant.web):
        assert server.start().wait() == EX_CONFIG
        (line,) = server.lines()
        assert "CONFIRMATIONS" in line
        assert "many" in line


@pytest.fixture
def separate_merchant(
    regtest_node: RegtestNode, new_database: NewDatabase, tmp_path: Path
) -> Iterator[Merchant]:
    """Yield a merchant whose servers have interpreters of their own, with command lines as under systemd."""
    merchant = Merchant(regtest_node, tmp_path, start_python, DATABASE_URL=new_database(tmp_path)).open()
    yield merchant
    merchant.close()


def test_no_secret_is_in_any_log_or_command_line(separate_merchant: Merchant) -> None:
    """The secrets are the seller's key and webhook secret, bitcoind's password, and a wrong key."""
    merchant = separate_merchant
    for key in ("nt_a-guess", None):
        merchant.installation.client(key).post("/api/v1/payments", {"seller_id": merchant.webhook_secret})
    merchant.node.rpc("unloadwallet", merchant.wallet)
    merchant.daemon.restart()
    merchant.wait_well()
    text = merchant.daemon.log_file.read_text() + merchant.web.log_file.read_text()
    for server in (merchant.daemon, merchant.web):
        text += Path(f"/proc/{server.pid}/cmdline").read_text()
    assert merchant.client.api_key is not None
    for secret in (merchant.client.api_key, merchant.webhook_secret, merchant.node.password, "nt_a-guess"):
        assert secret not in text


def test_a_check_that_the_whitelist_forbids_is_reported(
    start_node: Callable[..., RegtestNode], tmp_path: Path
) -> None:
    """The daemon works without these calls. The audit names the checks that it skipped."""
    allowed = ",".join(sorted(RPC_CALLS - {"getaddressesbylabel", "gettransaction"}))
    node = start_node(f"-rpcwhitelist=nodetill:{allowed}")
    node.fund_customer()
    merchant = Merchant(node, tmp_path).open()
    try:
        merchant.daemon.wait_for_line(
            "check for addresses missing from the database skipped",
            "getaddressesbylabel: add it to rpcwhitelist",
        )
        customer, order = Customer(node), merchant.request(confirmations=1)
        # The daemon first sees the payment in a block, and can't request its time from the wallet.
        customer.mine_only(customer.write({order.address: order.amount_sats}).raw)
        order.wait("confirmed")
        merchant.installation.environ["BITCOIND_COOKIE_FILE"] = "/nonexistent"
        report = merchant.installation.manage_json("audit")
        assert report["differences"] == []
        assert "getaddressesbylabel" in report["not_checked"][0]
    finally:
        merchant.close()


def test_a_missing_wallet_is_reported_and_creating_it_is_enough(
    make_merchant: MerchantMaker, customer: Customer
) -> None:
    """The daemon creates no wallet. Once the wallet exists, the daemon fills the address pool."""
    merchant = make_merchant(RECONCILE_INTERVAL="1").open(is_well=False, has_wallet=False)
    _check_reported(merchant, "needs attention", f"no wallet {merchant.wallet}", "manage.py wallet create")
    merchant.installation.manage_json("wallet", "create")
    merchant.wait_well()
    order = merchant.request()
    customer.pay(order.address, order.amount_sats)
    order.wait("received")


def test_a_database_of_another_chain_gets_no_address_of_this_one(make_merchant: MerchantMaker) -> None:
    """A regtest node decides nothing about a mainnet database. Payments on the main chain would be lost."""
    merchant = make_merchant()
    with merchant.database():
        update_report(chain="main")
    merchant.open(is_well=False)
    _check_reported(merchant, "outage", "bitcoind is on chain regtest, but this database belongs to main")
    with merchant.database():
        assert Address.select().count() == 0
