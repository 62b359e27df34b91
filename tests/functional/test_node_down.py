"""An outage of bitcoind loses no payment, and causes no false event."""

import pytest

from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.merchant import Merchant, is_urgent

pytestmark = pytest.mark.bitcoind


def test_requests_are_answered_while_bitcoind_is_down(till: Merchant, customer: Customer) -> None:
    """Addresses come from the pool, and /health names the problem. A payment at the restart is received."""
    till.node.stop()
    problem = till.wait_problem("bitcoind at", "cannot be reached")
    assert "BITCOIND_RPC_URL" in problem
    assert till.health().status == 503
    order = till.request(confirmations=1)

    till.node.launch()
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("received", txid=sent.txid)
    till.node.mine()
    order.wait("confirmed")
    order.wait_told("received", "confirmed")
    till.wait_well()


def test_an_outage_is_logged_at_its_start_and_at_its_end(till: Merchant) -> None:
    """Retries add no lines."""
    till.daemon.restart()
    till.wait_well()
    till.node.stop()
    till.wait_problem("cannot be reached")
    till.node.launch()
    till.wait_well()
    lines = [line for line in till.daemon.lines() if "outage" in line]
    assert ["level=error" in line for line in lines] == [True, False], lines


def test_a_restart_of_bitcoind_reverts_no_payment(till: Merchant, customer: Customer) -> None:
    """bitcoind loads its saved mempool. The daemon connects to the feed again, and receives new payments."""
    order, other = till.request(confirmations=1), till.request(confirmations=1)
    customer.pay(order.address, order.amount_sats)
    order.wait("received")
    till.node.restart()
    till.wait_well()
    customer.pay(other.address, other.amount_sats)
    other.wait("received")
    till.node.mine()
    for each in (order, other):
        each.wait("confirmed")
        each.wait_told("received", "confirmed")


def test_a_killed_bitcoind_without_its_last_blocks_reverts_no_payment(
    till: Merchant, customer: Customer
) -> None:
    """bitcoind restarts with a lower tip and an empty mempool. The daemon waits, and stores no event."""
    till.node.restart()
    confirmed, received = till.request(confirmations=2), till.request(confirmations=1)
    customer.pay(confirmed.address, confirmed.amount_sats)
    confirmed.wait("received")
    till.node.mine(2)
    confirmed.wait("confirmed")
    customer.pay(received.address, received.amount_sats)
    received.wait("received")
    height = till.node.rpc("getblockcount")

    till.node.kill()
    till.node.launch()
    while till.node.rpc("getblockcount") <= height:
        till.node.mine()
    till.wait_tip()
    confirmed.wait("confirmed")
    received.wait("confirmed")
    confirmed.wait_told("received", "confirmed")
    received.wait_told("received", "confirmed")


def test_a_payment_that_bitcoind_loses_in_a_restart_is_dropped(till: Merchant, customer: Customer) -> None:
    """bitcoind has no saved mempool, and its wallet sends no copy. A payment that returns counts again."""
    order = till.request()
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("received")
    till.node.restart("-persistmempool=0", "-walletbroadcast=0")
    order.wait("new", received_sats=0)
    assert order.wait_state(sent.txid, "dropped")["replaced_by"] is None
    letters = order.wait_told("received", "reverted")
    assert is_urgent(letters[-1])
    customer.publish(sent)
    order.wait("received", txid=sent.txid)
    order.wait_told("received", "reverted", "received")


def test_a_double_spend_without_a_feed_is_found(till: Merchant, customer: Customer) -> None:
    """After each new connection, the daemon checks all unconfirmed payments."""
    order = till.request()
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("received")
    till.daemon.stop()
    till.node.restart()
    double_spend = customer.double_spend(sent)
    till.daemon.start()
    order.wait("new")
    assert order.transactions()[sent.txid]["replaced_by"] == double_spend.txid
    order.wait_told("received", "reverted")


def test_an_unloaded_wallet_is_loaded_again(make_till: MerchantMaker, customer: Customer) -> None:
    """The daemon loads the wallet, because new addresses need it. Payments are found without it."""
    till = make_till(RECONCILE_INTERVAL="1").open()
    till.node.rpc("unloadwallet", till.wallet)
    order = till.request()
    customer.pay(order.address, order.amount_sats)
    order.wait("received")
    till.wait(lambda: till.wallet in till.node.rpc("listwallets"), "load the wallet")
    size = int(till.installation.settings["ADDRESS_POOL"])
    till.wait(lambda: till.health().document["addresses"]["free"] == size, "fill the pool")
    till.wait_well()


def test_a_locked_wallet_is_enough(make_till: MerchantMaker, customer: Customer) -> None:
    """The daemon gets addresses and finds payments without the passphrase, because it spends nothing."""
    till = make_till(ADDRESS_POOL="5", RECONCILE_INTERVAL="1").open()
    till.node.rpc("encryptwallet", "correct horse", wallet=till.wallet)
    assert till.node.rpc("getwalletinfo", wallet=till.wallet)["unlocked_until"] == 0
    orders = [till.request(confirmations=1) for _ in range(8)]
    customer.pay(orders[-1].address, orders[-1].amount_sats)
    orders[-1].wait("received")
    till.node.mine()
    orders[-1].wait("confirmed")
    till.wait(lambda: till.health().document["addresses"]["free"] == 5, "fill the pool")
    till.wait_well()
