"""Late money waits for the seller, or counts with LATE_PAYMENTS=accept."""

import subprocess
from datetime import UTC, datetime

import pytest

from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.merchant import Merchant, Order, body, subjects
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def hasty(make_merchant: MerchantMaker) -> Merchant:
    """Return a merchant whose requests expire after a second. Late money waits for the seller."""
    return make_merchant(PAYMENT_EXPIRY="1").open()


def _paid_late(merchant: Merchant, customer: Customer, amount_sats: int = 20_000) -> Order:
    """Return a request that expired, and got this amount afterwards."""
    order = merchant.request()
    order.wait("expired")
    customer.pay(order.address, amount_sats)
    order.wait("expired", received_sats=amount_sats)
    return order


def test_late_money_counts_after_the_sellers_acceptance(hasty: Merchant, customer: Customer) -> None:
    """The request stays expired at each number of confirmations. The API's accept makes the money count."""
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


def test_the_operators_command_accepts_late_money(hasty: Merchant, customer: Customer) -> None:
    """The email has the command, and a shell can run it."""
    order = _paid_late(hasty, customer)
    (letter,) = order.wait_told("expired", "late")
    (command,) = [line for line in body(letter).splitlines() if line.endswith(f" payment accept {order.id}")]
    installation = hasty.installation
    subprocess.run(command, shell=True, cwd=installation.directory, env=installation.environ, check=True)
    order.wait("received", late=True)
    order.wait_told("expired", "late", "received")


def test_a_late_part_cannot_be_accepted(hasty: Merchant, customer: Customer) -> None:
    """The API answers 409, and the command has exit status 1."""
    order = _paid_late(hasty, customer, 19_999)
    order.wait("expired", due_sats=1, late=False)
    assert hasty.client.post(f"{order.path}/accept").status == 409
    assert hasty.installation.manage("payment", "accept", order.id).returncode == 1
    assert order.events() == ["expired", "extra"]


def test_double_spent_late_money_is_no_longer_late(hasty: Merchant, customer: Customer) -> None:
    """The money never counted, so there is no payment.reverted."""
    order = hasty.request()
    order.wait("expired")
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("expired", late=True)
    customer.double_spend(sent)
    order.wait("expired", late=False, received_sats=0)
    order.wait_told("expired", "late")


def test_late_money_counts_by_itself_with_late_payments_accept(
    make_merchant: MerchantMaker, customer: Customer
) -> None:
    """The request is received and confirmed, and `late` is true."""
    lenient = make_merchant(PAYMENT_EXPIRY="1", LATE_PAYMENTS="accept").open()
    order = lenient.request(confirmations=1)
    order.wait("expired")
    customer.pay(order.address, order.amount_sats)
    order.wait("received", late=True)
    lenient.node.mine()
    order.wait("confirmed", late=True)
    letters = order.wait_told("expired", "late", "received", "confirmed")
    assert subjects(letters)[0] == "Late payment counted"


def test_a_new_payment_with_a_double_spent_coin_is_late(hasty: Merchant, customer: Customer) -> None:
    """A customer can't take the payment back, and pay again later if the price has fallen."""
    order = hasty.request()
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("received")
    double_spend = customer.double_spend(sent)
    order.wait("expired", received_sats=0)
    customer.pay(order.address, order.amount_sats, coin=double_spend.coin, fee_sats=100_000)
    order.wait("expired", late=True, received_sats=order.amount_sats)
    order.wait_told("received", "reverted", "expired", "late")


def test_a_replacement_of_a_small_part_by_the_full_amount_is_late(
    hasty: Merchant, customer: Customer
) -> None:
    """A replacement with more money is no fee bump."""
    order = hasty.request()
    part = customer.pay(order.address, 600)
    order.wait("expired", received_sats=600)
    customer.pay(order.address, order.amount_sats, coin=part.coin, fee_sats=100_000)
    order.wait("expired", late=True, received_sats=order.amount_sats)
    order.wait_told("underpaid", "expired", "late")


def test_a_late_fee_bump_of_a_payment_in_time_is_not_late(hasty: Merchant, customer: Customer) -> None:
    order = hasty.request()
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("received")
    wait_until(lambda: datetime.fromisoformat(order.now()["expires_at"]) < datetime.now(UTC), what="expiry")
    bumped = customer.bump_fee(sent)
    order.wait("received", txid=bumped.txid, late=False)
    order.wait_told("received")
