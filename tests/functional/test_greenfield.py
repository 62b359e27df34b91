"""A shop's plug-in and a whole Nodetill: the plug-in adds a webhook, sells, and requests its invoices."""

import hashlib
import hmac
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.endpoint import Endpoint, Request, answers, hangs
from tests.support.merchant import SELLER, Merchant

STORE = f"/api/v1/stores/{SELLER}"
CLIENTS, ORDERS = 8, 25


@pytest.fixture(scope="module")
def shop_merchant(make_merchant: MerchantMaker) -> Merchant:
    """Open a merchant whose shops are on this machine."""
    return make_merchant(
        WEBHOOK_PRIVATE_HOSTS="127.0.0.1", CONFIRMATIONS="1", ADDRESS_POOL=str(2 * CLIENTS * ORDERS)
    ).open()


def good(merchant: Merchant, method: str, path: str, body: Any = None) -> Any:
    """Return the document of a call on a new connection. The call must succeed."""
    answer = merchant.installation.client(merchant.client.api_key).request(method, path, body)
    assert answer.status == 200, answer.body
    return answer.document


@dataclass
class Shop:
    """A plug-in that requests the invoice and its payments during each event, as PrestaShop's does."""

    merchant: Merchant
    secret: str = "the shop's own sécret"
    events: list[dict[str, Any]] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    paid: list[str] = field(default_factory=list)
    is_signed: list[bool] = field(default_factory=list)

    def handle(self, endpoint: Endpoint, connection: socket.socket, request: Request) -> None:
        event = json.loads(request.body)
        expected = hmac.new(self.secret.encode(), request.body, hashlib.sha256).hexdigest()
        self.is_signed.append(request.headers["btcpay-sig"] == f"sha256={expected}")
        invoice = good(self.merchant, "GET", f"{STORE}/invoices/{event['invoiceId']}")
        [method] = good(self.merchant, "GET", f"{STORE}/invoices/{event['invoiceId']}/payment-methods")
        self.states.append(invoice["status"])
        self.paid.append(method["totalPaid"])
        self.events.append(event)
        answers(200)(endpoint, connection, request)

    def types(self, invoice: str) -> list[str]:
        return [each["type"] for each in self.events if each["invoiceId"] == invoice]


@pytest.fixture
def shop(shop_merchant: Merchant) -> Iterator[Shop]:
    """Add a plug-in's webhook, and remove it afterwards."""
    made = Shop(shop_merchant)
    with Endpoint(made.handle) as endpoint:
        body = {"url": f"{endpoint.url}&wc-api=btcpay|x", "secret": made.secret}
        webhook = good(shop_merchant, "POST", f"{STORE}/webhooks", body)
        assert (webhook["url"], webhook["secret"]) == (body["url"], made.secret)
        yield made
        good(shop_merchant, "DELETE", f"{STORE}/webhooks/{webhook['id']}")


def create(merchant: Merchant, **members: Any) -> dict[str, Any]:
    order = {"amount": "10.00", "currency": "EUR", "metadata": {"orderId": "4711"}, **members}
    invoice: dict[str, Any] = good(merchant, "POST", f"{STORE}/invoices", order)
    return invoice


def test_a_sale_from_the_order_to_the_settled_invoice(shop: Shop, customer: Customer) -> None:
    """At each event the invoice is in the state of the event or a later one, and its payment is listed."""
    merchant = shop.merchant
    invoice = create(merchant)
    path = f"{STORE}/invoices/{invoice['id']}"
    [method] = good(merchant, "GET", f"{path}/payment-methods")
    txid = customer.pay(method["destination"], 20_000).txid
    merchant.wait(lambda: good(merchant, "GET", path)["status"] == "Processing", "show the payment")
    merchant.node.mine()
    expected = [
        "InvoiceCreated",
        "InvoiceReceivedPayment",
        "InvoiceProcessing",
        "InvoicePaymentSettled",
        "InvoiceSettled",
    ]
    merchant.wait(lambda: len(shop.types(invoice["id"])) >= len(expected), f"deliver {expected}")
    assert shop.types(invoice["id"]) == expected
    assert all(shop.is_signed)
    assert [each["metadata"] for each in shop.events] == [{"orderId": "4711"}] * len(expected)
    assert shop.states[-2:] == ["Settled", "Settled"]
    assert set(shop.states[1:3]) <= {"Processing", "Settled"}
    assert shop.paid[1:] == ["0.00020000"] * 4
    settled = good(merchant, "GET", path)
    assert (settled["status"], settled["paidAmount"]) == ("Settled", "10.00")
    assert settled["availableStatusesForManualMarking"] == []
    [method] = good(merchant, "GET", f"{path}/payment-methods")
    [payment] = method["payments"]
    assert (payment["id"].partition("-")[0], payment["status"]) == (txid, "Settled")
    check_redelivery(shop, invoice["id"])


