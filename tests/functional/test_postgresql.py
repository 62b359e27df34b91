"""A whole payment, a second daemon and cut connections, on PostgreSQL."""

import psycopg
import pytest

from regtest.process import Process
from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.merchant import Merchant, subjects
from tests.support.postgres import PostgresServer


@pytest.fixture(scope="module")
def merchant(make_merchant: MerchantMaker, postgres: PostgresServer) -> Merchant:
    """Open a merchant with a database on a PostgreSQL server."""
    return make_merchant(DATABASE_URL=postgres.new_database()).open()


def _cut_connections(merchant: Merchant) -> None:
    """Cut all other connections to the database, as a restart of the server does."""
    with psycopg.connect(merchant.installation.settings["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_a_payment_gets_all_its_statuses(merchant: Merchant, customer: Customer) -> None:
    """The payment comes in two parts, gets a higher fee, is confirmed, and leaves the chain in a reorg."""
    order = merchant.request(note="Alpakasöckchen", metadata={"cart": [1, "ü"]}, confirmations=2)
    customer.pay(order.address, 5_000)
    order.wait("underpaid", due_sats=15_000)
    rest = customer.pay(order.address, 15_000)
    order.wait("received")
    rest = customer.bump_fee(rest)
    order.wait_state(rest.txid, "mempool")
    merchant.node.mine(2)
    confirmed = order.wait("confirmed", confirmations=2)
    assert confirmed["metadata"] == {"cart": [1, "ü"]}
    letters = order.wait_told("underpaid", "received", "confirmed")
    assert subjects(letters) == ["Payment received", "Payment confirmed"]
    customer.reorg(2, [customer.sign_double_spend(rest).raw])
    order.wait("underpaid", received_sats=5_000)
    order.wait_told("underpaid", "received", "confirmed", "reverted", "underpaid")


def test_a_second_daemon_takes_over(merchant: Merchant, customer: Customer) -> None:
    """PostgreSQL holds the lock, and releases it when the session of the first daemon ends."""
    second = Process(
        "run_daemon.py", merchant.installation.environ, merchant.installation.directory, "standby"
    )
    with second:
        second.wait_for_line("standby", "another daemon works on this database")
        merchant.daemon.kill()
        second.wait_for_line("daemon started", seconds=5.0)
        order = merchant.request(confirmations=0)
        customer.pay(order.address, order.amount_sats)
        order.wait_told("received", "confirmed")
    merchant.daemon.start()
    # /health still counts the last heartbeat of the second daemon.
    merchant.daemon.wait_for_line("daemon started")


def test_both_servers_connect_again_after_cut_connections(merchant: Merchant, customer: Customer) -> None:
    order = merchant.request(confirmations=1)
    _cut_connections(merchant)
    customer.pay(order.address, order.amount_sats)
    merchant.wait(lambda: merchant.client.get(order.path).status == 200, "answer again")
    order.wait("received")
    _cut_connections(merchant)
    merchant.node.mine()
    merchant.wait(lambda: merchant.client.get(order.path).status == 200, "answer again")
    order.wait("confirmed")
    merchant.wait_well()
    order.wait_told("received", "confirmed")
