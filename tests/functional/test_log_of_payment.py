"""`grep PR-…` over the logs of both servers finds each change of a payment once."""

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
def merchant(make_merchant: MerchantMaker) -> Merchant:
    """Return a merchant whose requests expire after three seconds, with logs in JSON."""
    return make_merchant(
        PAYMENT_EXPIRY="3", MONITORING_PERIOD="2", LOG_FORMAT="json", LOG_LEVEL="info"
    ).open()


@pytest.fixture
def shop(merchant: Merchant) -> Iterator[Endpoint]:
    """Yield the seller's own server, which answers 503 at first."""
    with Endpoint(answers(503)) as endpoint:
        merchant.installation.manage_json("seller", "set", SELLER, "--webhook-url", endpoint.url)
        yield endpoint
        merchant.installation.manage_json("seller", "set", SELLER, "--no-webhook")


def lines_of(order: Order) -> list[Line]:
    """Return the lines with the order's id, sorted by time."""
    servers = (order.merchant.web, order.merchant.daemon)
    lines = [line for server in servers for line in server.log_file.read_text().splitlines()]
    found = [json.loads(line) for line in lines if order.id in line]
    assert all(line["payment"] == order.id for line in found)
    return sorted(found, key=lambda line: str(line["time"]))


def events_logged(order: Order) -> list[str]:
    return [line["event"] for line in lines_of(order) if not line["event"].startswith("message ")]


def outcomes_of(order: Order) -> list[tuple[str, str, str]]:
    """Return each message's type of event, channel and outcome."""
    lines = [line for line in lines_of(order) if line["event"].startswith("message ")]
    return [(line["event_type"], line["channel"], line["event"].removeprefix("message ")) for line in lines]


def test_the_log_has_each_change_of_a_payment_in_two_parts(
    merchant: Merchant, shop: Endpoint, customer: Customer
) -> None:
    """The lines reach from the request to its end after a hundred blocks."""
    order = merchant.request(confirmations=2, expires_in=600)
    first = customer.pay(order.address, 5_000)
    order.wait("underpaid")
    rest = customer.pay(order.address, 15_000)
    order.wait("received")
    merchant.wait(
        lambda: ("payment.underpaid", "webhook", "delayed") in outcomes_of(order), "log the refused webhook"
    )
    shop.behave = answers(204)
    bumped = customer.bump_fee(rest)
    order.wait_state(rest.txid, "replaced")
    merchant.node.mine()
    order.wait("confirming")
    merchant.node.mine()
    order.wait("confirmed")
    merchant.wait(order.is_all_delivered, "deliver all messages")
    merchant.node.mine(100)
    merchant.wait(lambda: "payment closed" in events_logged(order), "close the request")

    events = events_logged(order)
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
        # The replacement is in a block now, so this state is final.
        "output replaced",
        "status changed",
        "payment.confirmed",
        "payment closed",
    ]
    lines = {line["event"]: line for line in lines_of(order)}
    assert lines["payment requested"]["address"] == order.address
    assert (lines["output replaced"]["txid"], lines["output replaced"]["replaced_by"]) == (
        rest.txid,
        bumped.txid,
    )
    assert {line["txid"] for line in lines_of(order) if line["event"] == "output mined"} == {
        first.txid,
        bumped.txid,
    }
    outcomes = outcomes_of(order)
    assert outcomes.count(("payment.underpaid", "webhook", "delivered")) == 1
    assert [each for each in outcomes if each[1] == "email"] == [
        ("payment.received", "email", "delivered"),
        ("payment.confirmed", "email", "delivered"),
    ]
    delayed = lines["message delayed"]
    assert delayed["level"] == "warning"
    assert "503" in delayed["reason"]

    event = order.event_list()[0]
    assert merchant.client.post(f"{order.path}/events/{event['event_id']}/redeliver").status == 202
    merchant.wait(
        lambda: outcomes_of(order)[-1] == ("payment.underpaid", "webhook", "delivered"),
        "send the webhook again",
    )
    *_, one, other, last = [each["event"] for each in lines_of(order)]
    # The daemon may log its line before the web server logs the request.
    assert ({one, other}, last) == ({"redelivery asked for", "redelivery queued"}, "message delivered")


def test_the_log_has_late_money_and_its_double_spend(merchant: Merchant, customer: Customer) -> None:
    """An event that needs a decision is a warning, and the decision has a line too."""
    order = merchant.request(confirmations=1)
    order.wait("expired")
    late = customer.pay(order.address, 20_000)
    order.wait("expired", late=True)
    assert merchant.client.post(f"{order.path}/accept").status == 200
    order.wait("received")
    customer.double_spend(late)
    order.wait("expired", late=False)
    merchant.wait(lambda: "payment.reverted" in events_logged(order), "log the double-spend")
    merchant.node.mine()
    merchant.wait(lambda: events_logged(order)[-1] == "payment closed", "close the request")
    events = events_logged(order)
    for event in ("payment.late", "payment.reverted", "acceptance asked for", "late payment accepted"):
        assert events.count(event) == 1, events
    (accepted,) = (line for line in lines_of(order) if line["event"] == "late payment accepted")
    figures = [accepted[name] for name in ("asked", "worth", "difference_percent")]
    assert figures == ["10.00 EUR", "10.00 EUR", "0.0"]
    assert accepted["late_seconds"] >= 0
    levels = {line["event"]: line["level"] for line in lines_of(order)}
    assert levels["payment.late"] == levels["payment.reverted"] == "warning"
    assert {levels[event] for event in ("payment.expired", "payment.received", "output seen")} == {"info"}


def test_the_metrics_agree_with_the_log(merchant: Merchant) -> None:
    """The daemon counts the events that it logs. promtool accepts the metrics."""
    text = merchant.wait(_scrape_after_heartbeat(merchant), "store its counters")
    samples = {
        (s.name, *s.labels.values()): s.value for f in text_string_to_metric_families(text) for s in f.samples
    }
    lines = [json.loads(line) for line in merchant.daemon.lines()]
    for event in ("payment.received", "payment.confirmed", "payment.late", "payment.reverted"):
        counted = samples["nodetill_events_total", event]
        assert counted == len([line for line in lines if line["event"] == event]) > 0
    assert samples["nodetill_received_told_seconds_count", "email"] == 2
    assert samples["nodetill_feed_messages_total", "rawtx"] > 0
    assert samples["nodetill_feed_messages_total", "hashblock"] > 0
    assert run(find_program("promtool", "promtool"), "check", "metrics", text=text) == ""


def _scrape_after_heartbeat(merchant: Merchant) -> Any:
    """Return a function that returns the metrics after the next heartbeat, which stores the counters."""
    seen = merchant.heartbeat_at()

    def look() -> str | None:
        is_new = merchant.heartbeat_at() != seen
        return merchant.client.get("/metrics").body.decode() if is_new else None

    return look
