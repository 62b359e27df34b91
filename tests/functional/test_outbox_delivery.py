"""The real daemon sends emails to a mail server and webhooks to a seller's endpoint."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.endpoint import Endpoint, Request, answers
from tests.support.mail_server import MailServer
from tests.support.merchant import SELLER, Merchant, Order, body


@pytest.fixture(scope="module")
def post_office() -> Iterator[MailServer]:
    """Start the operator's mail server."""
    with MailServer() as server:
        yield server


@pytest.fixture(scope="module")
def mailing(make_merchant: MerchantMaker, post_office: MailServer) -> Merchant:
    """Open a merchant that sends its emails by SMTP."""
    address = post_office.address()
    settings = {"SMTP_URL": f"smtp://{address.host}:{address.port}?starttls=never"}
    return make_merchant(**settings, OPERATOR_PASSWORD="open sesame").open()


def _errors(order: Order) -> str:
    return str([each["last_error"] for event in order.event_list() for each in event["deliveries"]])


def test_emails_wait_for_a_busy_mail_server_and_arrive_once(
    mailing: Merchant, post_office: MailServer, customer: Customer
) -> None:
    """The emails arrive in order, under Message-IDs made from the events, also after a restart."""
    post_office.answers["DATA"] = "451 later"
    order = mailing.request(confirmations=1)
    customer.pay(order.address, order.amount_sats)
    order.wait("received")
    mailing.wait(lambda: "451" in _errors(order), "store the error 451")
    mailing.daemon.kill()
    post_office.answers.clear()
    mailing.node.mine()
    mailing.daemon.start()
    order.wait("confirmed")
    mailing.wait(order.is_all_delivered, "deliver both emails")
    assert [letter["Message-ID"] for letter in post_office.taken] == order.mailed()
    assert all(order.id in body(letter) for letter in post_office.taken)
    assert post_office.recipients == ["operator@localhost"] * 2


def test_emails_mark_a_test_network_and_link_to_the_operators_page(
    mailing: Merchant, post_office: MailServer, customer: Customer
) -> None:
    """The emails link to no explorer, because none has this transaction."""
    post_office.answers.clear()
    mailing.installation.manage_json("seller", "set", SELLER, "--name", "Alpaca Direct")
    order = mailing.request(confirmations=0, note="Order 5000\nAlpaca socks")
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("confirmed")
    mailing.wait(order.is_all_delivered, "deliver both emails")
    letters = [letter for letter in post_office.taken if order.id in letter["Subject"]]
    page = f"{order.now()['checkout_url'].removesuffix(f'/pay/{order.id}')}/operator/payments/{order.id}"
    assert [letter["Subject"] for letter in letters] == [
        f"[regtest] Payment {event}: 10.00 EUR for Alpaca Direct, Order 5000 Alpaca socks ({order.id})"
        for event in ("received", "confirmed")
    ]
    for letter in letters:
        lines = [line.strip() for line in body(letter).splitlines()]
        assert lines[0] == "Test network (regtest): not real money"
        assert lines[4:6] == ["Look at this payment:", page]
        assert sent.txid in lines
        assert "mempool.space" not in letter.as_string()
    assert order.now()["network"] == "regtest"


@pytest.fixture
def shop(merchant: Merchant) -> Iterator[Endpoint]:
    """Start the seller's endpoint, and set it as the webhook's address."""
    with Endpoint(answers(204)) as endpoint:
        merchant.installation.manage_json("seller", "set", SELLER, "--webhook-url", endpoint.url)
        yield endpoint
        merchant.installation.manage_json("seller", "set", SELLER, "--no-webhook")


def test_webhooks_arrive_in_order_with_a_valid_signature(
    merchant: Merchant, shop: Endpoint, customer: Customer
) -> None:
    """`seller add` prints the secret. Each body has the request at the time of its event."""
    order = merchant.request(confirmations=1, metadata={"cart": 7})
    customer.pay(order.address, order.amount_sats)
    order.wait("received")
    merchant.node.mine()
    order.wait("confirmed")
    merchant.wait(order.is_all_delivered, "deliver all")
    bodies = [_checked(merchant, request) for request in shop.requests]
    assert [each["type"] for each in bodies] == ["payment.received", "payment.confirmed"]
    assert [each["data"]["status"] for each in bodies] == ["received", "confirmed"]
    assert bodies[0]["data"] | {"status": "confirmed"} != bodies[1]["data"]
    assert all(each["data"]["metadata"] == {"cart": 7} for each in bodies)
    assert all(each["data"]["network"] == "regtest" for each in bodies)
    ids = [request.headers["webhook-id"] for request in shop.requests]
    assert ids == [event["event_id"] for event in order.event_list()]
    assert bodies[1]["data"] == order.now()


def test_a_webhook_is_repeated_until_the_seller_accepts_it(
    merchant: Merchant, shop: Endpoint, customer: Customer
) -> None:
    """Repeats have the same id, and then the next event follows. Emails do not wait for the seller."""
    shop.behave = answers(500)
    order = merchant.request(confirmations=1)
    customer.pay(order.address, order.amount_sats)
    order.wait("received")
    merchant.node.mine()
    order.wait("confirmed")
    merchant.wait(lambda: len(order.letters()) == 2, "send both emails")
    merchant.wait(lambda: "500" in _errors(order), "store the error 500")
    shop.behave = answers(200)
    merchant.wait(order.is_all_delivered, "deliver all")
    first, second = (event["event_id"] for event in order.event_list())
    ids = [request.headers["webhook-id"] for request in shop.requests]
    assert ids[-1] == second
    assert set(ids[:-1]) == {first}
    assert len(ids) >= 3


def test_a_seller_can_request_a_webhook_again(merchant: Merchant, shop: Endpoint, customer: Customer) -> None:
    """The webhook has the same id and body. No second email is sent."""
    order = merchant.request(confirmations=0)
    customer.pay(order.address, order.amount_sats)
    merchant.wait(lambda: order.is_all_delivered() and len(shop.requests) == 2, "deliver all")
    event = order.event_list()[0]
    answer = merchant.client.post(f"{order.path}/events/{event['event_id']}/redeliver")
    assert answer.status == 202, answer.body
    merchant.wait(lambda: len(shop.requests) == 3, "send the webhook again")
    assert shop.requests[2].headers["webhook-id"] == event["event_id"]
    assert shop.requests[2].body == shop.requests[0].body
    order.wait_told("received", "confirmed")


def _checked(merchant: Merchant, request: Request) -> dict[str, Any]:
    """Return the body of a webhook after a check of its signature."""
    checked = Webhook(merchant.webhook_secret).verify(request.body.decode(), request.headers)
    assert checked == json.loads(request.body)
    document: dict[str, Any] = checked
    return document
