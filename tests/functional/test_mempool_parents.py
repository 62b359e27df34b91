"""A payment whose unconfirmed parent is replaced. The model-based test has found both cases."""

from models.output import Output
from tests.support.customer import Customer
from tests.support.expected_state import is_as_old
from tests.support.merchant import Merchant


def test_a_payment_back_in_the_mempool_leaves_with_its_parent(merchant: Merchant, customer: Customer) -> None:
    """The daemon first sees both in a block, and does not watch the parent there. After the reorg it must.

    In the failure, the payment counted as received until the next block.
    """
    order = merchant.request(confirmations=1)
    parent = customer.write({customer.address(): 1_000_000})
    child = customer.write({order.address: order.amount_sats}, coin=parent.change)
    customer.mine_only(parent.raw, child.raw)
    order.wait("confirmed", txid=child.txid)
    customer.reorg(1)
    merchant.wait_tip()
    order.wait("received", txid=child.txid)
    double_spend = customer.double_spend(parent)
    order.wait("new")
    assert order.transactions()[child.txid]["replaced_by"] == double_spend.txid
    order.wait_told("received", "confirmed", "reverted", "reverted")


def test_a_replacement_of_the_parent_is_as_old_as_the_payment(merchant: Merchant, customer: Customer) -> None:
    """The replacement pays the same request, so it is not late, and there is no event.

    In the failure, the model was wrong.
    """
    order = merchant.request()
    parent = customer.pay(customer.address(), 1_000_000)
    child = customer.pay(order.address, order.amount_sats, coin=parent.change)
    order.wait("received", txid=child.txid)
    other = customer.pay(order.address, order.amount_sats, coin=parent.coin, fee_sats=100_000)
    order.wait("received", txid=other.txid)
    assert order.transactions()[child.txid]["replaced_by"] == other.txid
    with merchant.database():
        replaced, replacement = (Output.get(Output.txid == sent.txid) for sent in (child, other))
    assert is_as_old(replacement, replaced)
    order.wait_told("received")
