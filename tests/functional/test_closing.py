"""Requests close, and their addresses are watched all the same."""

import pytest

from models.payment import payment_by_reference
from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.merchant import Merchant, Order


@pytest.fixture(scope="module")
def forgetful(make_till: MerchantMaker) -> Merchant:
    """A till that waits a second for payment, and another for late money."""
    return make_till(PAYMENT_EXPIRY="1", MONITORING_PERIOD="1").open()


def _is_closed(order: Order) -> bool:
    """The API does not say so; the database does."""
    with order.till.database():
        row = payment_by_reference(order.id)
        return row is not None and row.closed_at is not None


def _closed(till: Merchant) -> Order:
    """A request that expired unpaid and is closed."""
    order = till.request()
    till.wait(lambda: _is_closed(order), "close the request")
    assert order.now()["status"] == "expired"
    return order


def test_money_for_a_closed_request_is_extra(forgetful: Merchant, customer: Customer) -> None:
    """It counts for nothing, and is told by event and email: money is never ignored."""
    order = _closed(forgetful)
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("expired", received_sats=order.amount_sats, txid=sent.txid)
    (letter,) = order.wait_told("expired", "extra")
    assert sent.txid in letter.as_string()
    again = customer.pay(order.address, 700)
    order.wait("expired", received_sats=order.amount_sats + 700)
    letters = order.wait_told("expired", "extra", "extra")
    assert again.txid in letters[1].as_string()


def test_money_that_a_closed_request_got_while_the_daemon_was_down_is_found(
    forgetful: Merchant, customer: Customer
) -> None:
    """Closed requests cost no work, and lose nothing."""
    order = _closed(forgetful)
    forgetful.daemon.stop()
    unsent = customer.write({order.address: 5_000})
    customer.mine_only(unsent.raw)
    forgetful.daemon.start()
    order.wait("expired", received_sats=5_000)
    order.wait_told("expired", "extra")


def test_a_confirmed_request_closes_a_hundred_blocks_deep_and_a_reorg_opens_it(
    till: Merchant, customer: Customer
) -> None:
    """What lies below a hundred blocks needs no work; if it is dug out all the same, that is told."""
    order = till.request(confirmations=1)
    customer.pay(order.address, order.amount_sats)
    order.wait("received")
    till.node.mine(99)
    till.wait_tip()
    assert not _is_closed(order)
    till.node.mine()
    till.wait(lambda: _is_closed(order), "close the request")
    customer.reorg(100)
    order.wait("new")
    assert not _is_closed(order)
    order.wait_told("received", "confirmed", "reverted")
