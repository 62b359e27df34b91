"""Customers pay the right amount, too little, too much or twice, in transactions of every shape."""

import pytest

from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.merchant import Merchant, Order, body, subjects

pytestmark = pytest.mark.bitcoind


def test_the_exact_amount_is_received_and_then_confirmed(merchant: Merchant, customer: Customer) -> None:
    """The sixth block confirms the payment, and no earlier block does. Each event has one email."""
    order = merchant.request(note="Alpaca socks")
    assert order.now()["status"] == "new"
    assert order.amount_sats == 20_000

    sent = customer.pay(order.address, order.amount_sats)
    received = order.wait("received", confirmations=0, txid=sent.txid)
    assert (received["received_sats"], received["due_sats"], received["overpaid_sats"]) == (20_000, 0, 0)
    assert subjects(order.wait_told("received")) == ["Payment received"]

    merchant.node.mine(5)
    confirming = order.wait("confirming", confirmations=5)
    assert confirming["confirmed_at"] is None
    assert order.events() == ["received"]
    merchant.node.mine()
    confirmed = order.wait("confirmed", confirmations=6)
    assert confirmed["confirmed_at"] is not None
    assert confirmed["transactions"][0]["state"] == "mined"

    letters = order.wait_told("received", "confirmed")
    assert subjects(letters) == ["Payment received", "Payment confirmed"]
    assert [letter["Message-ID"] for letter in letters] == order.mailed()
    for letter in letters:
        for text in (order.id, order.address, sent.txid, "10.00 EUR", "0.00020000", "Alpaca socks"):
            assert text in body(letter)


def test_each_event_lists_its_delivery(merchant: Merchant, customer: Customer) -> None:
    """The API returns the channel, the attempts and the time of each delivery."""
    order = merchant.request(confirmations=0)
    customer.pay(order.address, order.amount_sats)
    order.wait_told("received", "confirmed")
    for event in order.event_list():
        (delivery,) = event["deliveries"]
        assert (delivery["channel"], delivery["attempts"], delivery["last_error"]) == ("email", 1, None)
        assert delivery["delivered_at"] is not None


def test_a_partial_payment_is_underpaid_until_the_rest_comes(merchant: Merchant, customer: Customer) -> None:
    """The document has the amount that is still due. The first email comes when nothing is due."""
    order = merchant.request()
    first = customer.pay(order.address, 5_000)
    underpaid = order.wait("underpaid", txid=first.txid)
    assert (underpaid["received_sats"], underpaid["due_sats"]) == (5_000, 15_000)

    customer.pay(order.address, 6_000)
    order.wait("underpaid", received_sats=11_000, due_sats=9_000)
    customer.pay(order.address, 9_000)
    received = order.wait("received", received_sats=20_000, due_sats=0)
    assert len(received["transactions"]) == 3
    assert received["txid"] == first.txid
    assert subjects(order.wait_told("underpaid", "underpaid", "received")) == ["Payment received"]


def test_the_part_mined_last_counts_for_the_confirmations(merchant: Merchant, customer: Customer) -> None:
    """A request has as many confirmations as the output that completes it."""
    order = merchant.request(confirmations=3)
    customer.pay(order.address, 15_000)
    order.wait("underpaid")
    merchant.node.mine(2)
    customer.pay(order.address, 5_000)
    order.wait("received", confirmations=0)
    merchant.node.mine()
    order.wait("confirming", confirmations=1)
    merchant.node.mine(2)
    order.wait("confirmed", confirmations=3)
    order.wait_told("underpaid", "received", "confirmed")


def test_an_overpayment_is_received_with_its_surplus(merchant: Merchant, customer: Customer) -> None:
    """Nothing is due, and overpaid_sats is the surplus."""
    order = merchant.request()
    customer.pay(order.address, 20_001)
    received = order.wait("received")
    assert (received["due_sats"], received["overpaid_sats"]) == (0, 1)
    (letter,) = order.wait_told("received")
    assert "0.00000001" in body(letter)


def test_one_satoshi_less_is_not_enough(merchant: Merchant, customer: Customer) -> None:
    """Without a tolerance the amount is due to the last satoshi."""
    order = merchant.request()
    customer.pay(order.address, 19_999)
    order.wait("underpaid", due_sats=1)
    assert order.wait_told("underpaid") == []


def test_an_amount_within_the_tolerance_may_be_missing(
    make_merchant: MerchantMaker, customer: Customer
) -> None:
    """Five percent below the amount is enough, and one satoshi less is not."""
    merchant = make_merchant(UNDERPAYMENT_TOLERANCE="5").open()
    enough, less = merchant.request(), merchant.request()
    customer.pay_all({enough.address: 19_000, less.address: 18_999})
    received = enough.wait("received", received_sats=19_000)
    assert (received["due_sats"], received["overpaid_sats"]) == (0, 0)
    less.wait("underpaid", due_sats=1_001)
    enough.wait_told("received")


