"""Money comes after the price has run out: it waits for the merchant, or counts, as the setting says."""

import subprocess
from datetime import UTC, datetime

import pytest

from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.merchant import Merchant, Order, body, subjects
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def hasty(make_till: MerchantMaker) -> Merchant:
    """A till whose prices hold for a second; late money waits for the merchant."""
    return make_till(PAYMENT_EXPIRY="1").open()


def _paid_late(till: Merchant, customer: Customer, amount_sats: int = 20_000) -> Order:
    """A request that expired before this was paid."""
    order = till.request()
    order.wait("expired")
    customer.pay(order.address, amount_sats)
    order.wait("expired", received_sats=amount_sats)
    return order


def test_late_money_waits_for_the_merchant_and_counts_once_accepted(
    hasty: Merchant, customer: Customer
) -> None:
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


def test_late_money_is_accepted_by_the_operator_s_command(hasty: Merchant, customer: Customer) -> None:
    """The command that the email names, as a shell runs it, does what the API does."""
    order = _paid_late(hasty, customer)
    (letter,) = order.wait_told("expired", "late")
    (command,) = [line for line in body(letter).splitlines() if line.endswith(f" payment accept {order.id}")]
    installation = hasty.installation
    subprocess.run(command, shell=True, cwd=installation.directory, env=installation.environ, check=True)
    order.wait("received", late=True)
    order.wait_told("expired", "late", "received")


def test_what_is_not_late_cannot_be_accepted(hasty: Merchant, customer: Customer) -> None:
    """409 from the API, exit status 1 from the command; and a part that came late is not enough."""
    order = _paid_late(hasty, customer, 19_999)
    order.wait("expired", due_sats=1, late=False)
    assert hasty.client.post(f"{order.path}/accept").status == 409
    assert hasty.installation.manage("payment", "accept", order.id).returncode == 1
    assert order.events() == ["expired", "extra"]


def test_late_money_that_is_taken_back_is_late_no_more(hasty: Merchant, customer: Customer) -> None:
    """A double-spend of money that never counted takes nothing back that was promised."""
    order = hasty.request()
    order.wait("expired")
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("expired", late=True)
    customer.double_spend(sent)
    order.wait("expired", late=False, received_sats=0)
    order.wait_told("expired", "late")


def test_late_money_counts_by_itself_where_the_setting_says_so(
    make_till: MerchantMaker, customer: Customer
) -> None:
    """LATE_PAYMENTS=accept: received and confirmed, and `late` all the same."""
    lenient = make_till(PAYMENT_EXPIRY="1", LATE_PAYMENTS="accept").open()
    order = lenient.request(confirmations=1)
    order.wait("expired")
    customer.pay(order.address, order.amount_sats)
    order.wait("received", late=True)
    lenient.node.mine()
    order.wait("confirmed", late=True)
    letters = order.wait_told("expired", "late", "received", "confirmed")
    assert subjects(letters)[0] == "Late payment counted"


def test_what_was_taken_back_in_time_keeps_no_price(hasty: Merchant, customer: Customer) -> None:
    """Who pays, takes it back, and pays again from the same coin when bitcoin has fallen is late."""
    order = hasty.request()
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("received")
    thief = customer.double_spend(sent)
    order.wait("expired", received_sats=0)
    customer.pay(order.address, order.amount_sats, coin=thief.coin, fee_sats=100_000)
    order.wait("expired", late=True, received_sats=order.amount_sats)
    order.wait_told("received", "reverted", "expired", "late")


def test_a_small_part_keeps_no_price_for_the_whole(hasty: Merchant, customer: Customer) -> None:
    """More money in its place is no fee bump: it came when it came."""
    order = hasty.request()
    part = customer.pay(order.address, 600)
    order.wait("expired", received_sats=600)
    customer.pay(order.address, order.amount_sats, coin=part.coin, fee_sats=100_000)
    order.wait("expired", late=True, received_sats=order.amount_sats)
    order.wait_told("underpaid", "expired", "late")


def test_a_fee_bump_is_not_late(hasty: Merchant, customer: Customer) -> None:
    """However late it comes: the same money was there in time."""
    order = hasty.request()
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("received")
    wait_until(lambda: datetime.fromisoformat(order.now()["expires_at"]) < datetime.now(UTC), what="expiry")
    bumped = customer.bump_fee(sent)
    order.wait("received", txid=bumped.txid, late=False)
    order.wait_told("received")
