"""Requests run out: unpaid, paid in part, paid late, and paid in time though that was found later."""

from datetime import UTC, datetime

import pytest

from tests.functional.conftest import TillMaker
from tests.functional.customer import Customer
from tests.functional.till import Order, Till, subjects
from tests.waiting import wait_until

SOON = "3"
"""Seconds: enough for a payment that is to be in time, on a busy machine too."""


@pytest.fixture(scope="module")
def hasty(make_till: TillMaker) -> Till:
    """A till whose prices hold for a moment; late money waits for the merchant."""
    return make_till(PAYMENT_EXPIRY=SOON).open()


@pytest.fixture(scope="module")
def lenient(make_till: TillMaker) -> Till:
    """A till whose prices hold for a moment; late money counts, and 5 % may be missing."""
    return make_till(PAYMENT_EXPIRY=SOON, LATE_PAYMENTS="accept", UNDERPAYMENT_TOLERANCE="5").open()


def _paid_late(till: Till, customer: Customer, amount_sats: int = 20_000) -> Order:
    """A request that expired before this was paid."""
    order = till.request()
    order.wait("expired")
    customer.pay(order.address, amount_sats)
    order.wait("expired", received_sats=amount_sats)
    return order


def test_an_unpaid_request_expires_and_no_email_is_sent(hasty: Till) -> None:
    """Not before its time, and the operator has nothing to do about it."""
    order = hasty.request()
    order.wait("expired", late=False, received_sats=0)
    assert datetime.now(UTC) >= order.expires_at
    assert order.wait_told("expired") == []


def test_a_request_with_a_part_in_it_expires_with_an_email(hasty: Till, customer: Customer) -> None:
    """Money is stuck in it, and somebody has to send it back."""
    order = hasty.request()
    customer.pay(order.address, 5_000)
    order.wait("underpaid")
    order.wait("expired", due_sats=15_000, late=False)
    (letter,) = order.wait_told("underpaid", "expired")
    assert "expired" in letter["Subject"]


def test_a_request_paid_in_time_never_expires(hasty: Till, customer: Customer) -> None:
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
    hasty: Till, customer: Customer, mined: bool
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


def test_late_money_waits_for_the_merchant_and_counts_once_accepted(hasty: Till, customer: Customer) -> None:
    """It is told and stays expired however deep it gets; the API's accept makes it what it is."""
    order = _paid_late(hasty, customer)
    late = order.wait("expired", late=True, due_sats=0, confirmations=0)
    assert late["received_at"] is None
    (letter,) = order.wait_told("expired", "late")
    assert subjects([letter]) == ["Late payment, your decision"]
    hasty.node.mine(2)
    hasty.wait_tip()
    assert order.now()["status"] == "expired"

    answer = hasty.client.post(f"{order.path}/accept")
    assert answer.status == 200, answer.body
    order.wait("confirming", confirmations=2, late=True)
    hasty.node.mine(4)
    order.wait("confirmed", late=True)
    assert len(order.wait_told("expired", "late", "received", "confirmed")) == 3


def test_late_money_is_accepted_by_the_operator_s_command(hasty: Till, customer: Customer) -> None:
    """`manage.py payment accept` does what the API does."""
    order = _paid_late(hasty, customer)
    order.wait_told("expired", "late")
    hasty.installation.managed("payment", "accept", order.id)
    order.wait("received", late=True)
    order.wait_told("expired", "late", "received")


def test_what_is_not_late_cannot_be_accepted(hasty: Till, customer: Customer) -> None:
    """409 from the API, exit status 1 from the command; and a part that came late is not enough."""
    order = _paid_late(hasty, customer, 19_999)
    order.wait("expired", due_sats=1, late=False)
    assert hasty.client.post(f"{order.path}/accept").status == 409
    assert hasty.installation.manage("payment", "accept", order.id).returncode == 1
    assert order.events() == ["expired", "extra"]


def test_parts_in_time_and_late_make_a_late_payment(hasty: Till, customer: Customer) -> None:
    """The price was for the whole amount in time."""
    order = hasty.request()
    customer.pay(order.address, 5_000)
    order.wait("underpaid")
    order.wait("expired")
    customer.pay(order.address, 15_000)
    order.wait("expired", late=True, received_sats=20_000)
    order.wait_told("underpaid", "expired", "late")


def test_late_money_that_is_taken_back_is_late_no_more(hasty: Till, customer: Customer) -> None:
    """A double-spend of money that never counted takes nothing back that was promised."""
    order = hasty.request()
    order.wait("expired")
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("expired", late=True)
    customer.double_spend(sent)
    order.wait("expired", late=False, received_sats=0)
    order.wait_told("expired", "late")


def test_a_fee_bump_after_expiry_is_not_late(hasty: Till, customer: Customer) -> None:
    """The replacement is as old as what it replaces."""
    order = hasty.request()
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("received")
    hasty.request().wait("expired")
    bumped = customer.bump_fee(sent)
    order.wait("received", txid=bumped.txid, late=False)
    order.wait_told("received")


def test_late_money_counts_by_itself_where_the_setting_says_so(lenient: Till, customer: Customer) -> None:
    """LATE_PAYMENTS=accept: received and confirmed, and `late` all the same."""
    order = lenient.request(confirmations=1)
    order.wait("expired")
    customer.pay(order.address, order.amount_sats)
    order.wait("received", late=True)
    lenient.node.mine()
    order.wait("confirmed", late=True)
    letters = order.wait_told("expired", "late", "received", "confirmed")
    assert subjects(letters)[0] == "Late payment counted"


def test_what_the_tolerance_allows_may_be_missing(lenient: Till, customer: Customer) -> None:
    """Five percent below the amount is enough, one satoshi less is not."""
    enough, less = lenient.request(), lenient.request()
    customer.pay_all({enough.address: 19_000, less.address: 18_999})
    received = enough.wait("received", received_sats=19_000)
    assert (received["due_sats"], received["overpaid_sats"]) == (0, 0)
    less.wait("underpaid", due_sats=1_001)
    enough.wait_told("received")
