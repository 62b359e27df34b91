"""Requests expire unpaid, with a part, or not at all because the payment was in time."""

from datetime import UTC, datetime

import pytest

from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.merchant import Merchant
from tests.support.waiting import wait_until

SOON = "4"
"""The seconds are enough for a payment in time, on a busy machine too."""


@pytest.fixture(scope="module")
def hasty(make_merchant: MerchantMaker) -> Merchant:
    """Return a merchant whose requests expire after a few seconds. Late money waits for the seller."""
    return make_merchant(PAYMENT_EXPIRY=SOON).open()


def test_an_unpaid_request_expires_and_no_email_is_sent(hasty: Merchant) -> None:
    """The request does not expire before its time. The operator has nothing to do."""
    order = hasty.request()
    order.wait("expired", late=False, received_sats=0)
    assert datetime.now(UTC) >= order.expires_at
    assert order.wait_told("expired") == []


def test_a_request_with_a_part_expires_with_an_email(hasty: Merchant, customer: Customer) -> None:
    """The seller has to decide about the part."""
    order = hasty.request()
    customer.pay(order.address, 5_000)
    order.wait("underpaid")
    order.wait("expired", due_sats=15_000, late=False)
    (letter,) = order.wait_told("underpaid", "expired")
    assert "expired" in letter["Subject"]


def test_a_request_paid_in_time_never_expires(hasty: Merchant, customer: Customer) -> None:
    """The payment's block can come after expiry."""
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
def test_a_payment_in_time_that_is_found_after_expiry_counts(
    hasty: Merchant, customer: Customer, mined: bool
) -> None:
    """The daemon looks at bitcoind before it lets a request expire."""
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


def test_a_part_in_time_and_a_late_part_are_a_late_payment(hasty: Merchant, customer: Customer) -> None:
    """The price was for the full amount in time."""
    order = hasty.request()
    customer.pay(order.address, 5_000)
    order.wait("underpaid")
    order.wait("expired")
    customer.pay(order.address, 15_000)
    order.wait("expired", late=True, received_sats=20_000)
    order.wait_told("underpaid", "expired", "late")


def test_a_fee_bump_after_expiry_is_not_late(hasty: Merchant, customer: Customer) -> None:
    """The replacement is as old as the original."""
    order = hasty.request()
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("received")
    hasty.request().wait("expired")
    bumped = customer.bump_fee(sent)
    order.wait("received", txid=bumped.txid, late=False)
    order.wait_told("received")
