"""`grep PR-…` over the logs of both servers tells a payment's whole story, each change of a fact once."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.debian_program import find_program
from tests.support.endpoint import Endpoint, answers
from tests.support.merchant import SELLER, Merchant, Order
from tests.unit.web.test_metrics import run

Line = dict[str, Any]


@pytest.fixture(scope="module")
def till(make_till: MerchantMaker) -> Merchant:
    """Prices hold for three seconds; the logs are JSON."""
    return make_till(PAYMENT_EXPIRY="3", MONITORING_PERIOD="2", LOG_FORMAT="json", LOG_LEVEL="info").open()


@pytest.fixture
def shop(till: Merchant) -> Iterator[Endpoint]:
    """The seller's own server; it is busy at first."""
    with Endpoint(answers(503)) as endpoint:
        till.installation.managed("seller", "set", SELLER, "--webhook-url", endpoint.url)
        yield endpoint
        till.installation.managed("seller", "set", SELLER, "--no-webhook")


def story(order: Order) -> list[Line]:
    """What grep finds, in the order of its time."""
    servers = (order.till.web, order.till.daemon)
    lines = [line for server in servers for line in server.log_file.read_text().splitlines()]
    found = [json.loads(line) for line in lines if order.id in line]
    assert all(line["payment"] == order.id for line in found)
    return sorted(found, key=lambda line: str(line["time"]))


def told(order: Order) -> list[str]:
    return [line["event"] for line in story(order) if not line["event"].startswith("message ")]


def delivered(order: Order) -> list[tuple[str, str, str]]:
    """What became of the messages: the event's type, the channel, the outcome."""
    lines = [line for line in story(order) if line["event"].startswith("message ")]
    return [(line["event_type"], line["channel"], line["event"].removeprefix("message ")) for line in lines]


def test_a_payment_in_two_parts_with_a_fee_bump(till: Merchant, shop: Endpoint, customer: Customer) -> None:
    """From the request to its end, a hundred blocks deep."""
    order = till.request(confirmations=2, expires_in=600)
    first = customer.pay(order.address, 5_000)
    order.wait("underpaid")
    rest = customer.pay(order.address, 15_000)
    order.wait("received")
    till.wait(lambda: ("payment.underpaid", "webhook", "delayed") in delivered(order), "be refused")
    shop.behave = answers(204)
    bumped = customer.bump_fee(rest)
    order.wait_state(rest.txid, "replaced")
    till.node.mine()
    order.wait("confirming")
    till.node.mine()
    order.wait("confirmed")
    till.wait(order.is_all_delivered, "deliver all")
    till.node.mine(100)
    till.wait(lambda: "payment closed" in told(order), "close it")

    events = told(order)
    assert events == [
        "payment requested",
        "output seen",
        "payment.underpaid",
        "output seen",
        "payment.received",
        "output seen",
        "output replaced",
        "output mined",
        "output mined",
        # Now by a block, and so for good.
        "output replaced",
        "status changed",
        "payment.confirmed",
        "payment closed",
    ]
    lines = {line["event"]: line for line in story(order)}
    assert lines["payment requested"]["address"] == order.address
    assert (lines["output replaced"]["txid"], lines["output replaced"]["replaced_by"]) == (
        rest.txid,
        bumped.txid,
    )
    assert {line["txid"] for line in story(order) if line["event"] == "output mined"} == {
        first.txid,
        bumped.txid,
    }
    outcomes = delivered(order)
    assert outcomes.count(("payment.underpaid", "webhook", "delivered")) == 1
    assert [each for each in outcomes if each[1] == "email"] == [
        ("payment.received", "email", "delivered"),
        ("payment.confirmed", "email", "delivered"),
    ]
    delayed = lines["message delayed"]
    assert delayed["level"] == "warning"
    assert "503" in delayed["reason"]

    event = order.event_list()[0]
    assert till.client.post(f"{order.path}/events/{event['event_id']}/redeliver").status == 202
    till.wait(lambda: delivered(order)[-1] == ("payment.underpaid", "webhook", "delivered"), "send it again")
    *_, one, other, last = [each["event"] for each in story(order)]
    # The daemon may be quicker to tell of it than the web server, whose wish it is.
    assert ({one, other}, last) == ({"redelivery asked for", "redelivery queued"}, "message delivered")


def test_money_that_is_late_taken_back_and_too_much(till: Merchant, customer: Customer) -> None:
    """What asks for a decision is a warning, and a decision has a line too."""
    order = till.request(confirmations=1)
    order.wait("expired")
    late = customer.pay(order.address, 20_000)
    order.wait("expired", late=True)
    assert till.client.post(f"{order.path}/accept").status == 200
    order.wait("received")
    customer.double_spend(late)
    order.wait("expired", late=False)
    till.wait(lambda: "payment.reverted" in told(order), "tell of it")
    till.node.mine()
    till.wait(lambda: told(order)[-1] == "payment closed", "close it")
    events = told(order)
    for event in ("payment.late", "payment.reverted", "acceptance asked for", "late payment accepted"):
        assert events.count(event) == 1, events
    (accepted,) = (line for line in story(order) if line["event"] == "late payment accepted")
    figures = [accepted[name] for name in ("asked", "worth", "difference_percent")]
    assert figures == ["10.00 EUR", "10.00 EUR", "0.0"]
    assert accepted["late_seconds"] >= 0
    levels = {line["event"]: line["level"] for line in story(order)}
    assert levels["payment.late"] == levels["payment.reverted"] == "warning"
    assert {levels[event] for event in ("payment.expired", "payment.received", "output seen")} == {"info"}


def test_the_figures_tell_the_same(till: Merchant) -> None:
    """The daemon counts what it logs; a real scrape is as Prometheus wants it."""
    text = till.wait(_scrape_of(till), "store its counters")
    samples = {
        (s.name, *s.labels.values()): s.value for f in text_string_to_metric_families(text) for s in f.samples
    }
    lines = [json.loads(line) for line in till.daemon.lines()]
    for event in ("payment.received", "payment.confirmed", "payment.late", "payment.reverted"):
        counted = samples["nodetill_events_total", event]
        assert counted == len([line for line in lines if line["event"] == event]) > 0
    assert samples["nodetill_received_told_seconds_count", "email"] == 2
    assert samples["nodetill_feed_messages_total", "rawtx"] > 0
    assert samples["nodetill_feed_messages_total", "hashblock"] > 0
    assert run(find_program("promtool", "promtool"), "check", "metrics", text=text) == ""


def _scrape_of(till: Merchant) -> Any:
    """Once the heartbeat after the last event has brought the counters up to date."""
    seen = till.heartbeat_at()

    def look() -> str | None:
        is_new = till.heartbeat_at() != seen
        return till.client.get("/metrics").body.decode() if is_new else None

    return look
