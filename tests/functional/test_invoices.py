"""The real daemon reports invoices to a shop with a plug-in for BTCPay Server (docs/greenfield.md)."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any

import pytest

from models.output import outputs_at
from models.payment import ANY_HEIGHT, PaymentRequest, payment_by_reference
from payments.greenfield.facts import InvoiceFacts, invoice_facts
from payments.greenfield.state import state_of
from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.endpoint import Endpoint, Request, answers
from tests.support.merchant import SELLER, Merchant, Order

SECRET = "a secret of the shop: ü"
ORDER = ["Created", "ReceivedPayment", "Processing", "PaymentSettled", "Settled"]


@pytest.fixture(scope="module")
def merchant(make_merchant: MerchantMaker) -> Merchant:
    """Open a merchant whose daemon reconciles only once an hour."""
    return make_merchant(RECONCILE_INTERVAL="3600").open()


@pytest.fixture
def shop(merchant: Merchant) -> Iterator[Endpoint]:
    """Start a shop, and add it as the seller's btcpay endpoint."""
    with Endpoint(answers(200)) as endpoint:
        made = merchant.installation.manage_json(
            "webhook", "add", SELLER, endpoint.url, "--kind", "btcpay", "--secret", SECRET
        )
        yield endpoint
        merchant.installation.manage_json("webhook", "remove", made["webhook_id"])


def received(shop: Endpoint, order: Order) -> list[dict[str, Any]]:
    """Return the events of an order, in the order in which the shop received them."""
    bodies = [_checked(request) for request in shop.requests]
    return [body for body in bodies if body["invoiceId"] == order.id]


def types(shop: Endpoint, order: Order) -> list[str]:
    return [body["type"].removeprefix("Invoice") for body in received(shop, order)]


def wait_for(merchant: Merchant, shop: Endpoint, order: Order, expected: list[str]) -> None:
    merchant.wait(lambda: types(shop, order) == expected, f"send {expected}, not {types(shop, order)}")


def state(merchant: Merchant, order: Order) -> str:
    """Return the present state of an invoice in the database."""
    with merchant.database():
        row = payment_by_reference(order.id)
        assert row is not None
        received = [output.received_output for output in outputs_at(row.address_id)]
        facts: InvoiceFacts = invoice_facts(row, "", received, tip_height=10**6)
        return state_of(facts).status.value


def _checked(request: Request) -> dict[str, Any]:
    """Return the body of a webhook after a check of its signature."""
    expected = hmac.new(SECRET.encode(), request.body, hashlib.sha256).hexdigest()
    assert request.headers["btcpay-sig"] == f"sha256={expected}"
    body: dict[str, Any] = json.loads(request.body)
    return body


def test_a_shop_receives_each_event_of_an_invoice_in_order(
    merchant: Merchant, shop: Endpoint, customer: Customer
) -> None:
    """The daemon assesses a new invoice at once, so InvoiceCreated comes at once."""
    order = merchant.request(confirmations=1, metadata={"orderId": "4711"})
    with merchant.database():
        is_it = PaymentRequest.reference == order.id
        PaymentRequest.update(reassess_at_height=ANY_HEIGHT).where(is_it).execute()
    wait_for(merchant, shop, order, ORDER[:1])
    sent = customer.pay(order.address, order.amount_sats)
    wait_for(merchant, shop, order, ORDER[:3])
    assert state(merchant, order) == "Processing"
    merchant.node.mine()
    wait_for(merchant, shop, order, ORDER)
    assert state(merchant, order) == "Settled"
    bodies = received(shop, order)
    assert {body["storeId"] for body in bodies} == {SELLER}
    assert all(body["metadata"] == {"orderId": "4711"} for body in bodies)
    (vout,) = (part["vout"] for part in order.now()["transactions"])
    assert bodies[1]["payment"]["id"] == bodies[3]["payment"]["id"] == f"{sent.txid}-{vout}"
    assert (bodies[1]["payment"]["status"], bodies[3]["payment"]["status"]) == ("Processing", "Settled")


def test_a_double_spend_makes_a_settled_invoice_invalid(
    merchant: Merchant, shop: Endpoint, customer: Customer
) -> None:
    """The invoice requires no confirmation, so it was settled in the mempool."""
    order = merchant.request(confirmations=0)
    sent = customer.pay(order.address, order.amount_sats)
    wait_for(merchant, shop, order, ORDER)
    customer.double_spend(sent)
    wait_for(merchant, shop, order, [*ORDER, "Invalid"])
    assert received(shop, order)[-1]["manuallyMarked"] is False
    assert state(merchant, order) == "Invalid"


def test_a_fee_bump_and_a_reorg_never_settle_an_invoice_twice(
    merchant: Merchant, shop: Endpoint, customer: Customer
) -> None:
    """The transaction of the fee bump is a new payment."""
    order = merchant.request(confirmations=1)
    old = customer.pay(order.address, order.amount_sats)
    wait_for(merchant, shop, order, ORDER[:3])
    customer.bump_fee(old)
    wait_for(merchant, shop, order, [*ORDER[:3], "ReceivedPayment"])
    merchant.node.mine()
    wait_for(merchant, shop, order, [*ORDER[:3], "ReceivedPayment", *ORDER[3:]])
    customer.reorg(1, [], [])
    order.wait("received")
    assert state(merchant, order) == "Processing"
    merchant.node.mine()
    order.wait("confirmed")
    merchant.wait_tip()
    assert types(shop, order) == [*ORDER[:3], "ReceivedPayment", *ORDER[3:]]
