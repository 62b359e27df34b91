"""Events, rates and health tell what is so."""

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
    """A shop on each kind of database."""
    with open_shop(tmp_path, database_url) as opened:
        yield opened


def add_event(document: dict[str, Any], reference: str, *channels: str) -> Event:
    """An event with a pending message for each channel, as the daemon stores it."""
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
def test_a_seller_reads_the_status_of_his_endpoint_and_no_more(
    shop: WebServer, channel: str, stored: str | None, shown: str | None
) -> None:
    """A key may choose the address: what the daemon finds there would map a private network."""
    made = shop.created()
    Message.update(last_error=stored).where(Message.event == add_event(made, "evt_1", channel)).execute()
    [event] = shop.get(f"/api/v1/payments/{made['payment_request_id']}/events").json["data"]
    assert [delivery["last_error"] for delivery in event["deliveries"]] == [shown]


def test_events_come_with_their_deliveries(shop: WebServer) -> None:
    """In their order, each with its channels, what went wrong, and when it is tried again."""
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
            "deliveries": [{"channel": "webhook", **delivery}, {"channel": "email", **delivery}],
        },
        {
            "event_id": "evt_2",
            "type": "payment.received",
            "created_at": "2026-11-23T12:00:00Z",
            "deliveries": [],
        },
    ]


def test_a_webhook_is_sent_again_on_request(shop: WebServer) -> None:
    """202 and one wish for the daemon, however often; the operator's email is not a seller's to send."""
    made = shop.created()
    event = add_event(made, "evt_1", WEBHOOK, EMAIL)
    path = f"/api/v1/payments/{made['payment_request_id']}/events/evt_1/redeliver"
    assert [shop.post(path).status for _ in range(2)] == [202, 202]
    hint = DaemonCommand.get()
    assert hint.message is not None
    assert (hint.kind, hint.message.channel, hint.message.event_id) == (REDELIVER, WEBHOOK, event.id)


def test_there_may_be_nothing_to_send_again(shop: WebServer) -> None:
    """409 for an event without a webhook; 404 for one that is another request's, or nobody's."""
    made, other = shop.created(), shop.created()
    add_event(made, "evt_1", EMAIL)
    add_event(other, "evt_2", WEBHOOK)
    events = f"/api/v1/payments/{made['payment_request_id']}/events"
    assert shop.post(f"{events}/evt_1/redeliver").status == 409
    assert shop.post(f"{events}/evt_2/redeliver").status == 404
    assert shop.post(f"{events}/evt_%00/redeliver").status == 404
    assert DaemonCommand.select().count() == 0


def test_what_is_pruned_while_it_is_asked_for_is_not_sent_again(
    shop: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """409, as a moment later; the daemon prunes whenever it likes."""
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


def test_rates_are_what_a_request_would_be_made_at(tmp_path: Path, database_url: str) -> None:
    """Each currency that has a price now, less the spread, with its sources and age."""
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


def test_all_is_well(shop: WebServer) -> None:
    """200 with the shape of docs/spec.md 4, to anyone."""
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


def problems(shop: WebServer) -> str:
    """What /health has to say, which is 503 with something."""
    reply = shop.get("/health", {"Authorization": None})
    assert reply.status == 503
    assert reply.json["status"] == "failing"
    assert reply.json["problems"]
    return "\n".join(reply.json["problems"])


def test_a_daemon_that_is_silent_is_a_problem(shop: WebServer) -> None:
    """No heartbeat for half a minute, or none ever."""
    shop.wait(seconds=31)
    assert "silent for 31 s" in problems(shop)
    DaemonReport.delete().execute()
    assert "never run" in problems(shop)


def test_what_the_daemon_says_is_passed_on(shop: WebServer) -> None:
    """Its own problems are in the list."""
    beat(NOW, TIP, ["bitcoind does not answer"])
    assert problems(shop) == "bitcoind does not answer"


def test_blocks_behind_the_node_are_a_problem(shop: WebServer) -> None:
    """Statuses are old meanwhile. The block that is being read just now is not."""
    beat(NOW, TIP + 2, [])
    assert shop.get("/health").status == 200
    beat(NOW, TIP + 10, [])
    assert "10 blocks behind" in problems(shop)


def test_no_address_and_no_price_are_problems(shop: WebServer) -> None:
    """Nobody can be given a request then."""
    Address.update(claimed_at=NOW).execute()
    Rate.delete().execute()
    assert "no free address" in problems(shop)
    assert "no currency" in problems(shop)


def test_a_currency_in_use_without_a_fresh_price_is_a_problem(shop: WebServer) -> None:
    """For seven days after a request in it. Bitcoin needs no price."""
    shop.created(currency="JPY", amount_fiat="5000")
    shop.created(currency="SAT", amount_fiat="5000")
    shop.wait(seconds=601)
    store_rates("kraken", {"EUR": Decimal(61_000)}, shop.now)
    beat(shop.now, TIP, [])
    assert problems(shop).startswith("there is no fresh price for JPY")
    shop.wait(days=7)
    store_rates("kraken", {"EUR": Decimal(61_000)}, shop.now)
    beat(shop.now, TIP, [])
    assert shop.get("/health").status == 200


def test_an_email_that_waits_is_a_problem_and_a_webhook_is_not(shop: WebServer) -> None:
    """A dead endpoint is its seller's; both are counted."""
    made = shop.created()
    add_event(made, "evt_1", WEBHOOK)
    shop.wait(seconds=901)
    store_rates("kraken", {"EUR": Decimal(61_000)}, shop.now)
    beat(shop.now, TIP, [])
    reply = shop.get("/health")
    assert reply.status == 200
    assert reply.json["outbox"] == {"pending": 1, "oldest_age": 901}
    add_event(made, "evt_2", EMAIL)
    assert "SMTP_URL" in problems(shop)
