"""The chain is rewritten under a till: only what that changes for a payment is told."""

from typing import Any

from tests.support.customer import Customer, Sent
from tests.support.merchant import Merchant, Order, is_urgent


def _mined(till: Merchant, customer: Customer, blocks: int, **more: Any) -> tuple[Order, Sent]:
    """A paid request that is `blocks` deep."""
    order = till.request(**more)
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("received")
    till.node.mine(blocks)
    till.wait_tip()
    return order, sent


def test_a_reorg_that_leaves_a_payment_as_deep_tells_nobody(till: Merchant, customer: Customer) -> None:
    """Two blocks are replaced by three, the payment is in the first: one confirmation more, no event."""
    order, sent = _mined(till, customer, 2)
    order.wait("confirming", confirmations=2)
    customer.reorg(2, [sent.txid])
    till.wait_tip()
    assert order.now()["confirmations"] == 3
    order.wait_told("received")
    till.node.mine(3)
    order.wait("confirmed", confirmations=6)
    order.wait_told("received", "confirmed")


def test_a_payment_that_falls_back_into_the_mempool_stays_received(
    till: Merchant, customer: Customer
) -> None:
    """Before it was confirmed, losing its block is no event: the status shows it."""
    order, sent = _mined(till, customer, 1)
    order.wait("confirming", confirmations=1)
    customer.reorg(1)
    till.wait_tip()
    order.wait("received", confirmations=0, txid=sent.txid)
    assert order.transactions()[sent.txid]["state"] == "mempool"
    order.wait_told("received")


def test_a_confirmed_payment_that_is_mined_again_stays_confirmed(till: Merchant, customer: Customer) -> None:
    """It may even be less deep than was asked for: it is in the chain, and nobody is told anything."""
    order, sent = _mined(till, customer, 2, confirmations=2)
    order.wait("confirmed", confirmations=2)
    customer.reorg(2, [], [], [sent.txid])
    till.wait_tip()
    order.wait("confirmed", confirmations=1)
    order.wait_told("received", "confirmed")


def test_another_block_of_the_same_height_is_no_outage(till: Merchant, customer: Customer) -> None:
    """It is read like any other, and the log speaks of a reorg and of nothing worse."""
    order, sent = _mined(till, customer, 1)
    before = len(till.daemon.lines())
    customer.invalidate(1)
    customer.mine_only(sent.txid)
    till.wait_tip()
    assert order.now()["confirmations"] == 1
    till.node.mine()
    order.wait("confirming", confirmations=2)
    said = till.daemon.lines()[before:]
    assert any("event=reorg" in line for line in said)
    assert not any("event=outage" in line for line in said)


def test_a_confirmed_payment_that_leaves_the_chain_is_reverted(till: Merchant, customer: Customer) -> None:
    """It is only received then, and confirmed anew by its next block: all of it is told."""
    order, sent = _mined(till, customer, 2, confirmations=2)
    order.wait("confirmed")
    customer.reorg(2)
    till.wait_tip()
    order.wait("received", confirmations=0, confirmed_at=None)
    letters = order.wait_told("received", "confirmed", "reverted")
    assert is_urgent(letters[-1])
    customer.mine_only(sent.txid)
    order.wait("confirming", confirmations=1)
    till.node.mine()
    order.wait("confirmed", confirmations=2)
    order.wait_told("received", "confirmed", "reverted", "confirmed")


def test_a_confirmed_payment_that_is_double_spent_in_another_chain_is_reverted(
    till: Merchant, customer: Customer
) -> None:
    """The worst that can happen is told once, urgently, and what is left is a request without money."""
    order, sent = _mined(till, customer, 3, confirmations=3)
    order.wait("confirmed")
    thief = customer.sign_double_spend(sent)
    customer.reorg(3, [thief.raw])
    till.wait_tip()
    reverted = order.wait("new", received_sats=0, confirmed_at=None)
    assert [part["replaced_by"] for part in reverted["transactions"]] == [thief.txid]
    letters = order.wait_told("received", "confirmed", "reverted")
    assert is_urgent(letters[-1])


def test_a_double_spend_is_undone_by_another_reorg(till: Merchant, customer: Customer) -> None:
    """The chain that wins is the truth, whichever came first."""
    order, sent = _mined(till, customer, 1, confirmations=1)
    order.wait("confirmed")
    customer.reorg(1, [customer.sign_double_spend(sent).raw])
    order.wait("new")
    customer.reorg(2, [sent.raw])
    order.wait("confirmed", txid=sent.txid)
    order.wait_told("received", "confirmed", "reverted", "received", "confirmed")


