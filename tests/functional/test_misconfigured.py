"""Something is set wrong: one line of the log and /health say what to do, and to do it is enough."""

from collections.abc import Callable
from pathlib import Path

import pytest

from config import EX_CONFIG
from models.daemon_status import update_report
from regtest.child import free_ports
from regtest.node import RegtestNode
from tests.conftest import NewDatabase
from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.merchant import Merchant

pytestmark = pytest.mark.bitcoind


def _complain(till: Merchant, event: str, *parts: str) -> None:
    """/health names it, and the log has exactly one such line, however often it is tried again."""
    till.wait_problem(*parts)
    assert till.health().status == 503
    first = till.daemon.wait_for_line(event, *parts)
    before = till.heartbeat_at()
    till.wait(lambda: till.heartbeat_at() != before, "go on")
    assert [line for line in till.daemon.lines() if all(part in line for part in (event, *parts))] == [first]


def test_a_wrong_password_is_named_and_not_shown(make_till: MerchantMaker, regtest_node: RegtestNode) -> None:
    """The line names the settings that may be wrong."""
    url = f"http://nodetill:wrong-password@127.0.0.1:{regtest_node.rpc_port}"
    till = make_till(BITCOIND_RPC_URL=url).open(is_well=False)
    _complain(till, "outage", "refuses our password", "BITCOIND_RPC_URL")
    assert "wrong-password" not in till.daemon.log_file.read_text()


def test_a_node_that_is_not_there_is_named(make_till: MerchantMaker) -> None:
    """With its address, as it was set."""
    (port,) = free_ports(1)
    till = make_till(BITCOIND_RPC_URL=f"http://nodetill:unused@127.0.0.1:{port}").open(is_well=False)
    _complain(till, "outage", f"bitcoind at http://127.0.0.1:{port} cannot be reached", "BITCOIND_RPC_URL")


def test_a_missing_cookie_file_is_named(
    make_till: MerchantMaker, regtest_node: RegtestNode, tmp_path: Path
) -> None:
    """Where no password is set, bitcoind's cookie is read."""
    url, cookie = f"http://127.0.0.1:{regtest_node.rpc_port}", tmp_path / "nowhere"
    till = make_till(BITCOIND_RPC_URL=url, BITCOIND_COOKIE_FILE=str(cookie)).open(is_well=False)
    _complain(till, "outage", str(cookie), "BITCOIND_COOKIE_FILE")


def test_a_missing_wallet_is_named_and_making_it_is_enough(
    make_till: MerchantMaker, customer: Customer
) -> None:
    """The daemon makes none itself; once it is there, addresses come by themselves."""
    till = make_till(RECONCILE_INTERVAL="1").open(is_well=False, has_wallet=False)
    _complain(till, "needs attention", f"no wallet {till.wallet}", "manage.py wallet create")
    till.installation.managed("wallet", "create")
    till.wait_well()
    order = till.request()
    customer.pay(order.address, order.amount_sats)
    order.wait("received")


@pytest.mark.parametrize("topic", ["rawtx", "hashblock"])
def test_a_topic_that_is_not_published_is_named(
    start_node: Callable[..., RegtestNode], new_database: NewDatabase, tmp_path: Path, topic: str
) -> None:
    """With the lines to add to bitcoin.conf; nothing is lost meanwhile."""
    option = f"-nozmqpub{topic}"
    node = start_node(option)
    node.fund_customer()
    settings = {"RECONCILE_INTERVAL": "1", "DATABASE_URL": new_database(tmp_path)}
    till = Merchant(node, tmp_path, **settings).open(is_well=False)
    try:
        address = getattr(node, f"zmq_{topic}")
        _complain(till, "needs attention", f"zmqpub{topic}={address}", f"zmqpub{topic}hwm=0")
        order = till.request(confirmations=1)
        customer = Customer(node)
        customer.pay(order.address, order.amount_sats)
        order.wait("received")
        node.mine()
        order.wait("confirmed")
        order.wait_told("received", "confirmed")

        node.extra.remove(option)
        node.restart()
        till.wait_well()
    finally:
        till.close()


def test_the_database_of_another_chain_is_refused(make_till: MerchantMaker) -> None:
    """Nothing of a mainnet till is decided by a regtest node."""
    till = make_till()
    with till.database():
        update_report(chain="main")
    till.open(is_well=False)
    _complain(till, "outage", "bitcoind is on chain regtest, but this database belongs to main")


def test_a_wrong_setting_ends_both_servers_with_one_line(make_till: MerchantMaker) -> None:
    """Exit status 78, and the line names the variable and what is allowed."""
    till = make_till(CONFIRMATIONS="many")
    for server in (till.daemon, till.web):
        assert server.start().wait() == EX_CONFIG
        (line,) = server.lines()
        assert "CONFIRMATIONS" in line
        assert "many" in line