def check_redelivery(shop: Shop, invoice: str) -> None:
    """Request a redelivery of the last event. It has a new id, and the same content."""
    merchant = shop.merchant
    [webhook] = good(merchant, "GET", f"{STORE}/webhooks")
    path = f"{STORE}/webhooks/{webhook['id']}/deliveries"
    merchant.wait(lambda: len(good(merchant, "GET", path)) == len(shop.events), "store all deliveries")
    last = good(merchant, "GET", path)[0]
    assert (last["status"], last["httpCode"], last["errorMessage"]) == ("HttpSuccess", 200, None)
    assert good(merchant, "GET", f"{path}/{last['id']}/request") == shop.events[-1]
    new = good(merchant, "POST", f"{path}/{last['id']}/redeliver")
    merchant.wait(lambda: shop.events[-1]["deliveryId"] == new, "send the event again")
    first, again = shop.events[-2:]
    assert again == {**first, "deliveryId": new, "isRedelivery": True}
    assert first["invoiceId"] == invoice


def test_an_abandoned_invoice_is_marked_invalid(shop: Shop) -> None:
    """WooCommerce does this when its customer chooses another way to pay."""
    merchant = shop.merchant
    invoice = create(merchant, metadata={"orderId": "4712"})
    marked = good(merchant, "POST", f"{STORE}/invoices/{invoice['id']}/status", {"status": "Invalid"})
    assert (marked["status"], marked["additionalStatus"]) == ("Invalid", "Marked")
    merchant.wait(lambda: shop.types(invoice["id"])[-1:] == ["InvoiceInvalid"], "report the mark")
    assert [each["manuallyMarked"] for each in shop.events if each["type"] == "InvoiceInvalid"] == [True]


def test_many_orders_while_two_endpoints_hang(shop: Shop) -> None:
    """Every order and every read succeeds, and the working endpoint receives every event."""
    merchant = shop.merchant
    needed = CLIENTS * ORDERS
    merchant.wait(lambda: merchant.health().document["addresses"]["free"] >= needed, "fill the pool")
    with Endpoint(hangs) as one, Endpoint(hangs) as two:
        hanging = [
            good(merchant, "POST", f"{STORE}/webhooks", {"url": each.url})["id"] for each in (one, two)
        ]

        def sell(client: int) -> list[str]:
            made = []
            for number in range(ORDERS):
                invoice = create(merchant, metadata={"orderId": f"{client}-{number}"})
                read = good(merchant, "GET", f"{STORE}/invoices/{invoice['id']}")
                assert read == invoice
                [found] = good(merchant, "GET", f"{STORE}/invoices?orderId={client}-{number}")
                assert found["id"] == invoice["id"]
                made.append(invoice["id"])
            return made

        with ThreadPoolExecutor(CLIENTS) as clients:
            made = [invoice for part in clients.map(sell, range(CLIENTS)) for invoice in part]
        assert len(set(made)) == needed
        merchant.wait(lambda: {*made} <= {each["invoiceId"] for each in shop.events}, "report every invoice")
        assert all(shop.types(invoice) == ["InvoiceCreated"] for invoice in made)
        assert one.requests
        assert two.requests
        for webhook in hanging:
            good(merchant, "DELETE", f"{STORE}/webhooks/{webhook}")
