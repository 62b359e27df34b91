"""The example shops work. An order is paid once, although webhooks come twice, forged or late."""

import hashlib
import hmac
import http.client
import os
import re
import secrets
import shutil
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from daemon.delivery.webhook import WebhookSender
from daemon.net.errors import TemporaryFailure
from models.output import outputs_at
from models.payment import PaymentRequest
from models.webhook import new_webhook_secret
from payments.document import payment_document
from payments.notifications import trial_body, webhook_body
from payments.status import EventType
from regtest.child import end_with_parent, free_ports
from regtest.fetch import fetched_command
from tests.conftest import NewDatabase
from tests.support.checkout_scenes import DUE_SATS, change
from tests.support.nodejs import node_command
from tests.support.waiting import wait_until
from tests.support.web_server import KEY, TIP, Reply, WebServer, open_shop, pay, stored

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples"
SECRET, OTHER_SECRET = new_webhook_secret(), new_webhook_secret()


def python(_port: int) -> list[str]:
    """Return the command that runs the shop in this Python."""
    return [sys.executable, str(EXAMPLES / "shop.py")]


def javascript(_port: int) -> list[str]:
    """Return the command that runs the shop in the Node.js of playwright."""
    return [*node_command(), str(EXAMPLES / "shop.mjs")]


def php(port: int) -> list[str]:
    """Return the command that runs the shop in the PHP of the path or of Debian."""
    found = shutil.which("php")
    command = [found] if found else fetched_command("php-cli", ROOT / ".php", "php[0-9]*")
    # The option -n ignores the machine's php.ini.
    return [*command, "-n", "-S", f"127.0.0.1:{port}", str(EXAMPLES / "shop.php")]


@dataclass
class Example:
    """A shop that runs, and the web server of its Nodetill."""

    merchant: WebServer
    port: int
    output: Path

    @property
    def webhook_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/webhook"

    def call(self, method: str, path: str, body: bytes = b"", **headers: str) -> Reply:
        """Send a request to the shop."""
        return call(self.port, method, path, body, **headers)

    def order(self, order: str) -> Reply:
        """Send the order form."""
        body = urlencode({"order": order}).encode()
        return self.call("POST", "/orders", body, **{"Content-Type": "application/x-www-form-urlencoded"})

    def page_text(self, order: str) -> str:
        reply = self.call("GET", f"/orders/{order}")
        assert reply.status == 200
        return reply.body.decode()

    def logged_events(self, order: str) -> list[str]:
        """Return the types of an order's events in the shop's output."""
        return re.findall(rf"order {order}: ([a-z.]+)", self.output.read_text())


def call(port: int, method: str, path: str, body: bytes = b"", **headers: str) -> Reply:
    """Send a request to the shop on this port."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


@pytest.fixture(scope="module", params=[python, javascript, php], ids=lambda find: find.__name__)
def example(
    request: pytest.FixtureRequest, new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Example]:
    """Yield each example shop in turn."""
    directory = tmp_path_factory.mktemp("shop")
    (port,) = free_ports(1)
    with open_shop(directory, new_database(directory)) as merchant:
        environ = {
            "NODETILL_URL": f"http://127.0.0.1:{merchant.port}",
            "NODETILL_KEY": KEY,
            "WEBHOOK_SECRET": SECRET,
            "PORT": str(port),
            "PATH": os.environ["PATH"],
        }
        with running(request.param(port), directory, environ) as output:
            shop = Example(merchant, port, output)
            wait_until(lambda: is_open(shop), what="the shop to open")
            yield shop


@contextmanager
def running(command: Sequence[str], directory: Path, environ: dict[str, str]) -> Iterator[Path]:
    """Run the program, and yield the file with its output."""
    path = directory / "output"
    with path.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=environ,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=end_with_parent(),
        )
        try:
            yield path
        finally:
            process.kill()
            process.wait()


def is_open(shop: Example) -> bool:
    try:
        return shop.call("GET", "/").status == 200
    except ConnectionError:
        return False


def new_order(shop: Example) -> tuple[str, PaymentRequest]:
    """Order on the shop's page. Return the order's number and its payment request."""
    page = shop.call("GET", "/").body.decode()
    assert "135.99 EUR" in page
    number = re.search(r'name="order" value="([0-9a-f]{16})"', page)
    assert number
    reply = shop.order(number[1])
    assert reply.status == 303, reply.body
    reference = reply.headers["location"].rpartition("/pay/")[2]
    return number[1], stored({"payment_request_id": reference})


def event(payment: PaymentRequest, kind: EventType, now: datetime, **columns: Any) -> bytes:
    """Change the payment, and return the body of the daemon's webhook for it."""
    change({"payment_request_id": payment.reference}, **columns)
    row = stored({"payment_request_id": payment.reference})
    parts = outputs_at(row.address_id)
    document = payment_document(
        row, row.address.address, parts, tip_height=TIP, network="main", public_url="https://pay.example.com"
    )
    return webhook_body(kind, now, document)


