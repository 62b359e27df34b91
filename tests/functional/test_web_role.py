"""The web server's PostgreSQL role can serve every route, and can't write the daemon's data."""

import json
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from shutil import copytree
from types import MappingProxyType
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from config import load_settings
from manage import manage
from models.db import schema
from models.db.connection import DatabaseError, database, disconnect
from models.db.schema import open_database
from models.db.web_role import WEB_RIGHTS, refuse_missing_rights
from models.decision import Decision
from models.delivery import Delivery
from models.outbox import Message, add_invoice_message
from models.payment import PaymentRequest
from models.webhook import KINDS, Webhook
from regtest.child import free_ports
from regtest.client import Client
from regtest.installation import environment
from regtest.process import Process
from tests.support.operator_client import PASSWORD, OperatorClient
from tests.support.postgres import PostgresServer
from tests.support.rows import new_event, new_output, new_payment, new_webhook, webhook_message
from tests.support.waiting import wait_until
from tests.support.web_server import KEY, NOW, WebServer, give_key, serving, stock
from web.app import BTCPAY, OPERATOR, ROUTES, TRIGGERS
from web.greenfield.routes import GREENFIELD, UNDESCRIBED

WEB = "nodetill-web"
"""The system user and the PostgreSQL role of the web server on Debian (docs/install.md)."""
LAST_KEY = "nt_last"
"""A key that revokes itself."""
EMPTY: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Place:
    """A database that an ordinary role owns, and the URL for each role."""

    owner: str
    web: str

    def as_web(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.web, autocommit=True)

    def as_owner(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.owner, autocommit=True)


