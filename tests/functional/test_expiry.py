"""Requests run out: unpaid, paid in part, and paid in time though that was found later."""

from datetime import UTC, datetime

import pytest

from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.merchant import Merchant
from tests.support.waiting import wait_until

SOON = "4"
"""Seconds: enough for a payment that is to be in time, on a busy machine too."""


@pytest.fixture(scope="module")
def hasty(make_till: MerchantMaker) -> Merchant:
    """A till whose prices hold for a moment; late money waits for the merchant."""
    return make_till(PAYMENT_EXPIRY=SOON).open()


def test_an_unpaid_request_expires_and_no_email_is_sent(hasty: Merchant) -> None:
    """Not before its time, and the operator has nothing to do about it."""
    order = hasty.request()
    order.wait("expired", late=False, received_sats=0)
    assert datetime.now(UTC) >= order.expires_at
    assert order.wait_told("expired") == []


def test_a_request_with_a_part_in_it_expires_with_an_email(hasty: Merchant, customer: Customer) -> None:
    """Money is stuck in it, and somebody has to send it back."""
    order = hasty.request()
    customer.pay(order.address, 5_000)
    order.wait("underpaid")
    order.wait("expired", due_sats=15_000, late=False)
    (letter,) = order.wait_told("underpaid", "expired")
    assert "expired" in letter["Subject"]


def test_a_request_paid_in_time_never_expires(hasty: Merchant, customer: Customer) -> None:
    """Blocks may take as long as they like."""
    order = hasty.request(confirmations=1)
    customer.pay(order.address, order.amount_sats)
    order.wait("received")
    unpaid = hasty.request()
    unpaid.wait("expired")
    assert order.now()["status"] == "received"
    hasty.node.mine()
    order.wait("confirmed")
    order.wait_told("received", "confirmed")


@pytest.mark.parametrize("mined", [False, True], ids=["in the mempool", "in a block"])
def test_a_payment_in_time_is_in_time_though_it_is_found_after_expiry(
    hasty: Merchant, customer: Customer, mined: bool
) -> None:
    """Nothing expires before bitcoind has been asked: it is received, and never was late or expired."""
    order = hasty.request()
    hasty.daemon.stop()
    customer.pay(order.address, order.amount_sats)
    if mined:
        hasty.node.mine()
    wait_until(order.is_past_expiry, what="the request to expire")
    hasty.daemon.start()
    paid = order.wait("confirming" if mined else "received")
    assert not paid["late"]
    order.wait_told("received")


def test_parts_in_time_and_late_make_a_late_payment(hasty: Merchant, customer: Customer) -> None:
    """The price was for the whole amount in time."""
    order = hasty.request()
    customer.pay(order.address, 5_000)
    order.wait("underpaid")
    order.wait("expired")
    customer.pay(order.address, 15_000)
    order.wait("expired", late=True, received_sats=20_000)
    order.wait_told("underpaid", "expired", "late")


def test_a_fee_bump_after_expiry_is_not_late(hasty: Merchant, customer: Customer) -> None:
    """The replacement is as old as what it replaces."""
    order = hasty.request()
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("received")
    hasty.request().wait("expired")
    bumped = customer.bump_fee(sent)
    order.wait("received", txid=bumped.txid, late=False)
    order.wait_told("received")
