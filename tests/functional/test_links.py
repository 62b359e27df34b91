"""A single-use link is paid in parts with both servers. Its events arrive by webhook and email."""

import json
from typing import Any

from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.endpoint import Endpoint, answers
from tests.support.merchant import Merchant, Order, body, is_urgent

INVOICE = {"title": "Invoice 17", "currency": "EUR", "amount_fiat": "10.00", "confirmations": 1}


def pressed(merchant: Merchant, link_id: str) -> Order:
    """Press "Pay", and return the request to which the response redirects."""

    def press() -> Any:
        answer = merchant.client.post(f"/l/{link_id}/pay")
        return answer if answer.status == 303 else None

    merchant.wait(press, "make a request of the link")
    newest = merchant.get(f"/api/v1/payments?link_id={link_id}&limit=1")["data"][0]
    return Order(merchant, newest)


def wait_link(merchant: Merchant, link_id: str, status: str) -> dict[str, Any]:
    """Wait until the link has this status, and return it."""

    def look() -> dict[str, Any] | None:
        document: dict[str, Any] = merchant.get(f"/api/v1/links/{link_id}")
        return document if document["status"] == status else None

    return merchant.wait(look, f"show the link as {status}")


def test_a_single_use_link_is_paid_in_two_parts(make_merchant: MerchantMaker, customer: Customer) -> None:
    """Both parts come to one request, because it is still open. Each message arrives once, in order."""
    with Endpoint(answers(204)) as endpoint:
        merchant = make_merchant(ADDRESS_POOL="20").open()
        merchant.installation.manage_json("seller", "set", "company1", "--webhook-url", endpoint.url)
        answer = merchant.client.post("/api/v1/links", INVOICE)
        assert answer.status == 201, answer.body
        link_id = answer.document["link_id"]
        first = pressed(merchant, link_id)
        customer.pay(first.address, first.amount_sats // 2)
        first.wait("underpaid")
        assert pressed(merchant, link_id).id == first.id
        customer.pay(first.address, first.amount_sats - first.amount_sats // 2)
        first.wait("received")
        processing = wait_link(merchant, link_id, "processing")
        assert (processing["paid_fiat"], processing["remaining_fiat"]) == ("10.00", "0.00")
        merchant.node.mine()
        wait_link(merchant, link_id, "paid")
        merchant.wait(first.is_all_delivered, "deliver all messages")
        told = [json.loads(request.body) for request in endpoint.requests]
        assert [each["type"] for each in told] == [each["type"] for each in first.event_list()]
        assert [each["type"] for each in told][-2:] == ["payment.confirmed", "link.paid"]
        assert {each["data"]["link_id"] for each in told} == {link_id}
        assert told[-1]["data"] == {**merchant.get(f"/api/v1/links/{link_id}"), "status": "paid"}
        (letter,) = [each for each in merchant.letters() if "Link paid" in each["Subject"]]
        assert "Invoice 17" in letter["Subject"]
        assert link_id in body(letter)
        assert not is_urgent(letter)
        (letter,) = [each for each in merchant.letters() if "Payment confirmed" in each["Subject"]]
        assert 'Deliver only after the email "Link paid".' in " ".join(body(letter).split())
        assert "You can deliver" not in body(letter)


def test_accepted_money_of_an_earlier_request_ends_the_one_that_waits(
    make_merchant: MerchantMaker, customer: Customer
) -> None:
    """The payer sends late what the first request asked for. Otherwise the second one could be paid too."""
    merchant = make_merchant(ADDRESS_POOL="20").open()
    link_id = merchant.client.post("/api/v1/links", INVOICE).document["link_id"]
    first = pressed(merchant, link_id)
    assert merchant.client.post(f"{first.path}/cancel").status == 202
    first.wait("expired")
    second = pressed(merchant, link_id)
    assert second.id != first.id
    customer.pay(first.address, first.amount_sats)
    first.wait("expired", late=True)
    assert second.now()["status"] == "new"
    assert merchant.client.post(f"{first.path}/accept").status == 200
    first.wait("received")
    second.wait("expired")
    assert second.events() == ["expired"]
    assert wait_link(merchant, link_id, "processing")["paid_fiat"] == "10.00"
