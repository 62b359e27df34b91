"""Webhooks of BTCPay's Greenfield API: plug-ins add and compare them, and read their deliveries."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from models.command import REDELIVER, DaemonCommand, request_redelivery
from models.delivery import Delivery
from models.outbox import Message, add_invoice_message
from models.webhook import API_KEY, MAX_WEBHOOKS, STANDARD, Webhook, add_webhook, endpoints_of
from payments.greenfield.delivery import delivery_body, signature
from tests.support.greenfield import STORE, Plugin, code, good, paths, row_of
from tests.support.web_server import NOW, WebServer, add_seller, open_shop
from web.greenfield import deliveries
from web.http.database import Writers

URL = "https://shop.example/?wc-api=btcpaygf_default"
EVENTS = (
    "InvoiceReceivedPayment InvoiceProcessing InvoicePaymentSettled InvoiceSettled InvoiceExpired".split()
)


@pytest.fixture
def shop(database_url: str, tmp_path: Path) -> Iterator[WebServer]:
    with open_shop(tmp_path, database_url) as opened:
        add_seller("company2", "nt_company2")
        yield opened


@pytest.fixture
def plugin(shop: WebServer) -> Plugin:
    return Plugin(shop)


def register(plugin: Plugin, **members: Any) -> dict[str, Any]:
    """Register a webhook, and return the response."""
    made: dict[str, Any] = good(plugin.of_store("POST", "/webhooks", {"url": URL, **members}))
    return made


def delivered(plugin: Plugin, endpoint: dict[str, Any], *answers: int | None) -> Message:
    """Store an event for an endpoint, with one attempt for each of these HTTP statuses."""
    invoice = plugin.create()
    webhook = Webhook.get(Webhook.reference == endpoint["id"])
    event = {"type": "InvoiceSettled", "timestamp": 5, "storeId": STORE, "invoiceId": invoice["id"]}
    add_invoice_message(row_of(invoice).id, webhook, {**event, "metadata": {"orderId": "ä"}}, NOW)
    message: Message = Message.get(Message.webhook == webhook.id)
    for number, status in enumerate(answers):
        Delivery.create(
            reference=message.next_delivery_reference,
            webhook=webhook,
            message=message,
            at=NOW,
            http_code=status,
            error=None if status == 200 else "connect to 10.0.0.1: refused",
            is_redelivery=number > 0,
        )
        message.deliveries += 1
        message.save()
    return message


def test_a_url_alone_registers_a_webhook_for_everything(plugin: Plugin) -> None:
    """Shopware sends only the URL. Only this response has the secret."""
    made = register(plugin)
    assert made == {
        "id": made["id"],
        "url": URL,
        "enabled": True,
        "automaticRedelivery": True,
        "authorizedEvents": {"everything": True, "specificEvents": []},
        "secret": made["secret"],
    }
    assert len(made["secret"]) >= 20
    without = {name: value for name, value in made.items() if name != "secret"}
    assert plugin.get(f"/webhooks/{made['id']}") == without
    assert plugin.get("/webhooks") == [without]
    assert good(plugin.call("GET", f"/webhooks/{made['id']}")) == without
    assert Webhook.get(Webhook.reference == made["id"]).set_by == API_KEY


@pytest.mark.one_database
@pytest.mark.parametrize("secret", ["own", "whsec_x", "ÄÖ €", "a" * 500, "c2VjcmV0", " spaces "])
def test_the_secret_of_the_shop_is_used_unchanged(plugin: Plugin, secret: str) -> None:
    """PrestaShop compares the secret with its own. The signature's key is the secret's UTF-8 text."""
    made = register(plugin, secret=secret)
    assert made["secret"] == secret
    stored = Webhook.get(Webhook.reference == made["id"]).btcpay_secret
    expected = hmac.new(secret.encode(), b"{}", hashlib.sha256).hexdigest()
    assert signature(str(stored), b"{}") == f"sha256={expected}"


@pytest.mark.one_database
def test_without_a_secret_a_new_one_is_made(plugin: Plugin) -> None:
    secrets = {register(plugin, secret=secret)["secret"] for secret in (None, "", None)}
    assert len(secrets) == 3
    assert all(secrets)


@pytest.mark.one_database
@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example/index.php?route=extension/payment/btcpay|callback",
        "https://shop.example/?option=com_vm&amp;view=plugin&b=%2F%20+",
        "http://localhost:8080/wc-api/btcpaygf_default",
        "HTTPS://Shop.Example:443/a/../b?",
        "http://10.0.0.1/",
        "https://böse.example/ä",
    ],
)
def test_a_url_is_returned_byte_for_byte(plugin: Plugin, url: str) -> None:
    """Magento, Smartstore and nopCommerce look for their own URL in the list."""
    made = register(plugin, url=url)
    assert made["url"] == url
    assert [each["url"] for each in plugin.get("/webhooks")] == [url]
    assert plugin.get(f"/webhooks/{made['id']}")["url"] == url


@pytest.mark.one_database
def test_a_wrong_webhook_is_refused_with_its_wrong_members(plugin: Plugin) -> None:
    for url in (None, "", "x", "ftp://a/", "https://", "http://a:99999/", "https://a b/", 5, "https://a\0/"):
        assert paths(plugin.of_store("POST", "/webhooks", {"url": url})) == ["url"], url
    wrong = {
        "url": URL,
        "enabled": "yes",
        "automaticRedelivery": 1,
        "secret": 5,
        "authorizedEvents": {"everything": "x", "specificEvents": ["a", 5]},
    }
    assert sorted(paths(plugin.of_store("POST", "/webhooks", wrong))) == [
        "authorizedEvents.everything",
        "authorizedEvents.specificEvents[1]",
        "automaticRedelivery",
        "enabled",
        "secret",
    ]
    assert plugin.get("/webhooks") == []


def test_unknown_events_are_kept_and_never_sent(plugin: Plugin) -> None:
    """BTCPay's names for payouts are allowed in a filter."""
    names = [*EVENTS, "PayoutApproved", "SomethingNew"]
    made = register(plugin, authorizedEvents={"everything": False, "specificEvents": names})
    assert made["authorizedEvents"] == {"everything": False, "specificEvents": names}
    [webhook] = endpoints_of(STORE)
    assert webhook.wants("InvoiceSettled")
    assert not webhook.wants("InvoiceCreated")
    nothing = register(plugin, authorizedEvents={"everything": False})
    assert nothing["authorizedEvents"] == {"everything": False, "specificEvents": []}
    everything = register(plugin, authorizedEvents={"everything": None, "specificEvents": None})
    assert everything["authorizedEvents"]["everything"] is True


