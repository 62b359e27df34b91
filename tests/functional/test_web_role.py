"""The web server's PostgreSQL role can serve every route."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from config import load_settings
from models.db.connection import disconnect
from models.db.schema import open_database
from models.db.web_role import WEB_RIGHTS, refuse_missing_rights
from models.decision import Decision
from models.delivery import Delivery
from models.outbox import Message, add_invoice_message
from models.payment import PaymentRequest
from models.webhook import KINDS
from tests.support.operator_client import PASSWORD, OperatorClient
from tests.support.rows import new_webhook
from tests.support.web_role import RoleDatabase, late_payment
from tests.support.web_server import NOW, WebServer, give_key, serving
from web.app import BTCPAY, OPERATOR, ROUTES, TRIGGERS
from web.greenfield.routes import GREENFIELD, UNDESCRIBED

LAST_KEY = "nt_last"
"""A key that revokes itself."""

EMPTY: Mapping[str, str] = MappingProxyType({})


@contextmanager
def shop_of(role_database: RoleDatabase, directory: Path) -> Iterator[WebServer]:
    """Run a web server that opens the database with its own role."""
    environ = {
        "DATABASE_URL": role_database.web,
        "SPELLBOOK_TRIGGERS": "on",
        "OPERATOR_PASSWORD": PASSWORD,
        "ADDRESS_POOL": "10",
        "PUBLIC_URL": "http://127.0.0.1:8080",
    }
    open_database(role_database.web)
    refuse_missing_rights()
    with serving(load_settings(environ, directory)) as shop:
        yield shop


def test_the_web_rights_name_each_table(role_database: RoleDatabase) -> None:
    """Each new table needs a decision on the web server's rights."""
    with role_database.as_owner() as owner:
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
        assert self.operator.get("/operator").leads_to == "/"
        self.called |= {("GET", "/operator"), ("GET", "/operator/login"), ("POST", "/operator/login")}

    def _path(self, method: str, template: str, parts: dict[str, str]) -> str:
        self.called.add((method, template))
        for name, value in parts.items():
            template = template.replace(f"<{name}>", value)
        return template


def sent_invoice_event(reference: str) -> None:
    """Store an endpoint in BTCPay's form with an event of an invoice that was sent."""
    row = PaymentRequest.get(PaymentRequest.reference == reference)
    endpoint = new_webhook(kind="btcpay", reference="wh_sent", signing_secret=None, btcpay_secret="s")
    event = {"type": "InvoiceExpired", "timestamp": 5, "storeId": "company1", "invoiceId": reference}
    add_invoice_message(row.id, endpoint, event, NOW)
    Message.update(reference="dl_sent").where(Message.webhook == endpoint.id).execute()
    message = Message.get(Message.reference == "dl_sent")
    Delivery.create(reference="dl_sent", webhook=endpoint, message=message, at=NOW, is_redelivery=False)


def test_the_web_role_can_serve_every_route(role_database: RoleDatabase, tmp_path: Path) -> None:
    open_database(role_database.owner)
    reference, event = late_payment(1001)
    others = [late_payment(number)[0] for number in (1002, 1003)]
    marked = late_payment(1004)[0]
    sent_invoice_event(marked)
    give_key("company1", LAST_KEY)
    disconnect()
    with shop_of(role_database, tmp_path) as shop:
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
    with role_database.as_owner() as owner:
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
    made = call("POST", "/api/v1/links", body=body, key="k")
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
    page = f"/operator/sellers/{seller}"
    made = call.operator.post(f"{page}/keys", key_id=key_id[1], allow="shop", label="WooCommerce")
    assert made.status == 200, made.text
    call.form(f"{template}/keys/<key_id>/revoke", page, seller_id=seller, key_id=key_id[1])


def call_webhooks(call: Routes) -> None:
    """Add, test, disable and remove endpoints of both kinds on a seller's page."""
    seller, template = "company1", "/operator/sellers/<seller_id>"
    role_database, endpoint = f"/operator/sellers/{seller}", f"{template}/webhooks/<webhook_id>"
    for kind in KINDS:
        found = re.search(r'name="webhook_id" value="(\w+)"', call.page(template, seller_id=seller))
        assert found is not None
        call.called.add(("POST", f"{template}/webhooks"))
        fields = {"webhook_id": found[1], "url": "https://shop.example/", "kind": kind}
        made = call.operator.post(f"{role_database}/webhooks", **fields)
        assert made.status == 200, made.text
        for action in ("test", "switch", "remove"):
            call.form(f"{endpoint}/{action}", role_database, seller_id=seller, webhook_id=found[1])
