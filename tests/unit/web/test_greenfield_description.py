"""The API's description agrees with each response of BTCPay's Greenfield API."""

import json
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from models.delivery import Delivery
from models.outbox import Message, add_invoice_message
from models.rate import store_rates
from models.webhook import BTCPAY, add_webhook
from payments.money import currency_codes
from tests.conftest import NewDatabase
from tests.support.checkout_scenes import SCENES, create_in_scene
from tests.support.greenfield import STORE, Plugin, row_of
from tests.support.web_server import KEY, NOW, WebServer, give_key, open_shop
from tests.unit.web.test_openapi import Description
from web.description.greenfield.operations import GREENFIELD_OPERATIONS
from web.description.greenfield.replies import GROUP
from web.description.openapi import description
from web.greenfield.routes import UNDESCRIBED

pytestmark = pytest.mark.one_database


@pytest.fixture
def shop(new_database: NewDatabase, tmp_path: Path) -> Iterator[WebServer]:
    with open_shop(tmp_path, new_database(tmp_path), addresses=1500) as opened:
        yield opened


@pytest.fixture
def described() -> Description:
    return Description(json.loads(json.dumps(description("http://127.0.0.1:8080"))))


def delivered(plugin: Plugin) -> Delivery:
    """Store a webhook with a delivery, and return the delivery."""
    invoice = row_of(plugin.create())
    webhook, _ = add_webhook(STORE, BTCPAY, "https://shop.example/", NOW)
    event = {"type": "InvoiceSettled", "timestamp": 5, "storeId": STORE, "invoiceId": invoice.reference}
    add_invoice_message(invoice.id, webhook, {**event, "metadata": {}}, NOW)
    message = Message.get(Message.webhook == webhook.id)
    values = {"reference": message.reference, "at": NOW, "http_code": 500, "error": "HTTP 500"}
    made: Delivery = Delivery.create(webhook=webhook, message=message, is_redelivery=False, **values)
    return made


def test_an_invoice_in_each_scene_is_as_described(shop: WebServer, described: Description) -> None:
    plugin = Plugin(shop)
    for scene in SCENES:
        reference = create_in_scene(shop, scene)["payment_request_id"]
        for path, template in (
            (f"/invoices/{reference}?includePaymentMethods=true", "/invoices/{invoice}"),
            (f"/invoices/{reference}/payment-methods", "/invoices/{invoice}/payment-methods"),
            ("/invoices?includePaymentMethods=true", "/invoices"),
        ):
            described.check(plugin.of_store("GET", path), "GET", f"/api/v1/stores/{{store}}{template}")


