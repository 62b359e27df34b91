"""Reorgs cause only the events of payments whose status changes."""

from typing import Any

from tests.support.customer import Customer, Sent
from tests.support.merchant import Merchant, Order, is_urgent


def _mined(merchant: Merchant, customer: Customer, blocks: int, **more: Any) -> tuple[Order, Sent]:
    """Return a paid request with `blocks` confirmations, and its payment."""
    order = merchant.request(**more)
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("received")
    merchant.node.mine(blocks)
    merchant.wait_tip()
    return order, sent


def test_a_reorg_that_keeps_a_payment_causes_no_event(merchant: Merchant, customer: Customer) -> None:
    """Three blocks replace two, and the first has the payment, which gets one confirmation more."""
    order, sent = _mined(merchant, customer, 2)
    order.wait("confirming", confirmations=2)
    customer.reorg(2, [sent.txid])
    merchant.wait_tip()
    assert order.now()["confirmations"] == 3
    order.wait_told("received")
    merchant.node.mine(3)
    order.wait("confirmed", confirmations=6)
    order.wait_told("received", "confirmed")


def test_a_payment_that_returns_to_the_mempool_stays_received(merchant: Merchant, customer: Customer) -> None:
    """The payment loses its block before it is confirmed. The status changes, and no event is stored."""
    order, sent = _mined(merchant, customer, 1)
    order.wait("confirming", confirmations=1)
    customer.reorg(1)
    merchant.wait_tip()
    order.wait("received", confirmations=0, txid=sent.txid)
    assert order.transactions()[sent.txid]["state"] == "mempool"
    order.wait_told("received")


def test_a_confirmed_payment_that_is_mined_again_stays_confirmed(
    merchant: Merchant, customer: Customer
) -> None:
    """The payment has fewer confirmations than required, but is in the chain. No event is stored."""
    order, sent = _mined(merchant, customer, 2, confirmations=2)
    order.wait("confirmed", confirmations=2)
    customer.reorg(2, [], [], [sent.txid])
    merchant.wait_tip()
    order.wait("confirmed", confirmations=1)
    order.wait_told("received", "confirmed")


def test_another_block_of_the_same_height_is_logged_as_a_reorg(
    merchant: Merchant, customer: Customer
) -> None:
    """The log has no outage."""
    order, sent = _mined(merchant, customer, 1)
    before = len(merchant.daemon.lines())
    customer.invalidate(1)
    customer.mine_only(sent.txid)
    merchant.wait_tip()
    assert order.now()["confirmations"] == 1
    merchant.node.mine()
    order.wait("confirming", confirmations=2)
    lines = merchant.daemon.lines()[before:]
    assert any("event=reorg" in line for line in lines)
    assert not any("event=outage" in line for line in lines)


def test_a_confirmed_payment_that_leaves_the_chain_is_reverted(
    merchant: Merchant, customer: Customer
) -> None:
    """The request is received again, and new blocks confirm it again. Each change has its event."""
    order, sent = _mined(merchant, customer, 2, confirmations=2)
    order.wait("confirmed")
    customer.reorg(2)
    merchant.wait_tip()
    order.wait("received", confirmations=0, confirmed_at=None)
    letters = order.wait_told("received", "confirmed", "reverted")
    assert is_urgent(letters[-1])
    customer.mine_only(sent.txid)
    order.wait("confirming", confirmations=1)
    merchant.node.mine()
    order.wait("confirmed", confirmations=2)
    order.wait_told("received", "confirmed", "reverted", "confirmed")


def test_a_confirmed_payment_that_is_double_spent_in_another_chain_is_reverted(
    merchant: Merchant, customer: Customer
) -> None:
    """One urgent email reports it, and the request has no money."""
    order, sent = _mined(merchant, customer, 3, confirmations=3)
    order.wait("confirmed")
    double_spend = customer.sign_double_spend(sent)
    customer.reorg(3, [double_spend.raw])
    merchant.wait_tip()
    reverted = order.wait("new", received_sats=0, confirmed_at=None)
    assert [part["replaced_by"] for part in reverted["transactions"]] == [double_spend.txid]
    letters = order.wait_told("received", "confirmed", "reverted")
    assert is_urgent(letters[-1])


def test_a_double_spend_is_undone_by_another_reorg(merchant: Merchant, customer: Customer) -> None:
    """The active chain decides, whichever transaction came first."""
    order, sent = _mined(merchant, customer, 1, confirmations=1)
    order.wait("confirmed")
    customer.reorg(1, [customer.sign_double_spend(sent).raw])
    order.wait("new")
    customer.reorg(2, [sent.raw])
    order.wait("confirmed", txid=sent.txid)
    order.wait_told("received", "confirmed", "reverted", "received", "confirmed")


