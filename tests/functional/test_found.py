"""What the model-based test has found: each failure again, told by hand."""

from tests.functional.customer import Customer
from tests.functional.till import Till


def test_a_payment_that_fell_out_of_its_block_goes_with_its_parent(till: Till, customer: Customer) -> None:
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