def test_an_order_follows_the_events_of_its_payment(example: Example) -> None:
    """The payment request has the order's number. The shop's page changes with each event."""
    number, payment = new_order(example)
    assert payment.metadata == {"order": number}
    assert payment.label == "Alpaca Direct"
    assert payment.redirect_url == f"http://127.0.0.1:{example.port}/orders/{number}"
    assert example.page_text(number) == "We are waiting for your payment."
    sender, now = WebhookSender(), datetime.now(UTC)
    for kind, status, words in (
        (EventType.RECEIVED, "received", "Your payment is on its way."),
        (EventType.CONFIRMED, "confirmed", "Paid. We are packing your socks!"),
        (EventType.REVERTED, "new", "We are waiting for your payment."),
    ):
        body = event(payment, kind, now, status=status)
        sender.send(example.webhook_url, [SECRET], f"evt_{number}{status}", body, now)
        assert example.page_text(number) == words
    assert example.logged_events(number) == ["payment.received", "payment.confirmed", "payment.reverted"]


WAIT = "We are looking at it, so please do not pay again."


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({}, "The price has expired. Please order again."),
        ({"received_sats": 1000}, f"A part of your money has arrived, but the price has expired. {WAIT}"),
        ({"received_sats": DUE_SATS, "is_late": True}, f"Your money has arrived late. {WAIT}"),
    ],
    ids=["unpaid", "partly paid", "late"],
)
def test_only_an_unpaid_expired_order_invites_to_order_again(
    example: Example, columns: dict[str, Any], words: str
) -> None:
    """A customer whose money has arrived must not pay again."""
    number, payment = new_order(example)
    now = datetime.now(UTC)
    kind = EventType.LATE if columns.get("is_late") else EventType.EXPIRED
    body = event(payment, kind, now, status="expired", **columns)
    WebhookSender().send(example.webhook_url, [SECRET], f"evt_{number}", body, now)
    assert example.page_text(number) == words


def test_an_order_that_expired_unpaid_gets_410(example: Example) -> None:
    """A repeated form then gets the text of expiry. After a payment it leads to the checkout page again."""
    number, payment = new_order(example)
    change({"payment_request_id": payment.reference}, status="expired")
    again = example.order(number)
    assert (again.status, again.body) == (410, b"The price has expired. Please order again.")
    pay({"payment_request_id": payment.reference}, number * 4)
    again = example.order(number)
    assert again.status == 303
    assert again.headers["location"].endswith(payment.reference)


def test_a_repeated_order_has_one_payment_request(example: Example) -> None:
    """A customer who clicks twice does not pay twice."""
    number, payment = new_order(example)
    again = example.order(number)
    assert again.status == 303
    assert again.headers["location"].endswith(payment.reference)


def test_a_webhook_that_comes_twice_counts_once(example: Example) -> None:
    """The shop accepts both webhooks. A repeat of an old event does not replace a newer event."""
    number, payment = new_order(example)
    sender, now = WebhookSender(), datetime.now(UTC)
    received = event(payment, EventType.RECEIVED, now, status="received")
    confirmed = event(payment, EventType.CONFIRMED, now, status="confirmed")
    for reference, body in (("1", received), ("2", confirmed), ("1", received), ("2", confirmed)):
        sender.send(example.webhook_url, [SECRET], f"evt_{number}{reference}", body, now)
    assert example.page_text(number) == "Paid. We are packing your socks!"
    assert example.logged_events(number) == ["payment.received", "payment.confirmed"]


def test_a_test_webhook_is_accepted(example: Example) -> None:
    """`manage.py doctor --test-webhook` sends such a webhook, which belongs to no order."""
    now = datetime.now(UTC)
    WebhookSender().send(
        example.webhook_url, [SECRET], secrets.token_hex(16), trial_body("company1", now), now
    )


def test_an_old_event_that_comes_late_does_not_replace_a_newer_one(example: Example) -> None:
    """The event was given up, and the operator sends it again. The shop has never received its id."""
    number, payment = new_order(example)
    sender, now = WebhookSender(), datetime.now(UTC)
    received = event(payment, EventType.RECEIVED, now - timedelta(hours=1), status="received")
    confirmed = event(payment, EventType.CONFIRMED, now, status="confirmed")
    for reference, body in (("2", confirmed), ("1", received)):
        sender.send(example.webhook_url, [SECRET], f"evt_{number}{reference}", body, now)
    assert example.page_text(number) == "Paid. We are packing your socks!"


