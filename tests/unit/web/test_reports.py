"""Events, rates and health report the stored state."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from models.address import Address
from models.block import Block
from models.command import REDELIVER, DaemonCommand
from models.daemon_status import DaemonReport, beat
from models.outbox import EMAIL, WEBHOOK, Event, Message, messages_of
from models.rate import Rate, store_rates
from tests.support.web_server import NOW, TIP, WebServer, open_shop, stored


@pytest.fixture
def shop(tmp_path: Path, database_url: str) -> Iterator[WebServer]:
    """Serve a web server on each kind of database."""
    with open_shop(tmp_path, database_url) as opened:
        yield opened


def add_event(document: dict[str, Any], reference: str, *channels: str) -> Event:
    """Store an event with a pending message for each channel, as the daemon does."""
    payment = stored(document)
    event: Event = Event.create(
        reference=reference,
        payment=payment,
        revision=Event.select().count(),
        type="payment.received",
        created_at=NOW,
        payload={},
    )
    for channel in channels:
        Message.create(
            event=event,
            payment=payment,
            channel=channel,
            recipient="https://shop.example/hook",
            queue=channel,
            created_at=NOW,
            next_attempt_at=NOW,
            attempts=1,
            last_error="HTTP 500",
        )
    return event


@pytest.mark.parametrize(
    ("channel", "stored", "shown"),
    [
        (WEBHOOK, "HTTP 503", "HTTP 503"),
        (WEBHOOK, "HTTP 410: the address is gone", "HTTP 410: the address is gone"),
        (WEBHOOK, "Connection refused", "no HTTP answer"),
        (WEBHOOK, "timed out", "no HTTP answer"),
        (WEBHOOK, "the certificate is refused: it is for another name", "no HTTP answer"),
        (WEBHOOK, "the host is not public: name it in WEBHOOK_PRIVATE_HOSTS to allow it", "no HTTP answer"),
        (WEBHOOK, "the seller has no webhook address any more", "the seller has no webhook address any more"),
        (WEBHOOK, None, None),
        (EMAIL, "the mail server answered 451 later", "the mail server answered 451 later"),
    ],
)
def test_a_seller_sees_only_the_http_status_of_its_endpoint(
    shop: WebServer, channel: str, stored: str | None, shown: str | None
) -> None:
    """A key may set the address, and other details would reveal a private network."""
    made = shop.created()
    Message.update(last_error=stored).where(Message.event == add_event(made, "evt_1", channel)).execute()
    [event] = shop.get(f"/api/v1/payments/{made['payment_request_id']}/events").json["data"]
    assert [delivery["last_error"] for delivery in event["deliveries"]] == [shown]


def test_events_are_listed_with_their_deliveries(shop: WebServer) -> None:
    """A delivery has its channel, its last error, and its next attempt."""
    made = shop.created()
    add_event(made, "evt_1", WEBHOOK, EMAIL)
    add_event(made, "evt_2")
    add_event(shop.created(), "evt_other", WEBHOOK)
    data = shop.get(f"/api/v1/payments/{made['payment_request_id']}/events").json["data"]
    delivery = {
        "attempts": 1,
        "last_error": "HTTP 500",
        "delivered_at": None,
        "failed_at": None,
        "next_attempt_at": "2026-11-23T12:00:00Z",
    }
    assert data == [
        {
            "event_id": "evt_1",
            "type": "payment.received",
            "created_at": "2026-11-23T12:00:00Z",
            "deliveries": [
                {"channel": "webhook", "webhook_id": "https://shop.example/hook", **delivery},
                {"channel": "email", "webhook_id": None, **delivery},
            ],
        },
        {
            "event_id": "evt_2",
            "type": "payment.received",
            "created_at": "2026-11-23T12:00:00Z",
            "deliveries": [],
        },
    ]


def test_a_webhook_is_sent_again_on_request(shop: WebServer) -> None:
    """Repeated calls are 202 and store one command. A seller cannot send the operator's email again."""
    made = shop.created()
    event = add_event(made, "evt_1", WEBHOOK, EMAIL)
    path = f"/api/v1/payments/{made['payment_request_id']}/events/evt_1/redeliver"
    assert [shop.post(path).status for _ in range(2)] == [202, 202]
    command = DaemonCommand.get()
    assert command.message is not None
    assert (command.kind, command.message.channel, command.message.event_id) == (REDELIVER, WEBHOOK, event.id)


def test_a_redelivery_without_a_webhook_is_refused(shop: WebServer) -> None:
    """It is 409 for an event without a webhook, and 404 for another request's event."""
    made, other = shop.created(), shop.created()
    add_event(made, "evt_1", EMAIL)
    add_event(other, "evt_2", WEBHOOK)
    events = f"/api/v1/payments/{made['payment_request_id']}/events"
    assert shop.post(f"{events}/evt_1/redeliver").status == 409
    assert shop.post(f"{events}/evt_2/redeliver").status == 404
    assert shop.post(f"{events}/evt_%00/redeliver").status == 404
    assert DaemonCommand.select().count() == 0