def test_a_store_has_several_webhooks_of_its_own(plugin: Plugin) -> None:
    """Magento has a webhook for each store view. The list omits standard endpoints and other stores."""
    add_webhook(STORE, STANDARD, "https://own.example/", NOW)
    made = [register(plugin, url=f"{URL}&view={number}")["id"] for number in range(10)]
    assert [each["id"] for each in plugin.get("/webhooks")] == made
    standard = endpoints_of(STORE, STANDARD)[-1].reference
    other = Plugin(plugin.shop, "nt_company2", "company2")
    assert other.get("/webhooks") == []
    for reference, caller in ((standard, plugin), (made[0], other)):
        for method in ("GET", "PUT", "DELETE"):
            reply = caller.of_store(
                method, f"/webhooks/{reference}", {"url": URL} if method == "PUT" else None
            )
            assert code(reply, 404) == "webhook-not-found"
            assert code(caller.call(method, f"/webhooks/{reference}", {"url": URL}), 403)
    assert len(plugin.get("/webhooks")) == 10


@pytest.mark.one_database
def test_a_store_has_a_limit_of_webhooks(plugin: Plugin) -> None:
    for number in range(MAX_WEBHOOKS):
        add_webhook(STORE, "btcpay", f"{URL}{number}", NOW)
    assert paths(plugin.of_store("POST", "/webhooks", {"url": URL})) == ["url"]


