"""Mail servers and shops at their worst, with the real daemon before them: nobody waits for another."""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest

from models.outbox import Event
from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.endpoint import Behaviour, Endpoint, answers, hangs, trickles
from tests.support.mail_server import MailServer
from tests.support.merchant import Merchant, Order

BODY = {"amount_fiat": "10.00", "currency": "EUR", "confirmations": 1}


@pytest.fixture(scope="module")
def post_office() -> MailServer:
    """The operator's mail server; it is down until a test opens it."""
    return MailServer()


@pytest.fixture(scope="module")
def till(make_till: MerchantMaker, post_office: MailServer) -> Merchant:
    """A till that sends its emails by SMTP."""
    address = post_office.address()
    return make_till(SMTP_URL=f"smtp://{address.host}:{address.port}?starttls=never").open()


def _deliveries(order: Order) -> list[dict[str, Any]]:
    return [each for event in order.event_list() for each in event["deliveries"]]


def _is_last_delivered(order: Order) -> bool:
    return _deliveries(order)[-1]["delivered_at"] is not None


def _errors(order: Order) -> str:
    return str([each["last_error"] for each in _deliveries(order)])


def _paid(till: Merchant, customer: Customer) -> Order:
    order = till.request(confirmations=1)
    customer.pay(order.address, order.amount_sats)
    order.wait("received")
    return order


def test_no_email_is_lost_or_out_of_order_whatever_the_server_does(
    till: Merchant, post_office: MailServer, customer: Customer
) -> None:
    """Down, cut, refused for good: repeated under the same Message-ID, or told and out of the way."""
    first = _paid(till, customer)
    till.wait(lambda: "refused" in _errors(first), "find nobody at the mail server")
    till.node.mine()
    first.wait("confirmed")
    with post_office:
        till.wait(first.is_all_delivered, "deliver both emails")
        assert [letter["Message-ID"] for letter in post_office.taken] == first.mailed()

        post_office.is_cut_after_data = True
        second = _paid(till, customer)
        till.wait(lambda: post_office.cut, "be cut off")
        post_office.is_cut_after_data = False
        post_office.answers["DATA"] = "451 later"
        poisoned = _paid(till, customer)
        till.wait(lambda: "451" in _errors(poisoned), "be told to come later")
        with till.database():
            Event.update(payload={}).where(Event.reference == poisoned.event_list()[0]["event_id"]).execute()
        post_office.answers["DATA"] = "554 never"
        refused = _paid(till, customer)
        till.wait(lambda: "554" in _errors(refused), "be refused for good")
        post_office.answers.clear()
        till.wait(second.is_all_delivered, "deliver what was cut off")
        assert [letter["Message-ID"] for letter in post_office.cut] == second.mailed()
        assert post_office.taken[-1]["Message-ID"] == second.mailed()[0]
        till.wait(lambda: "can't be written" in _errors(poisoned), "give up what can't be written")
        for order, why in ((refused, "554"), (poisoned, "can't be written")):
            till.daemon.wait_for_line("message given up", order.id, why)
            assert _deliveries(order)[0]["delivered_at"] is None

        till.node.mine()
        for order in (second, poisoned, refused):
            order.wait("confirmed")
            till.wait(partial(_is_last_delivered, order), "send the next email")
        assert len(post_office.taken) == len(first.mailed()) + 2 + 1 + 1


class Shops:
    """Sellers, each with an endpoint of its own."""

    def __init__(self, till: Merchant, stack: ExitStack) -> None:
        self._till = till
        self._stack = stack
        self.endpoints: dict[str, Endpoint] = {}
        self.orders: dict[str, Order] = {}

    def open(self, name: str, behave: Behaviour) -> Endpoint:
        """With one request."""
        endpoint = self.endpoints[name] = self._stack.enter_context(Endpoint(behave))
        added = self._till.installation.managed("seller", "add", name, "--webhook-url", endpoint.url)
        client = self._till.installation.client(added["api_key"])
        answer = client.post("/api/v1/payments", {"seller_id": name, **BODY})
        assert answer.status == 201, answer.body
        self.orders[name] = Order(_Counter(self._till, client), answer.document)
        return endpoint

    def told(self, name: str) -> list[str]:
        """The events' ids in the order of their arrival, as often as they came."""
        return [request.headers["webhook-id"] for request in self.endpoints[name].requests]


class _Counter(Merchant):
    """The same till, seen by another seller."""

    def __init__(self, till: Merchant, client: Any) -> None:
        self.__dict__.update(till.__dict__)
        self.client = client


@pytest.fixture
def shops(make_till: MerchantMaker) -> Iterator[Shops]:
    """At a till of their own."""
    with ExitStack() as stack:
        yield Shops(make_till().open(), stack)


def test_nobody_waits_for_somebody_else_s_dead_endpoint(shops: Shops, customer: Customer) -> None:
    """It hangs, trickles, redirects, fails, is gone: the others are told at once, and each in its order."""
    elsewhere = shops.open("elsewhere", answers(204))
    shops.open("hangs", hangs)
    shops.open("trickles", trickles(b"HTTP/1.1 200 OK\r\n"))
    shops.open("redirects", answers(302, b"", f"Location: {elsewhere.url}"))
    shops.open("fails", answers(500))
    shops.open("gone", answers(410))
    shops.open("well", answers(204))
    orders, till = shops.orders, shops.orders["well"].till
    customer.pay_all({order.address: order.amount_sats for order in orders.values()})
    till.wait(lambda: all(shops.endpoints[name].requests for name in orders), "tell everybody at once")
    till.node.mine()
    till.wait(lambda: len(shops.told("well")) == 2, "tell of the next event")
    assert len(shops.told("hangs")) == len(shops.told("trickles")) == 1
    till.wait(lambda: len(shops.told("gone")) == 2, "go on after 410")
    till.wait(
        lambda: [each["attempts"] for each in _hooks(orders["gone"])] == [1, 1], "mark both, tried once each"
    )

    slow = ("hangs", "trickles", "redirects", "fails")
    for name in slow:
        shops.endpoints[name].behave = answers(200)
        shops.endpoints[name].released.set()
    for name in (*slow, "well", "elsewhere"):
        order = orders[name]
        till.wait(order.is_all_delivered, f"deliver everything to {name}")
        told, ids = shops.told(name), [event["event_id"] for event in order.event_list()]
        assert list(dict.fromkeys(told)) == ids
        assert told[-1] == ids[-1]
    assert len(shops.told("elsewhere")) == len(shops.told("well")) == 2


def _hooks(order: Order) -> list[dict[str, Any]]:
    return [each for each in _deliveries(order) if each["channel"] == "webhook"]
