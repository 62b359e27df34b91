"""Customers change their minds before a block has it: more fee, or the money back."""

from tests.support.customer import NO_SIGNAL, Customer
from tests.support.merchant import Merchant, Order, body, is_urgent, subjects


def test_a_fee_bump_changes_the_transaction_and_tells_nobody(till: Merchant, customer: Customer) -> None:
    """The request is as old as before; the old transaction is shown as replaced by the new one."""
    order = till.request()
    old = customer.pay(order.address, order.amount_sats)
    received_at = order.wait("received", txid=old.txid)["received_at"]
    new = customer.bump_fee(old)

    bumped = order.wait("received", txid=new.txid)
    assert bumped["received_sats"] == order.amount_sats
    states = {part["txid"]: (part["state"], part["replaced_by"]) for part in bumped["transactions"]}
    assert states == {old.txid: ("replaced", new.txid), new.txid: ("mempool", None)}
    assert bumped["received_at"] == received_at

    till.node.mine(6)
    order.wait("confirmed", txid=new.txid)
    order.wait_told("received", "confirmed")


def test_a_double_spend_takes_a_received_payment_back(till: Merchant, customer: Customer) -> None:
    """The request is new again, its transaction replaced, and the operator told urgently. Once."""
    order = till.request()
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("received")
    thief = customer.double_spend(sent)

    reverted = order.wait("new", received_sats=0, txid=None, due_sats=order.amount_sats)
    assert reverted["received_at"] is None
    assert reverted["transactions"][0]["replaced_by"] == thief.txid
    letters = order.wait_told("received", "reverted")
    assert [is_urgent(letter) for letter in letters] == [False, True]
    assert thief.txid in letters[1].as_string()

    till.node.mine()
    till.wait_tip()
    order.wait_told("received", "reverted")


def test_a_payment_confirmed_at_first_sight_can_be_taken_back(till: Merchant, customer: Customer) -> None:
    """Whoever asks for 0 confirmations is told of the double-spend all the same."""
    order = till.request(confirmations=0)
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("confirmed")
    customer.double_spend(sent)
    order.wait("new", confirmed_at=None)
    assert is_urgent(order.wait_told("received", "confirmed", "reverted")[-1])


def test_a_payment_that_does_not_signal_replaceability_is_replaced_all_the_same(
    till: Merchant, customer: Customer
) -> None:
    """Full RBF: the sequence number protects nobody."""
    order = till.request()
    sent = customer.pay(order.address, order.amount_sats, sequence=NO_SIGNAL)
    order.wait("received")
    customer.double_spend(sent)
    order.wait("new")
    order.wait_told("received", "reverted")


def test_a_double_spend_that_only_a_miner_saw_takes_a_payment_back(
    till: Merchant, customer: Customer
) -> None:
    """The block that has it is enough: no mempool need have shown it."""
    order = till.request()
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("received")
    thief = customer.sign_double_spend(sent)
    customer.mine_only(thief.raw)
    order.wait("new")
    assert order.wait_state(sent.txid, "replaced")["replaced_by"] == thief.txid
    order.wait_told("received", "reverted")


def test_a_parent_s_double_spend_takes_its_child_back(till: Merchant, customer: Customer) -> None:
    """A payment made of unconfirmed money goes when that money is spent otherwise."""
    order = till.request()
    parent = customer.pay(customer.address(), 1_000_000)
    child = customer.pay(order.address, order.amount_sats, coin=parent.change)
    order.wait("received", txid=child.txid)
    thief = customer.double_spend(parent)
    order.wait("new")
    assert order.wait_state(child.txid, "replaced")["replaced_by"] == thief.txid
    order.wait_told("received", "reverted")


def test_a_grandparent_s_double_spend_in_a_block_takes_the_grandchild_back(
    till: Merchant, customer: Customer
) -> None:
    """However long the chain of unconfirmed money is."""
    order = till.request()
    first = customer.pay(customer.address(), 1_000_000)
    second = customer.pay(customer.address(), 1_000_000, coin=first.change)
    third = customer.pay(order.address, order.amount_sats, coin=second.change)
    order.wait("received", txid=third.txid)
    customer.mine_only(customer.sign_double_spend(first).raw)
    order.wait("new")
    order.wait_told("received", "reverted")


def test_a_payment_that_is_replaced_by_a_smaller_one_is_taken_back(
    till: Merchant, customer: Customer
) -> None:
    """What counts is what is there: the replacement pays a part, and the rest can come after it."""
    order = till.request()
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("received")
    customer.pay(order.address, 15_000, coin=sent.coin, fee_sats=50_000)
    order.wait("underpaid", received_sats=15_000)
    order.wait_told("received", "reverted", "underpaid")
    customer.pay(order.address, 5_000)
    order.wait("received")
    order.wait_told("received", "reverted", "underpaid", "received")


def test_one_transaction_replaces_the_payments_of_two_requests(till: Merchant, customer: Customer) -> None:
    """Each request is told of its own loss, and of nothing else."""
    socks, scarf = till.request(), till.request()
    sent = customer.pay_all({socks.address: socks.amount_sats, scarf.address: scarf.amount_sats})
    for order in (socks, scarf):
        order.wait("received")
    customer.double_spend(sent)
    for order in (socks, scarf):
        order.wait("new")
        order.wait_told("received", "reverted")


def test_the_original_is_mined_after_all(till: Merchant, customer: Customer) -> None:
    """A replacement in the mempool loses to a block; a payment that counts again is told again."""
    order = till.request(confirmations=1)
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("received")
    customer.double_spend(sent)
    order.wait("new")
    customer.mine_only(sent.raw)
    order.wait("confirmed", txid=sent.txid)
    letters = order.wait_told("received", "reverted", "received", "confirmed")
    assert len(letters) == 4


def test_other_payments_go_on_meanwhile(till: Merchant, customer: Customer) -> None:
    """A double-spend touches the request that it robs, and no other."""
    robbed, honest = till.request(), till.request()
    sent = customer.pay(robbed.address, robbed.amount_sats)
    customer.pay(honest.address, honest.amount_sats)
    _all_received(robbed, honest)
    customer.double_spend(sent)
    robbed.wait("new")
    till.node.mine(6)
    honest.wait("confirmed")
    assert subjects(honest.wait_told("received", "confirmed")) == ["Payment received", "Payment confirmed"]
    robbed.wait_told("received", "reverted")


def test_extra_money_in_the_place_of_double_spent_extra_money_is_told(
    till: Merchant, customer: Customer
) -> None:
    """Though there had been more before; the operator reads what there is now."""
    order = till.request(confirmations=0)
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
