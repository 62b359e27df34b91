"""The operator adds, tests, disables and removes webhook endpoints on a seller's page."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.command import DaemonCommand
from models.delivery import add_delivery
from models.outbox import WEBHOOK, Message, add_invoice_message
from models.payment import PaymentRequest
from models.webhook import BTCPAY, MAX_WEBHOOKS, OPERATOR, STANDARD, Webhook, add_webhook, endpoints_of
from tests.support.operator_client import PASSWORD, OperatorClient, OperatorResponse
from tests.support.rows import new_webhook
from tests.support.web_server import NOW, WebServer, add_seller, open_shop

PATH = "/operator/sellers/company1"
URL = "https://shop.example/hook?a=<b>|c"


@pytest.fixture
def shop(tmp_path: Path, database_url: str) -> Iterator[WebServer]:
    """Serve a web server with an operator, on each kind of database."""
    with open_shop(tmp_path, database_url, {"OPERATOR_PASSWORD": PASSWORD}) as opened:
        yield opened


@pytest.fixture
def operator(shop: WebServer) -> OperatorClient:
    client = OperatorClient(shop)
    client.log_in()
    return client


def made(operator: OperatorClient, **fields: str) -> OperatorResponse:
    """Send the form of a new endpoint."""
    found = re.search(r'name="webhook_id" value="([^"]+)"', operator.get(PATH).text)
    assert found is not None
    return operator.post(f"{PATH}/webhooks", **{"webhook_id": found[1], "url": URL, "kind": BTCPAY, **fields})


def test_a_new_endpoint_shows_its_secret(shop: WebServer, operator: OperatorClient) -> None:
    """The page shows the secret of a btcpay endpoint again. The address is stored unchanged."""
    for kind in (BTCPAY, STANDARD):
        page = made(operator, kind=kind)
        assert page.status == 200
        row = Webhook.get(Webhook.kind == kind)
        secret = str(row.btcpay_secret or row.signing_secret)
        assert secret in page.words
        assert (row.url, row.set_by, row.event_types) == (URL, OPERATOR, None)
        assert (secret in operator.get(PATH).words) is (kind == BTCPAY)
    assert URL in operator.get(PATH).words


def test_an_endpoint_can_have_its_own_secret_and_events(shop: WebServer, operator: OperatorClient) -> None:
    page = made(operator, secret="geheim ☃", events="InvoiceSettled, InvoiceInvalid InvoiceSettled")
    assert page.status == 200
    [row] = endpoints_of("company1")
    assert row.btcpay_secret == "geheim ☃"
    assert row.event_types == ["InvoiceSettled", "InvoiceInvalid"]
    assert "InvoiceSettled, InvoiceInvalid" in operator.get(PATH).words


def test_a_standard_endpoint_can_have_only_the_events_of_links(
    shop: WebServer, operator: OperatorClient
) -> None:
    """The page accepts the same names of events as `webhook add`."""
    assert made(operator, kind=STANDARD, events="link.paid link.reverted").status == 200
    assert [row.event_types for row in endpoints_of("company1")] == [["link.paid", "link.reverted"]]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"url": "ftp://x"}, "does not start with"),
        ({"url": ""}, "does not start with"),
        ({"url": "http://abcdefgh.onion/"}, "PROXY"),
        ({"kind": "other"}, "must be one of"),
        ({"events": "InvoicePaid"}, "InvoiceSettled"),
        ({"events": "payment.confirmed"}, "InvoiceSettled"),
        ({"kind": STANDARD, "secret": "abc"}, "whsec_"),
        ({"secret": "x" * 513}, "512"),
        ({"secret": "a\0b"}, "NUL"),
        ({"webhook_id": "wh_1"}, "load the page again"),
    ],
)
def test_wrong_input_is_refused(
    shop: WebServer, operator: OperatorClient, fields: dict[str, Any], reason: str
) -> None:
    """Nothing is stored."""
    page = made(operator, **fields)
    assert page.status == 422
    assert reason in page.words
    assert endpoints_of("company1") == []


def test_a_form_that_is_sent_twice_makes_one_endpoint(shop: WebServer, operator: OperatorClient) -> None:
    fields = {"webhook_id": "wh_0123456789abcdefABCD"}
    assert made(operator, **fields).status == 200
    assert made(operator, **fields).status == 409
    assert len(endpoints_of("company1")) == 1


def test_a_seller_has_a_limited_number_of_endpoints(shop: WebServer, operator: OperatorClient) -> None:
    """The reason is that each event goes to all endpoints."""
    for _ in range(MAX_WEBHOOKS):
        add_webhook("company1", BTCPAY, URL, NOW)
    assert made(operator).status == 422


def test_an_endpoint_is_tested_disabled_and_removed(shop: WebServer, operator: OperatorClient) -> None:
    """A second click on a button is no fault."""
    webhook, _ = add_webhook("company1", BTCPAY, URL, NOW)
    place = f"{PATH}/webhooks/{webhook.reference}"
    for _ in range(2):
        sent = operator.post(f"{place}/test")
        assert sent.leads_to == f"{PATH}?webhook={webhook.reference}&now=tested"
    assert "The daemon sends a test" in operator.get(sent.leads_to).words
    [command] = DaemonCommand.select()
    assert (command.kind, command.webhook_id) == ("test_webhook", webhook.id)
    assert "The daemon will send a test." in operator.get(PATH).words
    for state in ("disabled", "disabled", "enabled"):
        sent = operator.post(f"{place}/switch", to_state=state)
        assert sent.leads_to == f"{PATH}?webhook={webhook.reference}&now={state}"
        assert Webhook.get().is_enabled is (state == "enabled")
        assert f"The endpoint {webhook.reference} is {state}." in operator.get(sent.leads_to).words
    assert "is disabled" not in operator.get(f"{PATH}?webhook={webhook.reference}&now=disabled").words
    assert "is removed" not in operator.get(f"{PATH}?webhook={webhook.reference}&now=removed").words
    for _ in range(2):
        sent = operator.post(f"{place}/remove")
        assert sent.leads_to == f"{PATH}?webhook={webhook.reference}&now=removed"
    assert "The endpoint is removed." in operator.get(sent.leads_to).words
    assert "There is no endpoint" in operator.get(PATH).words
    assert operator.post(f"{place}/test").status == 404
    assert Webhook.get().removed_at == NOW


def test_the_endpoint_of_another_seller_is_not_found(shop: WebServer, operator: OperatorClient) -> None:
    add_seller("company2", "nt_company2")
    webhook, _ = add_webhook("company2", BTCPAY, URL, NOW)
    place = f"{PATH}/webhooks/{webhook.reference}"
    for action in ("test", "switch"):
        assert operator.post(f"{place}/{action}").status == 404
    operator.post(f"{place}/remove")
    assert Webhook.get().removed_at is None
    assert operator.post("/operator/sellers/nobody/webhooks").status == 404


def test_the_page_has_the_last_responses(shop: WebServer, operator: OperatorClient) -> None:
    """The timeline of a payment has the events of its invoice, too, and can send them again."""
    webhook, _ = add_webhook("company1", BTCPAY, URL, NOW)
    payment = PaymentRequest.get(PaymentRequest.reference == shop.created()["payment_request_id"])
    add_invoice_message(payment.id, webhook, {"type": "InvoiceSettled"}, NOW)
    message = Message.get()
    add_delivery(message, NOW, 503, "HTTP 503")
    assert "HTTP 503 2026-11-23 12:00:00" in operator.get(PATH).words
    Message.update(failed_at=NOW, next_attempt_at=None, last_error="HTTP 503", attempts=3).execute()
    page = f"/operator/payments/{payment.reference}"
    assert "InvoiceSettled for the shop's plug-in" in operator.get(page).words
    assert f"Webhook {URL} HTTP 503 after 3 attempts" in operator.get("/operator/sellers").words
    operator.post(f"{page}/events/{message.reference}/{message.reference}")
    [command] = DaemonCommand.select()
    assert command.message_id == message.id


def test_an_event_can_be_sent_again_to_one_of_several_endpoints(
    shop: WebServer, operator: OperatorClient
) -> None:
    """The other endpoint has already accepted the event."""
    payment = PaymentRequest.get(PaymentRequest.reference == shop.created()["payment_request_id"])
    webhooks = [new_webhook(kind=BTCPAY, btcpay_secret="x") for _ in range(2)]
    for webhook in webhooks:
        add_invoice_message(payment.id, webhook, {"type": "InvoiceSettled"}, NOW)
    first, _ = Message.select().where(Message.channel == WEBHOOK).order_by(Message.id)
    Message.update(delivered_at=NOW, next_attempt_at=None).execute()
    page = f"/operator/payments/{payment.reference}"
    assert all(webhook.reference in operator.get(page).words for webhook in webhooks)
    operator.post(f"{page}/events/{first.reference}/{first.place}")
    assert [command.message_id for command in DaemonCommand.select()] == [first.id]
