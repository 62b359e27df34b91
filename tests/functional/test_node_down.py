"""An outage of bitcoind loses no payment, and causes no false event."""

import pytest

from tests.support.customer import Customer
from tests.support.merchant import Merchant, is_urgent

pytestmark = pytest.mark.bitcoind


def test_requests_are_answered_while_bitcoind_is_down(merchant: Merchant, customer: Customer) -> None:
    """Addresses come from the pool, and /health names the problem. A payment at the restart is received."""
    merchant.node.stop()
    problem = merchant.wait_problem("bitcoind at", "cannot be reached")
    assert "BITCOIND_RPC_URL" in problem
    assert merchant.health().status == 503
    order = merchant.request(confirmations=1)

    merchant.node.launch()
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("received", txid=sent.txid)
    merchant.node.mine()
    order.wait("confirmed")
    order.wait_told("received", "confirmed")
    merchant.wait_well()


def test_an_outage_is_logged_at_its_start_and_at_its_end(merchant: Merchant) -> None:
    """Retries add no lines."""
    merchant.daemon.restart()
    merchant.wait_well()
    merchant.node.stop()
    merchant.wait_problem("cannot be reached")
    merchant.node.launch()
    merchant.wait_well()
    lines = [line for line in merchant.daemon.lines() if "outage" in line]
    assert ["level=error" in line for line in lines] == [True, False], lines


def test_a_restart_of_bitcoind_reverts_no_payment(merchant: Merchant, customer: Customer) -> None:
    """bitcoind loads its saved mempool. The daemon connects to the feed again, and receives new payments."""
    order, other = merchant.request(confirmations=1), merchant.request(confirmations=1)
    customer.pay(order.address, order.amount_sats)
    order.wait("received")
    merchant.node.restart()
    merchant.wait_well()
    customer.pay(other.address, other.amount_sats)
    other.wait("received")
    merchant.node.mine()
    for each in (order, other):
        each.wait("confirmed")
        each.wait_told("received", "confirmed")


def test_a_killed_bitcoind_without_its_last_blocks_reverts_no_payment(
    merchant: Merchant, customer: Customer
) -> None:
    """bitcoind restarts with a lower tip and an empty mempool. The daemon waits, and stores no event."""
    merchant.node.restart()
    confirmed, received = merchant.request(confirmations=2), merchant.request(confirmations=1)
    customer.pay(confirmed.address, confirmed.amount_sats)
    confirmed.wait("received")
    merchant.node.mine(2)
    confirmed.wait("confirmed")
    customer.pay(received.address, received.amount_sats)
    received.wait("received")
    height = merchant.node.rpc("getblockcount")

    merchant.node.kill()
    merchant.node.launch()
    while merchant.node.rpc("getblockcount") <= height:
        merchant.node.mine()
    merchant.wait_tip()
    confirmed.wait("confirmed")
    received.wait("confirmed")
    confirmed.wait_told("received", "confirmed")
    received.wait_told("received", "confirmed")


def test_a_payment_that_bitcoind_loses_in_a_restart_is_dropped(
    merchant: Merchant, customer: Customer
) -> None:
    """bitcoind has no saved mempool, and its wallet sends no copy. A payment that returns counts again."""
    order = merchant.request()
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("received")
    merchant.node.restart("-persistmempool=0", "-walletbroadcast=0")
    order.wait("new", received_sats=0)
    assert order.wait_state(sent.txid, "dropped")["replaced_by"] is None
    letters = order.wait_told("received", "reverted")
    assert is_urgent(letters[-1])
    customer.publish(sent)
    order.wait("received", txid=sent.txid)
    order.wait_told("received", "reverted", "received")


def test_a_double_spend_without_a_feed_is_found(merchant: Merchant, customer: Customer) -> None:
    """After each new connection, the daemon checks all unconfirmed payments."""
    order = merchant.request()
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("received")
    merchant.daemon.stop()
    merchant.node.restart()
    double_spend = customer.double_spend(sent)
    merchant.daemon.start()
    order.wait("new")
    assert order.transactions()[sent.txid]["replaced_by"] == double_spend.txid
    order.wait_told("received", "reverted")