def test_two_calls_at_once_do_not_exceed_the_limit(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(MAX_WEBHOOKS - 1):
        add_webhook(STORE, "btcpay", f"{URL}{number}", NOW)
    both, transaction = Barrier(2, timeout=5), Writers.transaction

    @contextmanager
    def together(writers: Writers) -> Iterator[None]:
        both.wait()
        with transaction(writers):
            yield

    monkeypatch.setattr(Writers, "transaction", together)
    with ThreadPoolExecutor(2) as pool:
        replies = list(pool.map(lambda _: plugin.of_store("POST", "/webhooks", {"url": URL}), range(2)))
    assert sorted(reply.status for reply in replies) == [200, 422]
    assert len(endpoints_of(STORE)) == MAX_WEBHOOKS


def test_a_webhook_is_changed(plugin: Plugin) -> None:
    """A change without a secret keeps the old secret. No response has the secret again."""
    made = register(plugin, secret="first")
    path = f"/webhooks/{made['id']}"
    events = {"everything": False, "specificEvents": EVENTS}
    changed = {"url": "https://new.example/", "enabled": False, "automaticRedelivery": False}
    body = {**changed, "secret": None, "authorizedEvents": events}
    found = good(plugin.of_store("PUT", path, body))
    assert found == {"id": made["id"], **changed, "authorizedEvents": events}
    assert plugin.get(path) == found
    assert Webhook.get().btcpay_secret == "first"
    good(plugin.of_store("PUT", path, {"url": URL, "secret": "second"}))
    assert Webhook.get().btcpay_secret == "second"
    assert plugin.get(path) == {name: value for name, value in made.items() if name != "secret"}
    assert paths(plugin.of_store("PUT", path, {"enabled": True})) == ["url"]


@pytest.mark.one_database
def test_an_address_is_set_by_the_operator_until_a_key_changes_it(plugin: Plugin) -> None:
    """An address that a key has set must be public."""
    webhook, _ = add_webhook(STORE, "btcpay", "http://10.0.0.1/", NOW)
    good(plugin.of_store("PUT", f"/webhooks/{webhook.reference}", {"url": "http://10.0.0.1/"}))
    assert Webhook.get(Webhook.id == webhook.id).set_by == "operator"
    good(plugin.of_store("PUT", f"/webhooks/{webhook.reference}", {"url": "http://10.0.0.2/"}))
    assert Webhook.get(Webhook.id == webhook.id).set_by == API_KEY


def test_a_webhook_is_removed(plugin: Plugin) -> None:
    made = register(plugin)
    reply = plugin.of_store("DELETE", f"/webhooks/{made['id']}")
    assert (reply.status, reply.body) == (200, b"")
    assert plugin.get("/webhooks") == []
    for method in ("GET", "DELETE"):
        assert code(plugin.of_store(method, f"/webhooks/{made['id']}"), 404) == "webhook-not-found"


def test_deliveries_are_listed_with_their_responses(plugin: Plugin) -> None:
    """A seller can choose any address, so it gets no details about the connection."""
    made = register(plugin)
    message = delivered(plugin, made, None, 500, 200)
    listed = plugin.get(f"/webhooks/{made['id']}/deliveries")
    at = int(NOW.timestamp())
    facts = [(each["status"], each["httpCode"], each["errorMessage"]) for each in listed]
    assert facts == [
        ("HttpSuccess", 200, None),
        ("HttpError", 500, "HTTP 500"),
        ("Failed", None, "no HTTP answer"),
    ]
    assert {(each["timestamp"], each["deliveryTime"]) for each in listed} == {(at, at)}
    assert listed[-1]["id"] == message.reference
    assert len(plugin.get(f"/webhooks/{made['id']}/deliveries?count=2")) == 2
    assert plugin.get(f"/webhooks/{made['id']}/deliveries/{listed[1]['id']}") == listed[1]
    unknown = plugin.of_store("GET", f"/webhooks/{made['id']}/deliveries/dl_x")
    assert code(unknown, 404) == "webhookdelivery-not-found"


def test_the_request_of_a_delivery_is_the_body_that_was_sent(plugin: Plugin) -> None:
    made = register(plugin)
    message = delivered(plugin, made, 500, 500)
    second, first = plugin.get(f"/webhooks/{made['id']}/deliveries")
    for number, delivery in enumerate((first, second)):
        reply = plugin.of_store("GET", f"/webhooks/{made['id']}/deliveries/{delivery['id']}/request")
        assert reply.body == delivery_body(
            message.invoice_event,
            webhook_reference=made["id"],
            delivery=delivery["id"],
            original_delivery=str(message.reference),
        )
        sent = json.loads(reply.body)
        assert (sent["deliveryId"], sent["originalDeliveryId"]) == (delivery["id"], first["id"])
        assert sent["isRedelivery"] is (number == 1)
        assert sent["webhookId"] == made["id"]


def test_a_delivery_is_repeated_on_demand(plugin: Plugin) -> None:
    """The response is the id of the new delivery, as a JSON string."""
    made = register(plugin)
    message = delivered(plugin, made, 200)
    message.delivered_at, message.next_attempt_at = NOW, None
    message.save()
    path = f"/webhooks/{made['id']}/deliveries/{message.reference}/redeliver"
    new = good(plugin.of_store("POST", path))
    assert new == Message.get().next_delivery_reference
    assert new != message.reference
    assert good(plugin.of_store("POST", path)) == new
    assert [command.kind for command in DaemonCommand.select()] == [REDELIVER]
    assert code(plugin.of_store("POST", path.replace("dl_", "dx_")), 404) == "webhookdelivery-not-found"


def test_a_delivery_that_is_deleted_at_this_moment_is_404(
    plugin: Plugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon deletes the message after the web server has read it."""
    made = register(plugin)
    message = delivered(plugin, made, 200)
    path = f"/webhooks/{made['id']}/deliveries/{message.reference}/redeliver"

    def delete_first(*arguments: Any) -> bool:
        Delivery.delete().execute()
        Message.delete().execute()
        return request_redelivery(*arguments)

    monkeypatch.setattr(deliveries, "request_redelivery", delete_first)
    assert code(plugin.of_store("POST", path), 404) == "webhookdelivery-not-found"
