"""Requests close, and the daemon still watches their addresses."""

import pytest

from models.payment import payment_by_reference
from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.merchant import Merchant, Order


@pytest.fixture(scope="module")
def hasty(make_merchant: MerchantMaker) -> Merchant:
    """Return a merchant whose requests expire after a second, and close a second later."""
    return make_merchant(PAYMENT_EXPIRY="1", MONITORING_PERIOD="1").open()


def _is_closed(order: Order) -> bool:
    """Read it from the database, because the API does not have it."""
    with order.merchant.database():
        row = payment_by_reference(order.id)
        return row is not None and row.closed_at is not None


def _closed_request(merchant: Merchant) -> Order:
    """Return a request that expired unpaid and is closed."""
    order = merchant.request()
    merchant.wait(lambda: _is_closed(order), "close the request")
    assert order.now()["status"] == "expired"
    return order


def test_money_for_a_closed_request_is_extra(hasty: Merchant, customer: Customer) -> None:
    """The money does not count, and an event and an email report it."""
    order = _closed_request(hasty)
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("expired", received_sats=order.amount_sats, txid=sent.txid)
    (letter,) = order.wait_told("expired", "extra")
    assert sent.txid in letter.as_string()
    again = customer.pay(order.address, 700)
    order.wait("expired", received_sats=order.amount_sats + 700)
    letters = order.wait_told("expired", "extra", "extra")
    assert again.txid in letters[1].as_string()


def test_money_for_a_closed_request_is_found_at_the_next_start(hasty: Merchant, customer: Customer) -> None:
    """A miner mines the payment while the daemon is down."""
    order = _closed_request(hasty)
    hasty.daemon.stop()
    unsent = customer.write({order.address: 5_000})
    customer.mine_only(unsent.raw)
    hasty.daemon.start()
    order.wait("expired", received_sats=5_000)
    order.wait_told("expired", "extra")


def test_a_request_closes_after_a_hundred_blocks_and_a_reorg_opens_it(
    merchant: Merchant, customer: Customer
) -> None:
    """A reorg of a hundred blocks reverts the payment, with an event."""
    order = merchant.request(confirmations=1)
    customer.pay(order.address, order.amount_sats)
    order.wait("received")
    merchant.node.mine(99)
    merchant.wait_tip()
    assert not _is_closed(order)
    merchant.node.mine()
    merchant.wait(lambda: _is_closed(order), "close the request")
    customer.reorg(100)
    order.wait("new")
    assert not _is_closed(order)
    order.wait_told("received", "confirmed", "reverted")