@pytest.mark.parametrize("find", [python, javascript, php])
def test_without_a_secret_the_shop_refuses_all_webhooks(
    find: Callable[[int], list[str]], tmp_path: Path
) -> None:
    """A shop without its secret exits, or answers 500. Anybody could sign with an empty secret."""
    (port,) = free_ports(1)
    environ = {"NODETILL_URL": "http://127.0.0.1:1", "NODETILL_KEY": KEY, "WEBHOOK_SECRET": ""}
    environ |= {"PORT": str(port), "PATH": os.environ["PATH"]}
    forged = signed("evt_1", b"{}", datetime.now(UTC), secret="")
    with running(find(port), tmp_path, environ) as output:

        def has_refused() -> bool:
            try:
                answer = call(port, "POST", "/webhook", b"{}", **forged)
            except ConnectionError:
                return "WEBHOOK_SECRET" in output.read_text()
            assert answer.status == 500
            return True

        wait_until(has_refused, what="the shop to refuse")


def test_one_correct_signature_of_several_is_enough(example: Example) -> None:
    """A webhook has several signatures while a secret is changed."""
    number, payment = new_order(example)
    now = datetime.now(UTC)
    body = event(payment, EventType.RECEIVED, now, status="received")
    WebhookSender().send(example.webhook_url, [OTHER_SECRET, SECRET], f"evt_{number}", body, now)
    assert example.logged_events(number) == ["payment.received"]


def test_forged_and_old_webhooks_are_refused(example: Example) -> None:
    """The secret, the body, the id, the time or the signature is wrong."""
    number, payment = new_order(example)
    now = datetime.now(UTC)
    body = event(payment, EventType.CONFIRMED, now, status="confirmed")
    sender = WebhookSender()
    for secret, moment in (
        (OTHER_SECRET, now),
        (SECRET, now - timedelta(hours=1)),
        (SECRET, now + timedelta(hours=1)),
    ):
        with pytest.raises(TemporaryFailure, match="HTTP 400"):
            sender.send(example.webhook_url, [secret], f"evt_{number}", body, moment)
    reference = f"evt_{number}"
    good = signed(reference, body, now)
    for headers, sent in (
        (good, body.replace(b"135.99", b"135.98")),
        ({**good, "webhook-id": "evt_other"}, body),
        ({**good, "webhook-timestamp": str(int(now.timestamp()) + 1)}, body),
        ({**good, "webhook-signature": good["webhook-signature"].replace("v1,", "v2,")}, body),
        ({**good, "webhook-signature": "v1,"}, body),
        ({**good, "webhook-signature": ""}, body),
        ({}, body),
        ({}, b""),
    ):
        assert example.call("POST", "/webhook", sent, **headers).status == 400
    assert example.logged_events(number) == []
    assert example.page_text(number) == "We are waiting for your payment."
    assert example.call("POST", "/webhook", body, **good).status == 204


def signed(reference: str, body: bytes, now: datetime, secret: str = SECRET) -> dict[str, str]:
    """Return a webhook's headers, computed as Standard Webhooks specifies them."""
    moment = str(int(now.timestamp()))
    key = b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{reference}.{moment}.".encode() + body, hashlib.sha256)
    return {
        "webhook-id": reference,
        "webhook-timestamp": moment,
        "webhook-signature": f"v1,{b64encode(digest).decode()}",
    }


def test_unknown_events_and_orders_do_no_harm(example: Example) -> None:
    """One event's request has no order, and some orders have an invalid number."""
    made = example.merchant.created(metadata={})
    now = datetime.now(UTC)
    body = event(stored(made), EventType.CONFIRMED, now, status="confirmed")
    WebhookSender().send(example.webhook_url, [SECRET], f"evt_{made['payment_request_id']}", body, now)
    for number in ("", "x", "../../etc/passwd", "0" * 17, "0" * 16 + "\n", "<b>"):
        assert example.order(number).status == 400
    assert example.call("GET", f"/orders/{'0' * 16}").status == 404
    assert example.call("GET", "/nothing").status == 404


def test_an_order_without_a_price_gets_503(example: Example) -> None:
    """The same order works after a price is there again."""
    number = "f" * 16
    example.merchant.wait(hours=2)
    try:
        reply = example.order(number)
        assert reply.status == 503
        assert b"try again" in reply.body
    finally:
        example.merchant.wait(hours=-2)
    assert example.order(number).status == 303
    assert [row.metadata.get("order") for row in PaymentRequest.select()].count(number) == 1
