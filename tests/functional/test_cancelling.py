"""A cancelled request expires at once. Money that comes later is late, and no payment is lost."""

from functools import partial

import pytest

from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.expected_state import TrackedRequest
from tests.support.in_process_daemon import FeedDelivery
from tests.support.merchant import Merchant, subjects
from tests.support.scenario import Scenario

AMOUNT_SATS = 2_000
CALLS = 60
"""The daemon makes fewer calls to bitcoind for a single payment."""


def test_a_cancelled_request_expires_and_later_money_is_late(merchant: Merchant, customer: Customer) -> None:
    """The seller can accept the money, like any late money. Afterwards the request is no longer cancelled."""
    order = merchant.request(confirmations=1)
    answer = merchant.client.post(f"{order.path}/cancel")
    assert answer.status == 202, answer.body
    expired = order.wait("expired", received_sats=0, late=False)
    assert expired["expires_at"] < order.document["expires_at"]
    order.wait_told("expired")
    assert merchant.client.post(f"{order.path}/cancel").status == 200

    customer.pay(order.address, order.amount_sats)
    order.wait("expired", late=True, received_sats=order.amount_sats, due_sats=0)
    (letter,) = order.wait_told("expired", "late")
    assert subjects([letter]) == ["Late payment, your decision"]
    merchant.node.mine()
    merchant.wait_tip()
    assert order.now()["status"] == "expired"
    assert merchant.client.post(f"{order.path}/cancel").status == 200

    assert merchant.client.post(f"{order.path}/accept").status == 200
    order.wait("confirmed", late=True)
    refused = merchant.client.post(f"{order.path}/cancel")
    assert refused.status == 409
    assert "money has come to it, and it is confirmed" in refused.document["detail"]
    order.wait_told("expired", "late", "received", "confirmed")


def test_the_operators_command_cancels_a_request(merchant: Merchant) -> None:
    """`manage.py payment cancel` does what the API does, and names a repetition."""
    order = merchant.request()
    merchant.installation.manage_json("payment", "cancel", order.id)
    order.wait_told("expired")
    assert "it is cancelled already" in merchant.installation.manage("payment", "cancel", order.id).stdout
    order.wait_told("expired")


def test_a_request_with_money_or_past_its_time_is_not_cancelled(
    make_merchant: MerchantMaker, merchant: Merchant, customer: Customer
) -> None:
    """409 from the API and exit status 1 from the command. Both name the reason."""
    paid = merchant.request()
    customer.pay(paid.address, 19_999)
    paid.wait("underpaid")
    hasty = make_merchant(PAYMENT_EXPIRY="1").open()
    expired = hasty.request()
    expired.wait("expired")
    for order, reason in ((paid, "money has come to it, and it is underpaid"), (expired, "expired already")):
        refused = order.merchant.client.post(f"{order.path}/cancel")
        assert (refused.status, refused.document["type"]) == (409, "urn:nodetill:problem:not-cancellable")
        assert reason in refused.document["detail"]
        command = order.merchant.installation.manage("payment", "cancel", order.id)
        assert command.returncode == 1
        assert reason in command.stderr
    assert paid.events() == ["underpaid"]


def test_money_for_a_cancelled_request_never_counts_by_itself(
    make_merchant: MerchantMaker, customer: Customer
) -> None:
    """LATE_PAYMENTS=accept holds for late customers. This customer has chosen another way to pay."""
    lenient = make_merchant(LATE_PAYMENTS="accept").open()
    order = lenient.request(confirmations=1)
    assert lenient.client.post(f"{order.path}/cancel").status == 202
    order.wait("expired")
    customer.pay(order.address, order.amount_sats)
    lenient.node.mine()
    order.wait("expired", late=True)
    order.wait_told("expired", "late")


# A payment at the same moment


def pay(scenario: Scenario, request: TrackedRequest, sats: int) -> None:
    scenario.pay([(request, sats)])


def is_paid(request: TrackedRequest) -> bool:
    return request.row().received_sats > 0


def is_cancelled(request: TrackedRequest) -> bool:
    """Return True if the daemon has cancelled the request. Money has come, and the daemon has decided."""
    row = request.row()
    assert row.received_sats > 0
    assert (row.status == "expired") == (row.cancelled_at is not None), row.status
    assert row.is_late == (row.cancelled_at is not None and row.received_sats >= AMOUNT_SATS)
    return row.cancelled_at is not None


@pytest.mark.parametrize("part_sats", [AMOUNT_SATS, AMOUNT_SATS - 1])
def test_money_before_the_command_prevents_the_cancellation(scenario: Scenario, part_sats: int) -> None:
    """The daemon has not received the payment yet, so it looks at chain and mempool first."""
    scenario.begin()
    request = scenario.request(AMOUNT_SATS)
    scenario.daemon.stop()
    scenario.daemon.start(FeedDelivery.NOTHING)
    scenario.settle()
    scenario.pay([(request, part_sats)])
    scenario.cancel(request)
    scenario.settle()
    assert not is_cancelled(request)
    assert request.row().status == ("received" if part_sats == AMOUNT_SATS else "underpaid")
    scenario.end()


@pytest.mark.parametrize("part_sats", [AMOUNT_SATS, AMOUNT_SATS - 1])
def test_a_payment_during_the_cancellation_counts_or_is_late(scenario: Scenario, part_sats: int) -> None:
    """The payment comes before the first call to bitcoind, before the second, and so on until it is late."""
    scenario.begin()
    outcomes = []
    for call in range(1, CALLS):
        request = scenario.request(AMOUNT_SATS)
        scenario.note(f"before call {call}")
        scenario.meanwhile(partial(pay, scenario, request, part_sats), call)
        scenario.cancel(request)
        scenario.daemon.work_until(partial(is_paid, request), 60)
        scenario.settle()
        outcomes.append(is_cancelled(request))
        if outcomes[-1]:
            break
    assert {*outcomes} == {True, False}, outcomes
    scenario.end()
