"""What the model-based test has found: each failure again, told by hand."""

from tests.support.customer import Customer
from tests.support.merchant import Merchant


def test_a_payment_that_fell_out_of_its_block_goes_with_its_parent(
    till: Merchant, customer: Customer
) -> None:
    """Both were met in a block, where no parent need be watched; back in the mempool it must be.

    The payment counted as received until the next block, though nobody had it any more.
    """
    order = till.request(confirmations=1)
    parent = customer.write({customer.address(): 1_000_000})
    child = customer.write({order.address: order.amount_sats}, coin=parent.change)
    customer.mine_only(parent.raw, child.raw)
    order.wait("confirmed", txid=child.txid)
    customer.reorg(1)
    till.wait_tip()
    order.wait("received", txid=child.txid)
    thief = customer.double_spend(parent)
    order.wait("new")
    assert order.transactions()[child.txid]["replaced_by"] == thief.txid
    order.wait_told("received", "confirmed", "reverted", "reverted")


def test_a_payment_that_takes_the_place_of_the_parent_of_another_is_as_old(
    till: Merchant, customer: Customer
) -> None:
    """The customer pays the same request otherwise: it is not late, and nobody is told of a loss.

    Here it was the story that knew no better.
    """
    order = till.request()
    parent = customer.pay(customer.address(), 1_000_000)
    child = customer.pay(order.address, order.amount_sats, coin=parent.change)
    first_seen_at = order.wait("received", txid=child.txid)["transactions"][0]["first_seen_at"]
    other = customer.pay(order.address, order.amount_sats, coin=parent.coin, fee_sats=100_000)
    order.wait("received", txid=other.txid)
    parts = order.transactions()
    assert parts[child.txid]["replaced_by"] == other.txid
    assert parts[other.txid]["first_seen_at"] == first_seen_at
    order.wait_told("received")