def test_one_transaction_pays_two_requests(merchant: Merchant, customer: Customer) -> None:
    """Each request gets its own output of a transaction that pays both."""
    socks, scarf = merchant.request("10.00"), merchant.request("25.50")
    sent = customer.pay_all({socks.address: socks.amount_sats, scarf.address: scarf.amount_sats})
    for order in (socks, scarf):
        received = order.wait("received", txid=sent.txid)
        assert [part["amount_sats"] for part in received["transactions"]] == [order.amount_sats]
        order.wait_told("received")
    merchant.node.mine(6)
    for order in (socks, scarf):
        order.wait_told("received", "confirmed")


def test_a_second_payment_is_reported_as_extra(merchant: Merchant, customer: Customer) -> None:
    """The second payment is overpaid, causes payment.extra, and changes no confirmations."""
    order = merchant.request(confirmations=1)
    customer.pay(order.address, order.amount_sats)
    order.wait("received")
    merchant.node.mine()
    order.wait("confirmed")
    customer.pay(order.address, order.amount_sats)
    again = order.wait("confirmed", overpaid_sats=order.amount_sats)
    assert again["confirmations"] == 1
    letters = order.wait_told("received", "confirmed", "extra")
    assert len(letters) == 3


def test_a_request_for_0_confirmations_is_confirmed_in_the_mempool(
    merchant: Merchant, customer: Customer
) -> None:
    """The events are first received and then confirmed."""
    order = merchant.request(confirmations=0)
    customer.pay(order.address, order.amount_sats)
    order.wait("confirmed", confirmations=0)
    letters = order.wait_told("received", "confirmed")
    assert subjects(letters) == ["Payment received", "Payment confirmed"]


def test_a_request_for_1_confirmation_is_confirmed_by_one_block(
    merchant: Merchant, customer: Customer
) -> None:
    order = merchant.request(confirmations=1)
    customer.pay(order.address, order.amount_sats)
    order.wait("received")
    (block,) = merchant.node.mine()
    confirmed = order.wait("confirmed", confirmations=1)
    assert confirmed["transactions"][0]["block_hash"] == block
    order.wait_told("received", "confirmed")


def test_a_payment_first_seen_in_a_block_is_received_then_confirmed(
    merchant: Merchant, customer: Customer
) -> None:
    """The payment was never in bitcoind's mempool, but its events are the usual ones."""
    order = merchant.request(confirmations=1)
    unsent = customer.write({order.address: order.amount_sats})
    customer.mine_only(unsent.raw)
    order.wait("confirmed", txid=unsent.txid)
    order.wait_told("received", "confirmed")


def test_hundreds_of_outputs_in_one_transaction_are_one_event(merchant: Merchant, customer: Customer) -> None:
    """The daemon stores all outputs of a transaction before it stores an event."""
    order = merchant.request("300.00")
    customer.pay_in_parts(order.address, order.amount_sats, parts=500)
    received = order.wait("received")
    assert len(received["transactions"]) == 500
    assert received["received_sats"] == order.amount_sats
    assert len(order.wait_told("received")) == 1


def test_many_requests_are_paid_at_once(merchant: Merchant, customer: Customer) -> None:
    """Payments that come in one burst are all received, and one block confirms them all."""
    orders = [merchant.request(confirmations=1) for _ in range(12)]
    unsent = [customer.write({order.address: order.amount_sats}) for order in orders]
    for sent in unsent:
        customer.publish(sent)
    for order in orders:
        order.wait("received")
    merchant.node.mine()
    for order in orders:
        order.wait_told("received", "confirmed")


def test_an_amount_in_another_currency_is_matched_in_satoshis(merchant: Merchant, customer: Customer) -> None:
    """Each currency has its price, and an amount in bitcoin needs none."""
    dollars, satoshis = merchant.request("54.00", "USD"), merchant.request("12345", "SAT")
    assert (dollars.amount_sats, satoshis.amount_sats) == (100_000, 12_345)
    customer.pay_all({each.address: each.amount_sats for each in (dollars, satoshis)})
    _all_received(dollars, satoshis)


def _all_received(*orders: Order) -> None:
    for order in orders:
        order.wait("received", due_sats=0)
        order.wait_told("received")


def test_payments_in_ten_missed_blocks_are_found_after_a_sweep(
    merchant: Merchant, customer: Customer
) -> None:
    """The daemon was stopped. It finds payments in the chain, also if the wallet has spent them."""
    order, other = merchant.request(), merchant.request()
    merchant.daemon.stop()
    customer.pay(order.address, order.amount_sats)
    merchant.node.mine()
    merchant.node.rpc("sendall", [customer.address()], wallet=merchant.wallet)
    merchant.node.mine(9)
    customer.pay(other.address, other.amount_sats)
    merchant.daemon.start()
    order.wait("confirmed", confirmations=10)
    letters = order.wait_told("received", "confirmed")
    assert subjects(letters) == ["Payment received", "Payment confirmed"]
    other.wait_told("received")