def test_a_redelivery_of_a_message_pruned_meanwhile_is_409(
    shop: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon may prune at any time."""
    made = shop.created()
    add_event(made, "evt_1", WEBHOOK)

    def read_and_prune(events: list[Event]) -> list[Message]:
        found = messages_of(events)
        Message.delete().execute()
        return found

    monkeypatch.setattr("web.api.events.messages_of", read_and_prune)
    path = f"/api/v1/payments/{made['payment_request_id']}/events/evt_1/redeliver"
    assert shop.post(path).status == 409
    assert DaemonCommand.select().count() == 0


def test_rates_are_the_prices_of_new_requests(tmp_path: Path, database_url: str) -> None:
    """Each currency with a present price is listed, less the spread, with its sources and age."""
    with open_shop(tmp_path, database_url, {"RATE_SPREAD": "1"}) as shop:
        store_rates("old", {"ISK": Decimal(8_000_000)}, NOW - timedelta(hours=1))
        shop.wait(seconds=42)
        data = shop.get("/api/v1/rates").json["data"]
        made = shop.created()
    assert [rate["currency"] for rate in data] == ["EUR", "JPY"]
    assert data[0] == {
        "currency": "EUR",
        "price": made["price_btc"],
        "source": "bitpay, kraken",
        "age": 42,
        "fetched_at": "2026-11-23T12:00:00Z",
    }
    assert Decimal(data[0]["price"]) == Decimal("60534.837")


def test_health_without_problems_is_200(shop: WebServer) -> None:
    """It has the form of docs/spec.md 4, and is public."""
    Block.create(height=TIP, hash="00" * 32, chainwork="ff" * 32, mined_at=NOW - timedelta(minutes=8))
    shop.wait(seconds=7)
    reply = shop.get("/health", {"Authorization": None})
    assert reply.status == 200
    assert reply.json == {
        "status": "ok",
        "problems": [],
        "chain": {
            "height": TIP,
            "node_height": TIP,
            "behind": 0,
            "last_block_at": "2026-11-23T11:52:00Z",
        },
        "daemon": {"heartbeat_age": 7},
        "outbox": {"pending": 0, "oldest_age": None},
        "rates": {"age": 7},
        "addresses": {"free": 50},
    }


def health_problems(shop: WebServer) -> str:
    """Return the problems of /health, which must be 503."""
    reply = shop.get("/health", {"Authorization": None})
    assert reply.status == 503
    assert reply.json["status"] == "failing"
    assert reply.json["problems"]
    return "\n".join(reply.json["problems"])


def test_a_missing_heartbeat_is_a_problem(shop: WebServer) -> None:
    """It is missing for half a minute, or there never was one."""
    shop.wait(seconds=31)
    assert "silent for 31 s" in health_problems(shop)
    DaemonReport.delete().execute()
    assert "never run" in health_problems(shop)


def test_problems_of_the_daemon_are_in_health(shop: WebServer) -> None:
    beat(NOW, TIP, ["bitcoind does not answer"])
    assert health_problems(shop) == "bitcoind does not answer"


def test_blocks_behind_the_node_are_a_problem(shop: WebServer) -> None:
    """Statuses are then outdated. A block that is being read is no problem."""
    beat(NOW, TIP + 2, [])
    assert shop.get("/health").status == 200
    beat(NOW, TIP + 10, [])
    assert "10 blocks behind" in health_problems(shop)


def test_a_missing_address_and_a_missing_price_are_problems(shop: WebServer) -> None:
    """No request can then be created."""
    Address.update(claimed_at=NOW).execute()
    Rate.delete().execute()
    assert "no free address" in health_problems(shop)
    assert "no currency" in health_problems(shop)


def test_a_currency_in_use_without_a_fresh_price_is_a_problem(shop: WebServer) -> None:
    """A currency is in use for seven days after a request. Bitcoin needs no price."""
    shop.created(currency="JPY", amount_fiat="5000")
    shop.created(currency="SAT", amount_fiat="5000")
    shop.wait(seconds=601)
    store_rates("kraken", {"EUR": Decimal(61_000)}, shop.now)
    beat(shop.now, TIP, [])
    assert health_problems(shop).startswith("there is no fresh price for JPY")
    shop.wait(days=7)
    store_rates("kraken", {"EUR": Decimal(61_000)}, shop.now)
    beat(shop.now, TIP, [])
    assert shop.get("/health").status == 200


def test_a_waiting_email_is_a_problem_and_a_waiting_webhook_is_not(shop: WebServer) -> None:
    """A dead endpoint is its seller's fault. Both are counted."""
    made = shop.created()
    add_event(made, "evt_1", WEBHOOK)
    shop.wait(seconds=901)
    store_rates("kraken", {"EUR": Decimal(61_000)}, shop.now)
    beat(shop.now, TIP, [])
    reply = shop.get("/health")
    assert reply.status == 200
    assert reply.json["outbox"] == {"pending": 1, "oldest_age": 901}
    add_event(made, "evt_2", EMAIL)
    assert "SMTP_URL" in health_problems(shop)
