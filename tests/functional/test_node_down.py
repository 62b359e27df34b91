"""bitcoind goes away and comes back: nothing is lost, nothing untrue is told."""

import pytest

from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.merchant import Merchant, is_urgent

pytestmark = pytest.mark.bitcoind


def test_without_bitcoind_requests_are_still_answered(till: Merchant, customer: Customer) -> None:
    """From the pool; /health says what is wrong; and a payment made as soon as it is back is received."""
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
    """One line each, however often was tried."""
    till.daemon.restart()
    till.wait_well()
    till.node.stop()
    till.wait_problem("cannot be reached")
    till.node.launch()
    till.wait_well()
    lines = [line for line in till.daemon.lines() if "outage" in line]
    assert ["level=error" in line for line in lines] == [True, False], lines


def test_a_restart_takes_no_payment_back(till: Merchant, customer: Customer) -> None:
    """bitcoind's saved mempool has it again; the feed is joined anew and brings the next one."""
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


def test_a_killed_bitcoind_that_forgot_blocks_takes_no_payment_back(
    till: Merchant, customer: Customer
) -> None:
    """It comes back with a lower tip and without its mempool: that is waited out, and nobody is told."""
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


def test_what_a_restarted_bitcoind_does_not_have_any_more_is_dropped(
    till: Merchant, customer: Customer
) -> None:
    """Without a saved mempool and the wallets' copies a payment is gone, until somebody sends it again."""
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


def test_a_double_spend_made_while_the_feed_was_cut_is_found(till: Merchant, customer: Customer) -> None:
    """A new connection is a reason to look at everything that is in no block."""
    order = till.request()
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("received")
    till.daemon.stop()
    till.node.restart()
    thief = customer.double_spend(sent)
    till.daemon.start()
    order.wait("new")
    assert order.transactions()[sent.txid]["replaced_by"] == thief.txid
    order.wait_told("received", "reverted")


def test_an_unloaded_wallet_is_loaded_again(make_till: MerchantMaker, customer: Customer) -> None:
    """By the daemon, which needs it for new addresses; payments are found without it."""
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
    """Nodetill spends nothing: it gets its addresses and finds its payments without the passphrase."""
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