def test_a_payment_lost_in_a_deep_reorg_is_reverted_and_can_come_back(
    merchant: Merchant, customer: Customer
) -> None:
    """bitcoind returns no transaction to its mempool from more than ten blocks deep.

    The payment counts again once it is sent again.
    """
    order, sent = _mined(merchant, customer, 12)
    order.wait("confirmed", confirmations=12)
    customer.reorg(12)
    merchant.wait_tip()
    order.wait("new", received_sats=0)
    assert order.wait_state(sent.txid, "dropped")["replaced_by"] is None
    order.wait_told("received", "confirmed", "reverted")
    customer.publish(sent)
    order.wait("received", txid=sent.txid)
    merchant.node.mine(6)
    order.wait("confirmed")
    order.wait_told("received", "confirmed", "reverted", "received", "confirmed")


def test_a_reorg_while_the_daemon_is_down_is_found(merchant: Merchant, customer: Customer) -> None:
    """At its start the daemon goes back to the common ancestor, and reads the new blocks."""
    robbed, stolen = _mined(merchant, customer, 2, confirmations=2)
    kept, moved = _mined(merchant, customer, 2, confirmations=2)
    robbed.wait("confirmed", confirmations=4)
    merchant.daemon.stop()
    customer.reorg(4, [customer.sign_double_spend(stolen).raw, moved.raw])
    merchant.daemon.start()
    merchant.wait_tip()
    robbed.wait("new")
    kept.wait("confirmed", confirmations=5)
    robbed.wait_told("received", "confirmed", "reverted")
    kept.wait_told("received", "confirmed")


def test_a_double_spend_of_a_payment_first_seen_in_a_block_is_found(
    merchant: Merchant, customer: Customer
) -> None:
    """The daemon stores the inputs of such a payment too. The payment is replaced, and not only dropped."""
    order = merchant.request(confirmations=1)
    unsent = customer.write({order.address: order.amount_sats})
    customer.mine_only(unsent.raw)
    order.wait("confirmed")
    double_spend = customer.sign_double_spend(unsent)
    customer.reorg(1, [double_spend.raw])
    order.wait("new")
    assert order.transactions()[unsent.txid]["replaced_by"] == double_spend.txid
    order.wait_told("received", "confirmed", "reverted")


def test_a_payment_that_left_its_block_can_be_double_spent(merchant: Merchant, customer: Customer) -> None:
    order = merchant.request(confirmations=1)
    unsent = customer.write({order.address: order.amount_sats})
    customer.mine_only(unsent.raw)
    order.wait("confirmed")
    customer.reorg(1)
    order.wait("received")
    double_spend = customer.double_spend(unsent)
    order.wait("new")
    assert order.transactions()[unsent.txid]["replaced_by"] == double_spend.txid
    order.wait_told("received", "confirmed", "reverted", "reverted")


def test_a_double_spend_lost_in_a_deep_reorg_replaces_nothing(merchant: Merchant, customer: Customer) -> None:
    """Neither transaction is in the chain or the mempool. The payment is dropped, and can come back."""
    order = merchant.request(confirmations=1)
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("received")
    double_spend = customer.sign_double_spend(sent)
    customer.mine_only(double_spend.raw)
    order.wait("new")
    assert order.transactions()[sent.txid]["replaced_by"] == double_spend.txid
    merchant.node.mine(11)
    customer.reorg(12)
    assert order.wait_state(sent.txid, "dropped")["replaced_by"] is None
    customer.mine_only(sent.raw)
    order.wait("confirmed", txid=sent.txid)
    order.wait_told("received", "reverted", "received", "confirmed")


def test_a_double_spent_parent_that_left_its_block_reverts_its_child(
    merchant: Merchant, customer: Customer
) -> None:
    """The payment itself never left the mempool. Its parent was confirmed when the payment came."""
    order = merchant.request()
    parent = customer.pay(customer.address(), 1_000_000)
    merchant.node.mine()
    merchant.wait_tip()
    child = customer.pay(order.address, order.amount_sats, coin=parent.change)
    order.wait("received", txid=child.txid)
    customer.reorg(1)
    merchant.wait_tip()
    double_spend = customer.double_spend(parent)
    order.wait("new")
    assert order.wait_state(child.txid, "replaced")["replaced_by"] == double_spend.txid
    order.wait_told("received", "reverted")
