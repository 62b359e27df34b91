"""Mail servers and webhook endpoints fail in many ways, and no delivery waits for another."""

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
    """Return the operator's mail server, which is down until a test opens it."""
    return MailServer()


@pytest.fixture(scope="module")
def merchant(make_merchant: MerchantMaker, post_office: MailServer) -> Merchant:
    """Open a merchant that sends its emails by SMTP."""
    address = post_office.address()
    return make_merchant(SMTP_URL=f"smtp://{address.host}:{address.port}?starttls=never").open()


def _deliveries(order: Order) -> list[dict[str, Any]]:
    return [each for event in order.event_list() for each in event["deliveries"]]


def _is_last_delivered(order: Order) -> bool:
    return _deliveries(order)[-1]["delivered_at"] is not None


def _errors(order: Order) -> str:
    return str([each["last_error"] for each in _deliveries(order)])


def _paid(merchant: Merchant, customer: Customer) -> Order:
    order = merchant.request(confirmations=1)
    customer.pay(order.address, order.amount_sats)
    order.wait("received")
    return order


def test_no_fault_of_a_mail_server_loses_or_reorders_emails(
    merchant: Merchant, post_office: MailServer, customer: Customer
) -> None:
    """The server is down, cuts a connection, or refuses an email.

    An email is repeated under the same Message-ID. After a final refusal the email is reported as given up.
    """
    first = _paid(merchant, customer)
    merchant.wait(lambda: "refused" in _errors(first), "store the refused connection")
    merchant.node.mine()
    first.wait("confirmed")
    with post_office:
        merchant.wait(first.is_all_delivered, "deliver both emails")
        assert [letter["Message-ID"] for letter in post_office.taken] == first.mailed()

        post_office.is_cut_after_data = True
        second = _paid(merchant, customer)
        merchant.wait(lambda: post_office.cut, "lose the connection after DATA")
        post_office.is_cut_after_data = False
        post_office.answers["DATA"] = "451 later"
        poisoned = _paid(merchant, customer)
        merchant.wait(lambda: "451" in _errors(poisoned), "store the error 451")
        with merchant.database():
            Event.update(payload={}).where(Event.reference == poisoned.event_list()[0]["event_id"]).execute()
        post_office.answers["DATA"] = "554 never"
        refused = _paid(merchant, customer)
        merchant.wait(lambda: "554" in _errors(refused), "store the error 554")
        post_office.answers.clear()
        merchant.wait(second.is_all_delivered, "deliver the email that was cut off")
        assert [letter["Message-ID"] for letter in post_office.cut] == second.mailed()
        assert post_office.taken[-1]["Message-ID"] == second.mailed()[0]
        merchant.wait(
            lambda: "can't be written" in _errors(poisoned), "give up the email that can't be written"
        )
        for order, reason in ((refused, "554"), (poisoned, "can't be written")):
            merchant.daemon.wait_for_line("message given up", order.id, reason)
            assert _deliveries(order)[0]["delivered_at"] is None

        merchant.node.mine()
        for order in (second, poisoned, refused):
            order.wait("confirmed")
            merchant.wait(partial(_is_last_delivered, order), "send the next email")
        assert len(post_office.taken) == len(first.mailed()) + 2 + 1 + 1


class Shops:
    """Sellers, each with an endpoint of its own."""

    def __init__(self, merchant: Merchant, stack: ExitStack) -> None:
        self._merchant = merchant
        self._stack = stack
        self.endpoints: dict[str, Endpoint] = {}
        self.orders: dict[str, Order] = {}

    def open(self, name: str, behave: Behaviour) -> Endpoint:
        """Add a seller with this endpoint, and create one request."""
        endpoint = self.endpoints[name] = self._stack.enter_context(Endpoint(behave))
        added = self._merchant.installation.manage_json("seller", "add", name, "--webhook-url", endpoint.url)
        client = self._merchant.installation.client(added["api_key"])
        answer = client.post("/api/v1/payments", {"seller_id": name, **BODY})
        assert answer.status == 201, answer.body
        self.orders[name] = Order(_OtherSeller(self._merchant, client), answer.document)
        return endpoint

    def received(self, name: str) -> list[str]:
        """Return the ids of the events in the order of their arrival, with repeats."""
        return [request.headers["webhook-id"] for request in self.endpoints[name].requests]


class _OtherSeller(Merchant):
    """The same merchant, with the client of another seller."""

    def __init__(self, merchant: Merchant, client: Any) -> None:
        self.__dict__.update(merchant.__dict__)
        self.client = client


@pytest.fixture
def shops(make_merchant: MerchantMaker) -> Iterator[Shops]:
    """Return the shops of a new merchant."""
    with ExitStack() as stack:
        yield Shops(make_merchant().open(), stack)


def test_no_seller_waits_for_another_sellers_endpoint(shops: Shops, customer: Customer) -> None:
    """Endpoints hang, trickle, redirect, fail or are gone. The others get their events at once, in order."""
    elsewhere = shops.open("elsewhere", answers(204))
    shops.open("hangs", hangs)
    shops.open("trickles", trickles(b"HTTP/1.1 200 OK\r\n"))
    shops.open("redirects", answers(302, b"", f"Location: {elsewhere.url}"))
    shops.open("fails", answers(500))
    shops.open("gone", answers(410))
    shops.open("well", answers(204))
    orders, merchant = shops.orders, shops.orders["well"].merchant
    customer.pay_all({order.address: order.amount_sats for order in orders.values()})
    merchant.wait(
        lambda: all(shops.endpoints[name].requests for name in orders), "send to every endpoint at once"
    )
    merchant.node.mine()
    merchant.wait(lambda: len(shops.received("well")) == 2, "send the next event")
    assert len(shops.received("hangs")) == len(shops.received("trickles")) == 1
    merchant.wait(lambda: len(shops.received("gone")) == 2, "continue after 410")
    merchant.wait(
        lambda: [each["attempts"] for each in _hooks(orders["gone"])] == [1, 1],
        "store one attempt for each event",
    )

    slow = ("hangs", "trickles", "redirects", "fails")
    for name in slow:
        shops.endpoints[name].behave = answers(200)
        shops.endpoints[name].released.set()
    for name in (*slow, "well", "elsewhere"):
        order = orders[name]
        merchant.wait(order.is_all_delivered, f"deliver everything to {name}")
        received, ids = shops.received(name), [event["event_id"] for event in order.event_list()]
        assert list(dict.fromkeys(received)) == ids
        assert received[-1] == ids[-1]
    assert len(shops.received("elsewhere")) == len(shops.received("well")) == 2


def _hooks(order: Order) -> list[dict[str, Any]]:
    return [each for each in _deliveries(order) if each["channel"] == "webhook"]