def test_a_payment_that_a_deep_reorg_forgets_is_reverted_and_can_come_back(
    till: Merchant, customer: Customer
) -> None:
    """bitcoind puts nothing back from below ten blocks: the payment is gone until somebody sends it again."""
    order, sent = _mined(till, customer, 12)
    order.wait("confirmed", confirmations=12)
    customer.reorg(12)
    till.wait_tip()
    order.wait("new", received_sats=0)
    assert order.wait_state(sent.txid, "dropped")["replaced_by"] is None
    order.wait_told("received", "confirmed", "reverted")
    customer.publish(sent)
    order.wait("received", txid=sent.txid)
    till.node.mine(6)
    order.wait("confirmed")
    order.wait_told("received", "confirmed", "reverted", "received", "confirmed")


def test_a_reorg_that_happens_while_the_daemon_is_down_is_found(till: Merchant, customer: Customer) -> None:
    """The next start walks back to the common ancestor and reads what came instead."""
    robbed, stolen = _mined(till, customer, 2, confirmations=2)
    kept, moved = _mined(till, customer, 2, confirmations=2)
    robbed.wait("confirmed", confirmations=4)
    till.daemon.stop()
    customer.reorg(4, [customer.sign_double_spend(stolen).raw, moved.raw])
    till.daemon.start()
    till.wait_tip()
    robbed.wait("new")
    kept.wait("confirmed", confirmations=5)
    robbed.wait_told("received", "confirmed", "reverted")
    kept.wait_told("received", "confirmed")


def test_a_double_spend_of_a_payment_that_was_first_met_in_a_block_is_known_for_what_it_is(
    till: Merchant, customer: Customer
) -> None:
    """Its inputs are remembered too: it is replaced, not only gone."""
    order = till.request(confirmations=1)
    unsent = customer.write({order.address: order.amount_sats})
    customer.mine_only(unsent.raw)
    order.wait("confirmed")
    thief = customer.sign_double_spend(unsent)
    customer.reorg(1, [thief.raw])
    order.wait("new")
    assert order.transactions()[unsent.txid]["replaced_by"] == thief.txid
    order.wait_told("received", "confirmed", "reverted")


def test_a_payment_that_fell_out_of_its_block_can_be_double_spent(till: Merchant, customer: Customer) -> None:
    """Back in the mempool it is as unsafe as any other."""
    order = till.request(confirmations=1)
    unsent = customer.write({order.address: order.amount_sats})
    customer.mine_only(unsent.raw)
    order.wait("confirmed")
    customer.reorg(1)
    order.wait("received")
    thief = customer.double_spend(unsent)
    order.wait("new")
    assert order.transactions()[unsent.txid]["replaced_by"] == thief.txid
    order.wait_told("received", "confirmed", "reverted", "reverted")


def test_a_double_spend_that_a_deep_reorg_forgets_has_replaced_nothing(
    till: Merchant, customer: Customer
) -> None:
    """Neither is anywhere then: the payment is only gone, and can come back."""
    order = till.request(confirmations=1)
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("received")
    thief = customer.sign_double_spend(sent)
    customer.mine_only(thief.raw)
    order.wait("new")
    assert order.transactions()[sent.txid]["replaced_by"] == thief.txid
    till.node.mine(11)
    customer.reorg(12)
    assert order.wait_state(sent.txid, "dropped")["replaced_by"] is None
    customer.mine_only(sent.raw)
    order.wait("confirmed", txid=sent.txid)
    order.wait_told("received", "reverted", "received", "confirmed")


def test_a_parent_that_fell_back_into_the_mempool_takes_its_child_with_it(
    till: Merchant, customer: Customer
) -> None:
    """The payment never left the mempool, and was made of money that was confirmed then."""
    order = till.request()
    parent = customer.pay(customer.address(), 1_000_000)
    till.node.mine()
    till.wait_tip()
    child = customer.pay(order.address, order.amount_sats, coin=parent.change)
    order.wait("received", txid=child.txid)
    customer.reorg(1)
    till.wait_tip()
    thief = customer.double_spend(parent)
    order.wait("new")
    assert order.wait_state(child.txid, "replaced")["replaced_by"] == thief.txid
    order.wait_told("received", "reverted")