def manage_as(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(manage, arguments, env={"DATABASE_URL": url})


def new_place(server: PostgresServer) -> Place:
    """Create a database without tables. The web server's role exists, and has no rights yet."""
    admin = server.new_database()
    owner = f"owner_{secrets.token_hex(4)}"
    name = admin.rpartition("/")[2]
    with psycopg.connect(admin, autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (WEB,)).fetchone():
            connection.execute(f'CREATE ROLE "{WEB}" LOGIN')
        connection.execute(f"CREATE ROLE {owner} LOGIN")
        connection.execute(f"ALTER DATABASE {name} OWNER TO {owner}")
    return Place(
        admin.replace("nodetill:unused", owner),
        admin.replace("nodetill:unused", WEB),
    )


@pytest.fixture
def place(postgres: PostgresServer) -> Iterator[Place]:
    """Create a database with a seller, prices and addresses, and grant the web server's rights."""
    made = new_place(postgres)
    open_database(made.owner)
    stock(20)
    disconnect()
    assert manage_as(made.owner, "database", "grant-web", WEB).exit_code == 0
    yield made
    disconnect()


@contextmanager
def shop_of(place: Place, directory: Path) -> Iterator[WebServer]:
    """Run a web server that opens the database with its own role."""
    environ = {
        "DATABASE_URL": place.web,
        "SPELLBOOK_TRIGGERS": "on",
        "OPERATOR_PASSWORD": PASSWORD,
        "ADDRESS_POOL": "10",
        "PUBLIC_URL": "http://127.0.0.1:8080",
    }
    open_database(place.web)
    refuse_missing_rights()
    with serving(load_settings(environ, directory)) as shop:
        yield shop


def test_the_web_rights_name_each_table(place: Place) -> None:
    """Each new table needs a decision on the web server's rights."""
    with place.as_owner() as owner:
        tables = owner.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    assert {name for (name,) in tables} == {*WEB_RIGHTS}


class Routes:
    """Calls of a shop's routes, with a list of the called routes."""

    def __init__(self, shop: WebServer) -> None:
        self.shop = shop
        self.operator = OperatorClient(shop)
        self.called: set[tuple[str, str]] = set()

    def __call__(
        self,
        method: str,
        template: str,
        *,
        body: Any = None,
        key: str = "",
        query: str = "",
        **parts: str,
    ) -> Any:
        """Call a route as a program does, and return the document. The call has to succeed."""
        headers = {"Idempotency-Key": key} if key else {}
        reply = self.shop.call(method, f"{self._path(method, template, parts)}{query}", body, headers)
        assert reply.status in (200, 201, 202, 303), (template, reply.status, reply.body)
        return reply.json if "json" in reply.headers["content-type"] else reply.body

    def page(self, template: str, **parts: str) -> str:
        """Return the text of one page in the operator's browser."""
        page = self.operator.get(self._path("GET", template, parts))
        assert page.status == 200, (template, page.status, page.text)
        return page.text

    def form(self, template: str, shown_at: str, fields: Mapping[str, str] = EMPTY, **parts: str) -> None:
        """Send one form of the page `shown_at`, as a browser does."""
        path = self._path("POST", template, parts)
        token = re.search(r'name="token" value="([0-9a-f]+)"', self.operator.get(shown_at).text)
        hidden = {"token": token[1]} if token else {}
        page = self.operator.post(path, **hidden, **fields)
        assert page.status == 303, (template, page.status, page.text)

    def log_in(self) -> None:
        assert self.operator.log_in("a wrong password").status == 403
        self.shop.wait(seconds=2)
        assert self.operator.log_in().status == 303
        self.called |= {("GET", "/operator/login"), ("POST", "/operator/login")}

    def _path(self, method: str, template: str, parts: dict[str, str]) -> str:
        self.called.add((method, template))
        for name, value in parts.items():
            template = template.replace(f"<{name}>", value)
        return template


def late_payment(number: int) -> tuple[str, str]:
    """Store an expired request with late money, and a webhook about it that was given up.

    Return the references of the request and of its event.
    """
    row = new_payment(
        number,
        reference=f"PR-{number:022d}",
        seller="company1",
        status="expired",
        is_late=True,
        received_sats=222_416,
        expires_at=NOW - timedelta(hours=1),
    )
    new_output(row, txid=f"{number:064x}", amount_sats=222_416)
    event = new_event(row, type="payment.late", reference=f"evt_{number:032x}")
    webhook = Webhook.get_or_none() or new_webhook()
    webhook_message(event, webhook, next_attempt_at=None, failed_at=NOW)
    return row.reference, event.reference


def sent_invoice_event(reference: str) -> None:
    """Store an endpoint in BTCPay's form with an event of an invoice that was sent."""
    row = PaymentRequest.get(PaymentRequest.reference == reference)
    endpoint = new_webhook(kind="btcpay", reference="wh_sent", signing_secret=None, btcpay_secret="s")
    event = {"type": "InvoiceExpired", "timestamp": 5, "storeId": "company1", "invoiceId": reference}
    add_invoice_message(row.id, endpoint, event, NOW)
    Message.update(reference="dl_sent").where(Message.webhook == endpoint.id).execute()
    message = Message.get(Message.reference == "dl_sent")
    Delivery.create(reference="dl_sent", webhook=endpoint, message=message, at=NOW, is_redelivery=False)


def test_the_web_role_can_serve_every_route(place: Place, tmp_path: Path) -> None:
    open_database(place.owner)
    reference, event = late_payment(1001)
    others = [late_payment(number)[0] for number in (1002, 1003)]
    marked = late_payment(1004)[0]
    sent_invoice_event(marked)
    give_key("company1", LAST_KEY)
    disconnect()
    with shop_of(place, tmp_path) as shop:
        call = Routes(shop)
        call_api(call, reference, event)
        call_greenfield(call, marked)
        call_links(call)
        unpaid = call_triggers(call)
        call_pages(call, f"evt_{1003:032x}", others, unpaid)
        routes: list[Any] = [*ROUTES, *GREENFIELD, *BTCPAY, *OPERATOR, *TRIGGERS]
        every = {(method, path) for method, path, *_ in routes}
        refused = {(method, path) for method, path, *_ in UNDESCRIBED}
        assert every - call.called - refused == set()
    with place.as_owner() as owner:
        kinds = owner.execute(
            "SELECT kind, count(*) FROM daemon_command GROUP BY kind ORDER BY kind"
        ).fetchall()
        assert kinds == [
            ("accept", 3),
            ("cancel", 3),
            ("reassess", 1),
            ("redeliver", 3),
            ("test_webhook", 2),
            ("transaction", 2),
        ]
        settled = owner.execute(
            "SELECT count(*) FROM payment_request WHERE acknowledged_sats = received_sats"
        )
        assert settled.fetchone() == (1,)


def call_api(call: Routes, reference: str, event: str) -> None:
    body = {"seller_id": "company1", "amount_fiat": "135.99", "currency": "EUR"}
    made = call("POST", "/api/v1/payments", body=body, key="order 1")
    again = call("POST", "/api/v1/payments", body=body, key="order 1")
    assert made["payment_request_id"] == again["payment_request_id"]
    payment = "/api/v1/payments/<reference>"
    new = {"reference": made["payment_request_id"]}
    call("GET", payment, **new)
    call("GET", "/api/v1/payments")
    call("POST", f"{payment}/transactions", body={"txid": "ab" * 32}, **new)
    call("POST", f"{payment}/accept", reference=reference)
    call("POST", f"{payment}/cancel", **new)
    call("GET", f"{payment}/events", reference=reference)
    call(
        "POST",
        f"{payment}/events/<event_reference>/redeliver",
        reference=reference,
        event_reference=event,
    )
    for path in (
        "/api/v1/rates",
        "/health",
        "/metrics",
        "/openapi.json",
        "/docs",
        "/robots.txt",
        "/favicon.ico",
    ):
        call("GET", path)
    for path in ("/pay/<reference>/status", "/pay/<reference>/qr.svg"):
        call("GET", path, **new)
    for path in ("/i/<reference>", "/modal/btcpay.js"):
        call("GET", path, **new)
    call("GET", "/invoice", query=f"?id={made['payment_request_id']}")
    call("GET", "/i/<reference>/<payment_method>", payment_method="BTC", **new)
    call("GET", "/invoices/<reference>", **new)
    page = call("GET", "/pay/<reference>", **new).decode()
    linked = re.search(r"static/([\w.-]+)", page)
    assert linked is not None
    call("GET", "/static/<name>", name=linked[1])


def call_greenfield(call: Routes, late: str) -> None:
    """Call BTCPay's Greenfield API. It marks an invoice, and the late money of another is accepted."""
    store = "/api/v1/stores/<store>"
    own = {"store": "company1"}
    for path in ("/api/v1/health", "/api/v1/server/info", "/api/v1/api-keys/current", "/api/v1/stores"):
        call("GET", path)
    for path in ("", "/payment-methods", "/invoices", "/webhooks"):
        call("GET", f"{store}{path}", **own)
    call("GET", f"{store}/payment-methods/<payment_method>", payment_method="BTC", **own)
    made = call("POST", f"{store}/webhooks", body={"url": "https://a.example/", "secret": "s"}, **own)
    checkout = {"redirectURL": "https://a.example/thanks"}
    order = {"amount": "5", "currency": "EUR", "metadata": {"orderId": "a"}, "checkout": checkout}
    created = call("POST", f"{store}/invoices", body=order, **own)
    assert call("POST", f"{store}/invoices", body=order, **own) == created
    one = {"invoice": created["id"], **own}
    invoice = f"{store}/invoices/<invoice>"
    call("GET", invoice, **one)
    call("GET", f"{invoice}/payment-methods", **one)
    call("PUT", invoice, body={"metadata": {"orderId": "b"}}, **one)
    call("POST", f"{invoice}/status", body={"status": "Invalid"}, **one)
    call("POST", f"{invoice}/status", body={"status": "Settled"}, **{**one, "invoice": late})
    call("DELETE", invoice, **one)
    call("POST", f"{invoice}/unarchive", **one)
    hook = {"webhook": made["id"], **own}
    webhook, delivery = f"{store}/webhooks/<webhook>", f"{store}/webhooks/<webhook>/deliveries/<delivery>"
    call("GET", webhook, **hook)
    call("PUT", webhook, body={"url": "https://b.example/", "secret": "t"}, **hook)
    call("GET", f"{webhook}/deliveries", **hook)
    sent = {"webhook": "wh_sent", "delivery": "dl_sent", **own}
    call("GET", delivery, **sent)
    call("GET", f"{delivery}/request", **sent)
    call("POST", f"{delivery}/redeliver", **sent)
    call("DELETE", webhook, **hook)
    key = "/api/v1/api-keys/current"
    call.called.add(("DELETE", key))
    assert call.shop.call("DELETE", key, headers={"Authorization": f"token {LAST_KEY}"}).status == 200


def call_links(call: Routes) -> None:
    """Make, press and close a link by the API and on its public page."""
    body = {"title": "Invoice 17", "amount_fiat": "100.00", "currency": "EUR"}
    made = call("POST", "/api/v1/links", body=body)
    link = {"reference": made["link_id"]}
    call("GET", "/api/v1/links")
    call("GET", "/api/v1/links/<reference>", **link)
    call("GET", "/l/<reference>", **link)
    call("GET", "/l/<reference>/qr.svg", **link)
    for method in ("GET", "POST"):
        call.called.add((method, "/l/<reference>/pay"))
        assert call.shop.call(method, f"/l/{made['link_id']}/pay").status == 303
    assert call("GET", "/api/v1/payments")["data"][0]["link_id"] == made["link_id"]
    call("POST", "/api/v1/links/<reference>/close", **link)


def call_link_pages(call: Routes) -> None:
    """Make a link and close it on the operator's pages."""
    call.page("/operator/links")
    call.page("/operator/links/new")
    fields = {"title": "Invoice 18", "amount_fiat": "5", "currency": "EUR", "seller_id": "company1"}
    call.form("/operator/links/new", "/operator/links/new", fields)
    found = re.search(r"operator/links/(LK-\w+)", call.page("/operator/links"))
    assert found is not None
    link = "/operator/links/<reference>"
    call.page(link, reference=found[1])
    call.form(f"{link}/close", f"/operator/links/{found[1]}", reference=found[1])


def call_triggers(call: Routes) -> str:
    """Call the triggers without a key from this machine, which adds a new seller. Return a request's id."""
    call.shop.common_headers.clear()
    trigger = "/spellbook/triggers/PaymentProcessor"
    made = call(
        "POST",
        f"{trigger}NewPayment/post",
        body={"seller_id": "shop2", "amount_fiat": 10, "currency": "EUR", "note": ""},
    )
    named = {"payment_request_id": made["payment_request_id"]}
    call("GET", f"{trigger}PaymentStatus/get", body=named)
    call("POST", f"{trigger}TransactionReceived/post", body={**named, "txid": "cd" * 32})
    return str(made["payment_request_id"])


def call_pages(call: Routes, event: str, others: list[str], unpaid: str) -> None:
    call.log_in()
    for path in (
        "/",
        "/operator/money",
        "/operator/money.csv",
        "/operator/sellers",
        "/operator/payments.csv",
    ):
        call.page(path)
    call_keys(call)
    call_webhooks(call)
    call_requests_by_hand(call, unpaid)
    call_link_pages(call)
    payment = "/operator/payments/<reference>"
    first, second = others
    call.page(payment, reference=first)
    at_first, at_second = f"/operator/payments/{first}", f"/operator/payments/{second}"
    call.form(f"{payment}/accept", at_first, reference=first)
    call.form(f"{payment}/cancel", f"/operator/payments/{unpaid}", reference=unpaid)
    redeliver = f"{payment}/events/<event_reference>/<channel>"
    call.form(redeliver, at_second, reference=second, event_reference=event, channel="webhook")
    call.form(f"{payment}/settle", at_second, {"revision": "0"}, reference=second)
    call.form("/operator/settle", "/?needs=late", {"needs": "late", first: "0"})
    at = str(Decision.at.db_value(call.shop.now))
    call.form("/operator/undo", at_second, {"at": at, "payment": second})
    connect_shop(call)
    call.form("/operator/logout", "/")
    call.log_in()
    call.form("/operator/logout/everywhere", "/")


def call_requests_by_hand(call: Routes, sale: str) -> None:
    """Ask for money by the form and by the till."""
    for path in ("/operator/new", "/operator/till"):
        call.page(path)
        call.form(path, path, {"seller_id": "company1", "amount_fiat": "5", "currency": "EUR"})
    call.page("/operator/till/<reference>", reference=sale)


def connect_shop(call: Routes) -> None:
    """Approve the request of a shop's plug-in for a new seller."""
    path = "/api-keys/authorize"
    page = call.operator.get(f"{path}?permissions=btcpay.store.canviewinvoices&redirect=https://shop.example")
    done = call.operator.post(
        path, **{**page.fields, "seller": "+", "new_seller": "socks", "support": "a@a.example"}
    )
    assert (page.status, done.status) == (200, 200)
    call.called |= {("GET", path), ("POST", path)}


def call_keys(call: Routes) -> None:
    """Make a key and revoke it on a seller's page."""
    seller, template = "company1", "/operator/sellers/<seller_id>"
    key_id = re.search(r'name="key_id" value="(\w+)"', call.page(template, seller_id=seller))
    assert key_id is not None
    call.form(template, f"/operator/sellers/{seller}", {"name": "Alpaca Direct"}, seller_id=seller)
    call.called.add(("POST", f"{template}/keys"))
    place = f"/operator/sellers/{seller}"
    made = call.operator.post(f"{place}/keys", key_id=key_id[1], allow="shop", label="WooCommerce")
    assert made.status == 200, made.text
    call.form(f"{template}/keys/<key_id>/revoke", place, seller_id=seller, key_id=key_id[1])


def call_webhooks(call: Routes) -> None:
    """Add, test, disable and remove endpoints of both kinds on a seller's page."""
    seller, template = "company1", "/operator/sellers/<seller_id>"
    place, endpoint = f"/operator/sellers/{seller}", f"{template}/webhooks/<webhook_id>"
    for kind in KINDS:
        found = re.search(r'name="webhook_id" value="(\w+)"', call.page(template, seller_id=seller))
        assert found is not None
        call.called.add(("POST", f"{template}/webhooks"))
        fields = {"webhook_id": found[1], "url": "https://shop.example/", "kind": kind}
        made = call.operator.post(f"{place}/webhooks", **fields)
        assert made.status == 200, made.text
        for action in ("test", "switch", "remove"):
            call.form(f"{endpoint}/{action}", place, seller_id=seller, webhook_id=found[1])


FORGERIES = {
    "a status": "UPDATE payment_request SET status = 'confirmed'",
    "an amount received": "UPDATE payment_request SET received_sats = 222416",
    "an acceptance": "UPDATE payment_request SET late_accepted_at = 1",
    "a cancellation": "UPDATE payment_request SET cancelled_at = 1",
    "another expiry": "UPDATE payment_request SET expires_at = 1",
    "another amount due": "UPDATE payment_request SET amount_sats = 1",
    "another address for a request": "UPDATE payment_request SET address_id = 1",
    "a first cover": "UPDATE payment_request SET first_covered_at = 1",
    "a first confirmation": "UPDATE payment_request SET first_confirmed_at = 1",
    "a report of an invoice": "UPDATE payment_request SET invoice_reported = '{}'",
    "an assessment": "UPDATE payment_request SET reassess_at_height = 0",
    "another order": "UPDATE payment_request SET order_id = 'x'",
    "another idempotency key": "UPDATE payment_request SET idempotency_key = 'x'",
    "what a request counts for its link": "UPDATE payment_request SET link_units = 10000",
    "the link of a request": "UPDATE payment_request SET link_id = NULL",
    "a link's payment": "UPDATE link SET paid_at = 1",
    "a link's amount": "UPDATE link SET amount_fiat = '1'",
    "a paid link": "INSERT INTO link (reference, seller_id, title, description, note, currency, suggested, "
    "is_reusable, thanks, created_at, paid_at) VALUES ('LK-x', 'company1', 'x', '', '', 'EUR', '[]', FALSE, "
    "'', 1, 1)",
    "links": "DELETE FROM link",
    "an output": "INSERT INTO output (address_id, txid, vout, amount_sats, first_seen_at, state) "
    "VALUES (1, repeat('a', 64), 0, 222416, 1, 'mempool')",
    "an output's state": "UPDATE output SET state = 'mempool', block_hash = NULL, block_height = NULL",
    "an event": "INSERT INTO event (reference, payment_id, revision, type, created_at, payload) "
    "VALUES ('evt_x', 1, 1, 'payment.confirmed', 1, '{}')",
    "an event's payload": "UPDATE event SET payload = '{}'",
    "a message": "INSERT INTO message (event_id, payment_id, channel, recipient, queue, created_at, "
    "attempts) VALUES (1, 1, 'webhook', 'company1', 'company1', 1, 0)",
    "a message that waits": "UPDATE message SET next_attempt_at = NULL",
    "a message's recipient": "UPDATE message SET recipient = 'thief@example.com'",
    "an address": "INSERT INTO address (script, address, wallet, created_at) "
    "VALUES ('\\x00', 'bc1qthief', 'nodetill', 1)",
    "an address's text": "UPDATE address SET address = 'bc1qthief' WHERE id = 1",
    "an address's script": "UPDATE address SET script = '\\x00' WHERE id = 1",
    "a rate": "UPDATE rate SET price = '1'",
    "a new rate": "INSERT INTO rate (source, currency, price, fetched_at) VALUES ('x', 'EUR', '1', 1)",
    "a block": "INSERT INTO block (height, hash, chainwork, mined_at) VALUES (1, 'a', '1', 1)",
    "a report": "UPDATE daemon_report SET assessed_height = 1",
    "a seller's key": "UPDATE api_key SET key_hash = 'x'",
    "a key's seller": "UPDATE api_key SET seller_id = 'company1'",
    "a key's permissions": "UPDATE api_key SET permissions = NULL",
    "the end of a previous key": "UPDATE api_key SET expires_at = NULL",
    "a key's label": "UPDATE api_key SET label = 'x'",
    "keys": "DELETE FROM api_key",
    "a key that seems to be a command's": "INSERT INTO api_key (reference, seller_id, key_hash, label, "
    "created_at, created_by) VALUES ('key_x', 'company1', 'x', '', 1, 'operator')",
    "a webhook's address": "UPDATE webhook SET url = 'http://thief.example/'",
    "a webhook's address, removed": "UPDATE webhook SET url = NULL",
    "a webhook's secret": "UPDATE webhook SET signing_secret = 'x'",
    "a webhook's previous secret": "UPDATE webhook SET previous_secret = 'x'",
    "a webhook's seller": "UPDATE webhook SET seller_id = 'company2'",
    "a webhook's kind": "UPDATE webhook SET kind = 'btcpay'",
    "a webhook's secret, read": "SELECT signing_secret FROM webhook",
    "a previous webhook secret, read": "SELECT previous_secret FROM webhook",
    "webhooks": "DELETE FROM webhook",
    "a delivery": "UPDATE delivery SET error = NULL",
    "deliveries": "DELETE FROM delivery",
    "a row as a whole": "SELECT * FROM webhook",
    "a term": "UPDATE daemon_epoch SET number = number + 1",
    "a migration": "DELETE FROM schema_migration",
    "a watched outpoint": "DELETE FROM watched_outpoint",
    "a command that waits": "DELETE FROM daemon_command",
    "a decision's comment": "UPDATE decision SET comment = 'x'",
    "decisions": "DELETE FROM decision",
    "requests": "DELETE FROM payment_request",
    "outputs": "TRUNCATE output",
    "a table": "CREATE TABLE mine (id integer)",
    "a dropped table": "DROP TABLE rate",
    "a disabled policy": "ALTER TABLE address DISABLE ROW LEVEL SECURITY",
}


@pytest.fixture(scope="module")
def filled(postgres: PostgresServer) -> Place:
    """Create a database with a row in each of the daemon's tables."""
    made = new_place(postgres)
    open_database(made.owner)
    stock(20)
    late_payment(1001)
    disconnect()
    assert manage_as(made.owner, "database", "grant-web", WEB).exit_code == 0
    return made


@pytest.mark.parametrize("forgery", FORGERIES)
def test_the_web_role_cannot_write_the_daemons_data(filled: Place, forgery: str) -> None:
    """PostgreSQL itself refuses each statement of a web process that an attacker controls."""
    with filled.as_web() as web, pytest.raises(psycopg.errors.InsufficientPrivilege):
        web.execute(FORGERIES[forgery])


@pytest.mark.parametrize(
    "column",
    ["status", "due_sats", "received_sats", "overpaid_sats", "notified_sats", "revision", "is_late"],
)
def test_the_web_role_can_insert_only_a_new_request(filled: Place, column: str) -> None:
    """A request with any trace of a payment is refused."""
    values = new_request_values()
    forged = {"status": "confirmed", "is_late": True}.get(column, 222_416 * 2)
    columns = ", ".join(values)
    marks = ", ".join(["%s"] * len(values))
    insert = f"INSERT INTO payment_request ({columns}) VALUES ({marks})"
    with filled.as_web() as web:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            web.execute(insert, [*(values | {column: forged}).values()])
        with web.transaction(force_rollback=True):
            web.execute(insert, [*values.values()])


def new_request_values() -> dict[str, Any]:
    return {
        "reference": "PR-forged",
        "seller_id": "company1",
        "amount_fiat": "135.99",
        "currency": "EUR",
        "price": "61142.30",
        "price_at": 1,
        "price_source": "x",
        "amount_sats": 222_416,
        "tolerance_sats": 0,
        "address_id": 1,
        "confirmations_required": 6,
        "created_at": 1,
        "expires_at": 2,
        "monitored_until": 3,
        "note": "",
        "metadata": "{}",
        "status": "new",
        "due_sats": 222_416,
        "received_sats": 0,
        "overpaid_sats": 0,
        "notified_sats": 0,
        "revision": 0,
        "is_late": False,
        "order_id": "4711",
        "checkout": "{}",
        "reassess_at_height": 0,
    }


@pytest.mark.parametrize(
    "column",
    [
        "covered_height",
        "txid",
        "received_at",
        "confirmed_at",
        "closed_at",
        "marked",
        "invoice_reported",
        "counted_sats",
        "link_units",
    ],
)
def test_the_web_role_cannot_insert_the_daemons_columns(filled: Place, column: str) -> None:
    """These columns are empty at first, and only the daemon writes them."""
    with filled.as_web() as web, pytest.raises(psycopg.errors.InsufficientPrivilege):
        web.execute(f"INSERT INTO payment_request ({column}) VALUES (NULL)")


def test_the_web_role_can_change_what_a_shop_says_of_its_invoice(filled: Place) -> None:
    """A shop marks and archives its invoices, and replaces their metadata. The daemon then assesses them."""
    with filled.as_web() as web, web.transaction(force_rollback=True):
        changes = "marked = 'settled', marked_at = 5, archived_at = 5, metadata = '{}'"
        assert web.execute(f"UPDATE payment_request SET {changes} WHERE id = 1").rowcount == 1
        command = "INSERT INTO daemon_command (kind, payment_id, created_at) VALUES ('reassess', 1, 5)"
        assert web.execute(command).rowcount == 1


def test_the_web_role_cannot_release_a_claimed_address(filled: Place) -> None:
    """A released address could be assigned to a second customer."""
    with filled.as_web() as web:
        claimed = web.execute("UPDATE address SET claimed_at = 5 WHERE id = 3 RETURNING id").fetchone()
        assert claimed == (3,)
        assert web.execute("UPDATE address SET claimed_at = NULL WHERE id = 3").rowcount == 0
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            web.execute("UPDATE address SET claimed_at = NULL")
        assert web.execute("SELECT claimed_at FROM address WHERE id = 3").fetchone() == (5,)


def test_the_web_role_cannot_bring_a_revoked_key_back(filled: Place) -> None:
    """It can revoke a key, and note a use of a key that works."""
    with filled.as_web() as web, web.transaction(force_rollback=True):
        assert web.execute("UPDATE api_key SET last_used_at = 5").rowcount == 1
        assert web.execute("UPDATE api_key SET revoked_at = 5").rowcount == 1
        assert web.execute("UPDATE api_key SET revoked_at = NULL").rowcount == 0


def test_a_real_server_works_and_the_daemon_refuses_the_role(place: Place, tmp_path: Path) -> None:
    """run_web.py serves requests with the role's URL. run_daemon.py exits with one line."""
    port = free_ports(1)[0]
    environ = environment({"DATABASE_URL": place.web, "WEB_PORT": str(port)})
    with Process("run_web.py", environ, tmp_path):
        client = Client(f"http://127.0.0.1:{port}", KEY)
        wait_until(lambda: client.try_get("/health"), what="a web server")
        body = {"seller_id": "company1", "amount_fiat": "20000", "currency": "SAT"}
        assert client.post("/api/v1/payments", body).status == 201
        assert not any("permission denied" in line for line in client_log(tmp_path, "run_web"))
    daemon = Process("run_daemon.py", environ, tmp_path).start()
    assert daemon.wait() == 1
    (line,) = daemon.lines()
    assert line == (
        f"nodetill: the role {WEB} may not write payments, as the web server's may not: "
        "in DATABASE_URL, use the role that owns the tables for the daemon"
    )


def client_log(directory: Path, name: str) -> list[str]:
    return (directory / f"{name}.log").read_text().splitlines()


def test_the_web_server_exits_if_the_daemon_has_created_no_tables(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    """The exit has one line. systemd restarts the web server until the tables exist."""
    made = new_place(postgres)
    environ = environment({"DATABASE_URL": made.web})
    web = Process("run_web.py", environ, tmp_path).start()
    assert web.wait() == 1
    (line,) = web.lines()
    assert line.startswith("nodetill: the database is not up to date, and the role that DATABASE_URL names")
    assert line.endswith("start the daemon first, whose role owns them")


def test_without_rights_the_web_server_names_the_command(postgres: PostgresServer, tmp_path: Path) -> None:
    """The web server exits with one line, and without a traceback."""
    made = new_place(postgres)
    open_database(made.owner)
    disconnect()
    web = Process("run_web.py", environment({"DATABASE_URL": made.web}), tmp_path).start()
    assert web.wait() == 1
    (line,) = web.lines()
    assert line == (
        "nodetill: permission denied for table schema_migration: "
        "as the daemon's role, run manage.py database grant-web with this role's name"
    )


@pytest.mark.parametrize(
    "taken", ["UPDATE (claimed_at) ON address", "INSERT ON daemon_command", "SELECT ON rate"]
)
def test_a_missing_right_is_named(place: Place, taken: str) -> None:
    """The web server refuses to start, because calls that need the right would fail."""
    with place.as_owner() as owner:
        owner.execute(f'REVOKE {taken} FROM "{WEB}"')
    open_database(place.web)
    right, _, table = taken.partition(" ")[0], *taken.rpartition(" ")[1:]
    with pytest.raises(DatabaseError, match=f"may not {right} in {table}: as the daemon's role"):
        refuse_missing_rights()


def test_an_upgrade_renews_the_rights(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A migration that creates a table again removes its rights. The daemon's start grants them again."""
    copytree(schema.MIGRATIONS, tmp_path / "migrations")
    (tmp_path / "migrations" / "9999_anew.py").write_text(
        "def up(migrator, db):\n"
        "    db.execute_sql('CREATE TABLE rate_anew (LIKE rate INCLUDING ALL)')\n"
        "    db.execute_sql('DROP TABLE rate')\n"
        "    db.execute_sql('ALTER TABLE rate_anew RENAME TO rate')\n"
    )
    monkeypatch.setattr(schema, "MIGRATIONS", tmp_path / "migrations")
    with pytest.raises(DatabaseError, match="start the daemon first"):
        open_database(place.web)
    disconnect()
    open_database(place.owner)
    disconnect()
    open_database(place.web)
    refuse_missing_rights()
    assert database.execute_sql("SELECT count(*) FROM rate").fetchone() == (0,)


def test_the_grant_command_can_run_again(place: Place) -> None:
    """The command revokes rights that were granted by hand."""
    with place.as_owner() as owner:
        owner.execute(f'GRANT UPDATE (status) ON payment_request TO "{WEB}"')
    done = manage_as(place.owner, "database", "grant-web", WEB, "--json")
    assert json.loads(done.output) == {"granted": WEB, "roles": [WEB]}
    with place.as_web() as web, pytest.raises(psycopg.errors.InsufficientPrivilege):
        web.execute("UPDATE payment_request SET status = 'confirmed'")


def test_a_grant_that_limits_nothing_is_refused(
    postgres: PostgresServer, place: Place, tmp_path: Path
) -> None:
    """One line gives the reason, because such a grant would protect nothing."""
    with psycopg.connect(postgres.new_database(), autocommit=True) as admin:
        owner = place.owner.rpartition("//")[2].partition("@")[0]
        member = f"member_{secrets.token_hex(4)}"
        admin.execute(f"CREATE ROLE {member} IN ROLE {owner}")
    superuser = place.owner.replace(owner, "nodetill:unused")
    for url, role, words in (
        (place.owner, "nobody-at-all", "PostgreSQL has no role nobody-at-all: create it first"),
        (place.owner, "nodetill", "is a superuser or has BYPASSRLS"),
        (place.owner, member, f"the role {member} may"),
        (place.owner, owner, f"the role {owner} may"),
        (place.web, WEB, "use the daemon's DATABASE_URL"),
        (f"sqlite:///{tmp_path / 'nodetill.db'}", WEB, "SQLite has no roles"),
    ):
        refused = manage_as(url, "database", "grant-web", role)
        assert refused.exit_code == 1, (role, refused.output)
        assert words in refused.output, refused.output
    with psycopg.connect(superuser, autocommit=True) as admin:
        admin.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
    refused = manage_as(place.owner, "database", "grant-web", WEB)
    assert "may create tables in the schema public" in refused.output
    with psycopg.connect(superuser, autocommit=True) as admin:
        admin.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        admin.execute("GRANT UPDATE (state) ON output TO PUBLIC")
    refused = manage_as(place.owner, "database", "grant-web", WEB)
    assert f"the role {WEB} may UPDATE in output by other means" in refused.output
