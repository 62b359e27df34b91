"""Customers replace a payment before a block contains it, with a higher fee or a double-spend."""

from tests.support.customer import NO_SIGNAL, Customer
from tests.support.merchant import Merchant, Order, body, is_urgent, subjects


def test_a_fee_bump_changes_the_transaction_without_an_event(merchant: Merchant, customer: Customer) -> None:
    """received_at stays. The new transaction is shown as the replacement of the old one."""
    order = merchant.request()
    old = customer.pay(order.address, order.amount_sats)
    received_at = order.wait("received", txid=old.txid)["received_at"]
    new = customer.bump_fee(old)

    bumped = order.wait("received", txid=new.txid)
    assert bumped["received_sats"] == order.amount_sats
    states = {part["txid"]: (part["state"], part["replaced_by"]) for part in bumped["transactions"]}
    assert states == {old.txid: ("replaced", new.txid), new.txid: ("mempool", None)}
    assert bumped["received_at"] == received_at

    merchant.node.mine(6)
    order.wait("confirmed", txid=new.txid)
    order.wait_told("received", "confirmed")


def test_a_double_spend_reverts_a_received_payment(merchant: Merchant, customer: Customer) -> None:
    """The request is new again, and one urgent email names the double-spend."""
    order = merchant.request()
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("received")
    double_spend = customer.double_spend(sent)

    reverted = order.wait("new", received_sats=0, txid=None, due_sats=order.amount_sats)
    assert reverted["received_at"] is None
    assert reverted["transactions"][0]["replaced_by"] == double_spend.txid
    letters = order.wait_told("received", "reverted")
    assert [is_urgent(letter) for letter in letters] == [False, True]
    assert double_spend.txid in letters[1].as_string()

    merchant.node.mine()
    merchant.wait_tip()
    order.wait_told("received", "reverted")


def test_a_payment_confirmed_in_the_mempool_can_be_reverted(merchant: Merchant, customer: Customer) -> None:
    """A double-spend is reported for a request with 0 confirmations too."""
    order = merchant.request(confirmations=0)
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("confirmed")
    customer.double_spend(sent)
    order.wait("new", confirmed_at=None)
    assert is_urgent(order.wait_told("received", "confirmed", "reverted")[-1])


def test_a_payment_that_does_not_signal_replaceability_can_be_replaced(
    merchant: Merchant, customer: Customer
) -> None:
    """bitcoind uses full RBF, so the sequence number protects no payment."""
    order = merchant.request()
    sent = customer.pay(order.address, order.amount_sats, sequence=NO_SIGNAL)
    order.wait("received")
    customer.double_spend(sent)
    order.wait("new")
    order.wait_told("received", "reverted")


def test_a_double_spend_seen_only_in_a_block_reverts_a_payment(
    merchant: Merchant, customer: Customer
) -> None:
    """The double-spend was never in bitcoind's mempool."""
    order = merchant.request()
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("received")
    double_spend = customer.sign_double_spend(sent)
    customer.mine_only(double_spend.raw)
    order.wait("new")
    assert order.wait_state(sent.txid, "replaced")["replaced_by"] == double_spend.txid
    order.wait_told("received", "reverted")


def test_a_double_spend_of_a_parent_reverts_its_child(merchant: Merchant, customer: Customer) -> None:
    """The payment spends an unconfirmed output, and its parent is double-spent."""
    order = merchant.request()
    parent = customer.pay(customer.address(), 1_000_000)
    child = customer.pay(order.address, order.amount_sats, coin=parent.change)
    order.wait("received", txid=child.txid)
    double_spend = customer.double_spend(parent)
    order.wait("new")
    assert order.wait_state(child.txid, "replaced")["replaced_by"] == double_spend.txid
    order.wait_told("received", "reverted")


def test_a_double_spend_of_a_grandparent_reverts_the_grandchild(
    merchant: Merchant, customer: Customer
) -> None:
    """The chain of unconfirmed transactions may have any length."""
    order = merchant.request()
    first = customer.pay(customer.address(), 1_000_000)
    second = customer.pay(customer.address(), 1_000_000, coin=first.change)
    third = customer.pay(order.address, order.amount_sats, coin=second.change)
    order.wait("received", txid=third.txid)
    customer.mine_only(customer.sign_double_spend(first).raw)
    order.wait("new")
    order.wait_told("received", "reverted")


def test_a_payment_replaced_by_a_smaller_one_is_reverted(merchant: Merchant, customer: Customer) -> None:
    """The replacement pays a part, and the rest can come later."""
    order = merchant.request()
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("received")
    customer.pay(order.address, 15_000, coin=sent.coin, fee_sats=50_000)
    order.wait("underpaid", received_sats=15_000)
    order.wait_told("received", "reverted", "underpaid")
    customer.pay(order.address, 5_000)
    order.wait("received")
    order.wait_told("received", "reverted", "underpaid", "received")


def test_a_double_spend_reverts_the_payments_of_two_requests(merchant: Merchant, customer: Customer) -> None:
    """Each request gets one event of its own."""
    socks, scarf = merchant.request(), merchant.request()
    sent = customer.pay_all({socks.address: socks.amount_sats, scarf.address: scarf.amount_sats})
    for order in (socks, scarf):
        order.wait("received")
    customer.double_spend(sent)
    for order in (socks, scarf):
        order.wait("new")
        order.wait_told("received", "reverted")


def test_a_replaced_payment_that_is_mined_counts_again(merchant: Merchant, customer: Customer) -> None:
    """A block outranks the replacement in the mempool. The payment is reported again."""
    order = merchant.request(confirmations=1)
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("received")
    customer.double_spend(sent)
    order.wait("new")
    customer.mine_only(sent.raw)
    order.wait("confirmed", txid=sent.txid)
    letters = order.wait_told("received", "reverted", "received", "confirmed")
    assert len(letters) == 4


def test_a_double_spend_changes_no_other_request(merchant: Merchant, customer: Customer) -> None:
    robbed, honest = merchant.request(), merchant.request()
    sent = customer.pay(robbed.address, robbed.amount_sats)
    customer.pay(honest.address, honest.amount_sats)
    _all_received(robbed, honest)
    customer.double_spend(sent)
    robbed.wait("new")
    merchant.node.mine(6)
    honest.wait("confirmed")
    assert subjects(honest.wait_told("received", "confirmed")) == ["Payment received", "Payment confirmed"]
    robbed.wait_told("received", "reverted")


def test_extra_money_after_double_spent_extra_money_is_reported(
    merchant: Merchant, customer: Customer
) -> None:
    """The new extra money is less than the first. The email has the current amount."""
    order = merchant.request(confirmations=0)
    customer.pay(order.address, order.amount_sats)
    order.wait("confirmed")
    extra = customer.pay(order.address, 5_000)
    order.wait_told("received", "confirmed", "extra")
    customer.double_spend(extra)
    order.wait("confirmed", overpaid_sats=0)
    order.wait_told("received", "confirmed", "extra")

    customer.pay(order.address, 4_000)
    order.wait("confirmed", overpaid_sats=4_000)
    letters = order.wait_told("received", "confirmed", "extra", "extra")
    assert "The customer paid 0.00004000 BTC too much." in " ".join(body(letters[-1]).split())


def _all_received(*orders: Order) -> None:
    for order in orders:
        order.wait("received")
