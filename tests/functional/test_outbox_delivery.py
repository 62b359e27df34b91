"""The operator's mail server and the seller's endpoint, with the real daemon before them."""

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
    """The operator's mail server."""
    with MailServer() as server:
        yield server


@pytest.fixture(scope="module")
def mailing(make_till: MerchantMaker, post_office: MailServer) -> Merchant:
    """A till that sends its emails by SMTP."""
    address = post_office.address()
    settings = {"SMTP_URL": f"smtp://{address.host}:{address.port}?starttls=never"}
    return make_till(**settings, OPERATOR_PASSWORD="open sesame").open()


def _errors(order: Order) -> str:
    return str([each["last_error"] for event in order.event_list() for each in event["deliveries"]])


def test_emails_wait_for_a_busy_mail_server_and_come_once_each(
    mailing: Merchant, post_office: MailServer, customer: Customer
) -> None:
    """In their order, to the operator, under Message-IDs made from the events; also over a restart."""
    post_office.answers["DATA"] = "451 later"
    order = mailing.request(confirmations=1)
    customer.pay(order.address, order.amount_sats)
    order.wait("received")
    mailing.wait(lambda: "451" in _errors(order), "be told to come later")
    mailing.daemon.kill()
    post_office.answers.clear()
    mailing.node.mine()
    mailing.daemon.start()
    order.wait("confirmed")
    mailing.wait(order.is_all_delivered, "deliver both")
    assert [letter["Message-ID"] for letter in post_office.taken] == order.mailed()
    assert all(order.id in body(letter) for letter in post_office.taken)
    assert post_office.recipients == ["operator@localhost"] * 2


def test_emails_mark_play_money_and_lead_to_the_operator_s_page(
    mailing: Merchant, post_office: MailServer, customer: Customer
) -> None:
    """A real mail server receives them. No link leads to an explorer, because none has this transaction."""
    post_office.answers.clear()
    mailing.installation.managed("seller", "set", SELLER, "--name", "Alpaca Direct")
    order = mailing.request(confirmations=0, note="Order 5000\nAlpaca socks")
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("confirmed")
    mailing.wait(order.is_all_delivered, "deliver both")
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
def shop(till: Merchant) -> Iterator[Endpoint]:
    """The seller's own server, which is told of its payments."""
    with Endpoint(answers(204)) as endpoint:
        till.installation.managed("seller", "set", SELLER, "--webhook-url", endpoint.url)
        yield endpoint
        till.installation.managed("seller", "set", SELLER, "--no-webhook")


def test_a_seller_is_told_in_order_and_can_check_who_says_so(
    till: Merchant, shop: Endpoint, customer: Customer
) -> None:
    """Signed with the secret that `seller add` printed; the body is the request as it was then."""
    order = till.request(confirmations=1, metadata={"cart": 7})
    customer.pay(order.address, order.amount_sats)
    order.wait("received")
    till.node.mine()
    order.wait("confirmed")
    till.wait(order.is_all_delivered, "deliver all")
    told = [_checked(till, request) for request in shop.requests]
    assert [each["type"] for each in told] == ["payment.received", "payment.confirmed"]
    assert [each["data"]["status"] for each in told] == ["received", "confirmed"]
    assert told[0]["data"] | {"status": "confirmed"} != told[1]["data"]
    assert all(each["data"]["metadata"] == {"cart": 7} for each in told)
    assert all(each["data"]["network"] == "regtest" for each in told)
    identities = [request.headers["webhook-id"] for request in shop.requests]
    assert identities == [event["event_id"] for event in order.event_list()]
    assert told[1]["data"] == order.now()


def test_an_event_is_told_again_until_it_is_taken_and_then_the_next(
    till: Merchant, shop: Endpoint, customer: Customer
) -> None:
    """Under the same id; the operator's emails do not wait for the seller."""
    shop.behave = answers(500)
    order = till.request(confirmations=1)
    customer.pay(order.address, order.amount_sats)
    order.wait("received")
    till.node.mine()
    order.wait("confirmed")
    till.wait(lambda: len(order.letters()) == 2, "send both emails")
    till.wait(lambda: "500" in _errors(order), "be refused")
    shop.behave = answers(200)
    till.wait(order.is_all_delivered, "deliver all")
    first, second = (event["event_id"] for event in order.event_list())
    identities = [request.headers["webhook-id"] for request in shop.requests]
    assert identities[-1] == second
    assert set(identities[:-1]) == {first}
    assert len(identities) >= 3


def test_an_event_is_told_again_where_the_seller_asks_for_it(
    till: Merchant, shop: Endpoint, customer: Customer
) -> None:
    """The same event under the same id, and no second email."""
    order = till.request(confirmations=0)
    customer.pay(order.address, order.amount_sats)
    till.wait(lambda: order.is_all_delivered() and len(shop.requests) == 2, "deliver all")
    event = order.event_list()[0]
    answer = till.client.post(f"{order.path}/events/{event['event_id']}/redeliver")
    assert answer.status == 202, answer.body
    till.wait(lambda: len(shop.requests) == 3, "tell it again")
    assert shop.requests[2].headers["webhook-id"] == event["event_id"]
    assert shop.requests[2].body == shop.requests[0].body
    order.wait_told("received", "confirmed")


def _checked(till: Merchant, request: Request) -> dict[str, Any]:
    """The body of a webhook whose signature is right."""
    checked = Webhook(till.webhook_secret).verify(request.body.decode(), request.headers)
    assert checked == json.loads(request.body)
    document: dict[str, Any] = checked
    return document