def test_each_other_response_is_as_described(shop: WebServer, described: Description) -> None:
    plugin, nobody = Plugin(shop), Plugin(shop, "nt_nobody")
    give_key(STORE, "nt_poor", permissions=[])
    poor = Plugin(shop, "nt_poor")
    delivery = delivered(plugin)
    hook, sent = f"/webhooks/{delivery.webhook.reference}", delivery.reference
    invoice = f"/invoices/{plugin.create()['id']}"
    body = {"amount": "5", "currency": "EUR"}
    calls: list[tuple[int, Plugin, str, str, str, Any]] = [
        (200, plugin, "POST", "/invoices", "/invoices", body),
        (413, plugin, "POST", "/invoices", "/invoices", b" " * 70_000),
        (422, plugin, "POST", "/invoices", "/invoices", {}),
        (401, nobody, "POST", "/invoices", "/invoices", body),
        (403, poor, "POST", "/invoices", "/invoices", body),
        (422, plugin, "GET", "/invoices?status=x", "/invoices", None),
        (200, plugin, "GET", "", "", None),
        (200, plugin, "GET", "/payment-methods?includeConfig=true", "/payment-methods", None),
        (200, plugin, "GET", "/payment-methods/BTC", "/payment-methods/{payment_method}", None),
        (200, plugin, "GET", "/payment-methods/OnChain", "/payment-methods/{payment_method}", None),
        (404, plugin, "GET", "/payment-methods/LTC", "/payment-methods/{payment_method}", None),
        (404, plugin, "GET", "/invoices/x", "/invoices/{invoice}", None),
        (200, plugin, "PUT", invoice, "/invoices/{invoice}", {"metadata": {}}),
        (200, plugin, "POST", f"{invoice}/status", "/invoices/{invoice}/status", {"status": "Invalid"}),
        (422, plugin, "POST", f"{invoice}/status", "/invoices/{invoice}/status", {"status": "Invalid"}),
        (200, plugin, "DELETE", invoice, "/invoices/{invoice}", None),
        (200, plugin, "POST", f"{invoice}/unarchive", "/invoices/{invoice}/unarchive", None),
        (200, plugin, "POST", "/webhooks", "/webhooks", {"url": "https://a.example/"}),
        (422, plugin, "POST", "/webhooks", "/webhooks", {}),
        (200, plugin, "GET", "/webhooks", "/webhooks", None),
        (200, plugin, "GET", hook, "/webhooks/{webhook}", None),
        (200, plugin, "PUT", hook, "/webhooks/{webhook}", {"url": "https://b.example/"}),
        (200, plugin, "GET", f"{hook}/deliveries", "/webhooks/{webhook}/deliveries", None),
        (200, plugin, "GET", f"{hook}/deliveries/{sent}", "/webhooks/{webhook}/deliveries/{delivery}", None),
        (404, plugin, "GET", f"{hook}/deliveries/x", "/webhooks/{webhook}/deliveries/{delivery}", None),
        (
            200, plugin, "GET", f"{hook}/deliveries/{sent}/request",
            "/webhooks/{webhook}/deliveries/{delivery}/request", None,
        ),
        (
            200, plugin, "POST", f"{hook}/deliveries/{sent}/redeliver",
            "/webhooks/{webhook}/deliveries/{delivery}/redeliver", None,
        ),
        (200, plugin, "DELETE", hook, "/webhooks/{webhook}", None),
        (404, plugin, "GET", hook, "/webhooks/{webhook}", None),
    ]  # fmt: skip
    for status, caller, method, path, template, sent_body in calls:
        reply = caller.of_store(method, path, sent_body)
        assert reply.status == status, (method, path, reply.body)
        described.check(reply, method, f"/api/v1/stores/{{store}}{template}")
    for method, path in (
        ("GET", "/health"),
        ("GET", "/server/info"),
        ("GET", "/stores"),
        ("GET", "/api-keys/current"),
        ("DELETE", "/api-keys/current"),
    ):
        described.check(poor.call(method, path), method, f"/api/v1{path}")
    shop.wait(hours=1)
    described.check(plugin.of_store("POST", "/invoices", body), "POST", "/api/v1/stores/{store}/invoices")


def test_the_description_omits_calls_that_are_always_refused() -> None:
    """Otherwise plug-ins would offer a refund that fails."""
    paths = description("http://127.0.0.1:8080")["paths"]
    assert not any("refund" in path or "pull-payments" in path for path in paths)
    assert len(UNDESCRIBED) == 16


@pytest.mark.broad
def test_schemathesis_finds_no_difference(shop: WebServer, tmp_path: Path) -> None:
    """schemathesis makes hundreds of valid and invalid calls from the description, and checks the responses.

    Nodetill may refuse a valid body with 422 for a reason that no schema can express, such as a small amount.
    Nodetill still returns an archived invoice. Some calls remove the webhook that other calls name.
    """
    store_rates("kraken", dict.fromkeys(currency_codes(), Decimal(50_000)), NOW)
    store_rates("bitpay", {}, NOW)
    plugin = Plugin(shop)
    delivery = delivered(plugin)
    config = tmp_path / "schemathesis.toml"
    config.write_text(
        "[parameters]\n"
        f'"path.store" = "{STORE}"\n'
        f'"path.invoice" = "{plugin.create()["id"]}"\n'
        f'"path.webhook" = "{delivery.webhook.reference}"\n'
        f'"path.delivery" = "{delivery.reference}"\n'
        '"path.payment_method" = "BTC-CHAIN"\n'
        "[checks]\n"
        'positive_data_acceptance.expected-statuses = ["2xx", "404", "422"]\n'
    )
    address = f"http://127.0.0.1:{shop.port}"
    command = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(config), "run"]
    command += ["--include-tag", GROUP, "--exclude-operation-id", "revokeCurrentKey"]
    command += ["--exclude-checks", "use_after_free,ensure_resource_availability"]
    options = ["--checks", "all", "--max-examples", "12", "--seed", "1", "--no-color", "--max-failures", "5"]
    key = ["--header", f"Authorization: token {KEY}"]
    done = subprocess.run(
        [*command, f"{address}/openapi.json", "--url", address, *key, *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert f"Tested: {len(GREENFIELD_OPERATIONS) - 1}\n" in done.stdout
