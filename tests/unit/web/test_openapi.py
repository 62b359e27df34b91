"""The API's description agrees with the server: each call, each field, and each refusal."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from models.command import DaemonCommand
from models.daemon_status import DaemonReport
from models.output import outputs_at
from models.payment import PaymentRequest
from models.rate import store_rates
from payments.document import payment_document
from payments.greenfield.permissions import POLICIES
from payments.money import currency_codes
from payments.notifications import webhook_body
from payments.status import EventType
from tests.conftest import NewDatabase
from tests.support.checkout_scenes import SCENES, create_in_scene
from tests.support.rows import new_event, new_message
from tests.support.web_server import KEY, NOW, TIP, Reply, WebServer, open_shop, stored
from web.app import ROUTES
from web.auth.access import require_any_key, require_key
from web.description.greenfield.replies import GROUP
from web.description.openapi import ALL_OPERATIONS, description
from web.description.operations import OPERATIONS
from web.greenfield.routes import GREENFIELD
from web.greenfield.routes import UNDESCRIBED as GREENFIELD_UNDESCRIBED

pytestmark = pytest.mark.one_database

NOBODY: dict[str, str | None] = {"Authorization": None}
EVENT = "evt_" + "0" * 32
LINK_BODY = {"title": "Invoice 17", "currency": "EUR", "amount_fiat": "100.00"}

# Our pages link to the first, and only browsers and search engines load the others.
UNDESCRIBED = {("GET", "/static/{name}"), ("GET", "/robots.txt"), ("GET", "/favicon.ico")}


@pytest.fixture
def shop(new_database: NewDatabase, tmp_path: Path) -> Iterator[WebServer]:
    """Serve a web server with addresses for hundreds of requests."""
    with open_shop(tmp_path, new_database(tmp_path), addresses=3000) as opened:
        yield opened


def test_the_description_has_exactly_the_routes() -> None:
    """It has their methods, and whether they need a key."""
    names = {"<reference>": "{id}", "<event_reference>": "{event_id}"}
    keyed = {*(require_key(policy) for policy in POLICIES), require_any_key}
    routes = {}
    for method, path, access, handler in ROUTES + GREENFIELD:
        public = re.sub("<([a-z_]+)>", lambda match: names.get(match[0], f"{{{match[1]}}}"), path)
        if handler not in {handler for *_, handler in GREENFIELD_UNDESCRIBED}:
            routes[method, public] = access in keyed
    described = {(each.method, each.path): each.needs_key for each in ALL_OPERATIONS}
    assert described == {key: routes[key] for key in routes.keys() - UNDESCRIBED}


def test_the_description_is_complete() -> None:
    """Each reference exists, each path parameter is described, and each operation's name is unique."""
    document = description("https://pay.example.com")
    text = json.dumps(document)
    referred = set(re.findall(r'"#/components/schemas/(\w+)"', text))
    assert referred == set(document["components"]["schemas"])
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))
    linked = re.findall(r'"operationId": "(\w+)", "parameters": \{"id"', text)
    assert linked
    assert set(linked) <= set(names)
    for path, methods in document["paths"].items():
        for operation in methods.values():
            parameters = {each["name"] for each in operation.get("parameters", []) if each["in"] == "path"}
            assert parameters == set(re.findall(r"\{(\w+)\}", path))


def test_the_description_is_public(shop: WebServer) -> None:
    """It is JSON, with the links that customers get."""
    reply = shop.get("/openapi.json", NOBODY)
    assert reply.status == 200
    assert reply.json == json.loads(json.dumps(description("http://127.0.0.1:8080")))
    assert reply.json["servers"] == [{"url": "http://127.0.0.1:8080"}]


class Description:
    """The description, which checks responses. A field that the description does not name is a fault."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.paths = document["paths"]
        self.schemas = {"components": {"schemas": _closed(document["components"]["schemas"])}}

    def check(self, reply: Reply, method: str, path: str) -> None:
        """Check the status, headers, type and body of a response."""
        answer = self.paths[path][method.lower()]["responses"][str(reply.status)]
        for name in answer.get("headers", {}):
            assert name.lower() in reply.headers, (path, reply.status, name)
        if "content" not in answer:
            assert reply.body == b""
            return
        schema = answer["content"][reply.headers["content-type"].partition(";")[0]]["schema"]
        value = reply.json if "json" in reply.headers["content-type"] else reply.body.decode()
        self.check_value(value, schema)

    def check_value(self, value: Any, schema: Mapping[str, Any]) -> None:
        """Check a value against a schema."""
        jsonschema_rs.validate({**schema, **self.schemas}, value, validate_formats=True)


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(part) for name, part in schema.items()}
    return {**closed, "additionalProperties": False} if "properties" in schema else closed


@pytest.fixture(scope="module")
def described() -> Description:
    """Return the description of the server."""
    return Description(json.loads(json.dumps(description("http://127.0.0.1:8080"))))


def test_a_request_in_each_scene_is_as_described(shop: WebServer, described: Description) -> None:
    """Seller, customer, lists and webhooks receive it."""
    for scene in SCENES:
        check_scene(shop, described, scene)


def check_scene(shop: WebServer, described: Description, scene: str) -> None:
    """Check each call about a request in this scene."""
    made = create_in_scene(
        shop, scene, note="a", label="b", redirect_url="https://shop.example/", metadata={"c": [1]}
    )
    own, public = f"/api/v1/payments/{made['payment_request_id']}", f"/pay/{made['payment_request_id']}"
    for path, template in (
        ("/api/v1/payments", "/api/v1/payments"),
        (own, "/api/v1/payments/{id}"),
        (public, "/pay/{id}"),
        (f"{public}/status", "/pay/{id}/status"),
        (f"{public}/qr.svg", "/pay/{id}/qr.svg"),
    ):
        described.check(shop.get(path), "GET", template)
    described.check(shop.post(f"{own}/accept"), "POST", "/api/v1/payments/{id}/accept")
    described.check(shop.post(f"{own}/cancel"), "POST", "/api/v1/payments/{id}/cancel")

    row = stored(made)
    parts = outputs_at(row.address_id)
    document = payment_document(
        row, row.address.address, parts, tip_height=TIP, network="main", public_url="https://a.example"
    )
    for event in EventType:
        body = json.loads(webhook_body(event, NOW, document))
        described.check_value(body, {"$ref": "#/components/schemas/WebhookEvent"})


def test_each_other_response_is_as_described(shop: WebServer, described: Description) -> None:
    made = shop.created()
    payments, own = "/api/v1/payments", f"/api/v1/payments/{made['payment_request_id']}"
    nobodys = "/api/v1/payments/PR-" + "x" * 22
    tag: dict[str, str | None] = {"If-None-Match": shop.get(own).headers["etag"]}
    new_message(new_event(stored(made), reference=EVENT), channel="webhook", last_error="HTTP 500")
    body = {"seller_id": "company1", "amount_fiat": "5", "currency": "EUR"}
    links = "/api/v1/links"
    link = shop.post(links, LINK_BODY).json["link_id"]
    own_link, page = f"{links}/{link}", f"/l/{link}"
    gift = f"/l/{shop.post(links, {'title': 'Gift', 'currency': 'EUR'}).json['link_id']}"
    link_tag: dict[str, str | None] = {"If-None-Match": shop.get(own_link).headers["etag"]}
    again = f"{own}/events/{EVENT}/redeliver"
    expected: list[tuple[int, str, str, str, Any, dict[str, str | None]]] = [
        (201, "POST", payments, payments, body, {"Idempotency-Key": "k"}),
        (200, "POST", payments, payments, body, {"Idempotency-Key": "k"}),
        (400, "POST", payments, payments, b"{", {}),
        (401, "POST", payments, payments, body, NOBODY),
        (403, "POST", payments, payments, {**body, "seller_id": "company2"}, {}),
        (413, "POST", payments, payments, b" " * 20_000, {}),
        (422, "POST", payments, payments, {}, {}),
        (422, "POST", payments, payments, {}, {"Idempotency-Key": "k"}),
        (401, "GET", payments, payments, None, NOBODY),
        (422, "GET", f"{payments}?limit=x", payments, None, {}),
        (400, "GET", f"{payments}?q=%ff", payments, None, {}),
        (304, "GET", own, f"{payments}/{{id}}", None, tag),
        (404, "GET", nobodys, f"{payments}/{{id}}", None, {}),
        (202, "POST", f"{own}/transactions", f"{payments}/{{id}}/transactions", {"txid": "ab" * 32}, {}),
        (422, "POST", f"{own}/transactions", f"{payments}/{{id}}/transactions", {"txid": "ab"}, {}),
        (409, "POST", f"{own}/accept", f"{payments}/{{id}}/accept", None, {}),
        (202, "POST", f"{own}/cancel", f"{payments}/{{id}}/cancel", None, {}),
        (200, "GET", f"{own}/events", f"{payments}/{{id}}/events", None, {}),
        (202, "POST", again, f"{payments}/{{id}}/events/{{event_id}}/redeliver", None, {}),
        (404, "POST", again + "x", f"{payments}/{{id}}/events/{{event_id}}/redeliver", None, {}),
        (200, "GET", "/api/v1/rates", "/api/v1/rates", None, {}),
        (201, "POST", links, links, LINK_BODY, {"Idempotency-Key": "k"}),
        (200, "POST", links, links, LINK_BODY, {"Idempotency-Key": "k"}),
        (422, "POST", links, links, {**LINK_BODY, "note": "b"}, {"Idempotency-Key": "k"}),
        (
            201,
            "POST",
            links,
            links,
            {"title": "Gift", "currency": "EUR", "suggested": [5, "10"], "minimum": 1},
            {},
        ),
        (400, "POST", links, links, b"{", {}),
        (401, "POST", links, links, LINK_BODY, NOBODY),
        (403, "POST", links, links, {**LINK_BODY, "seller_id": "another"}, {}),
        (413, "POST", links, links, {**LINK_BODY, "note": "a" * 17_000}, {}),
        (422, "POST", links, links, {**LINK_BODY, "minimum": 5}, {}),
        (200, "GET", links, links, None, {}),
        (422, "GET", f"{links}?cursor=x", links, None, {}),
        (200, "GET", own_link, f"{links}/{{id}}", None, {}),
        (304, "GET", own_link, f"{links}/{{id}}", None, link_tag),
        (404, "GET", f"{links}/LK-{'x' * 22}", f"{links}/{{id}}", None, {}),
        (200, "GET", page, "/l/{id}", None, NOBODY),
        (404, "GET", "/l/x", "/l/{id}", None, NOBODY),
        (200, "GET", f"{page}/qr.svg", "/l/{id}/qr.svg", None, NOBODY),
        (404, "GET", "/l/x/qr.svg", "/l/{id}/qr.svg", None, NOBODY),
        (303, "GET", f"{page}/pay", "/l/{id}/pay", None, NOBODY),
        (303, "POST", f"{page}/pay", "/l/{id}/pay", None, NOBODY),
        (404, "POST", "/l/x/pay", "/l/{id}/pay", None, NOBODY),
        (413, "POST", f"{page}/pay", "/l/{id}/pay", b"a" * 17_000, NOBODY),
        (422, "POST", f"{gift}/pay", "/l/{id}/pay", b"amount=x", NOBODY),
        (200, "POST", f"{own_link}/close", f"{links}/{{id}}/close", None, {}),
        (404, "POST", f"{links}/LK-{'x' * 22}/close", f"{links}/{{id}}/close", None, {}),
        (200, "GET", "/", "/", None, NOBODY),
        (404, "GET", "/pay/x", "/pay/{id}", None, NOBODY),
        (404, "GET", "/pay/x/status", "/pay/{id}/status", None, NOBODY),
        (200, "GET", "/health", "/health", None, NOBODY),
        (200, "GET", "/openapi.json", "/openapi.json", None, NOBODY),
        (200, "GET", "/docs", "/docs", None, NOBODY),
    ]
    for status, method, path, template, sent, headers in expected:
        reply = shop.call(method, path, sent, headers)
        assert reply.status == status, (method, path, reply.body)
        described.check(reply, method, template)

    shop.wait(hours=1)
    DaemonReport.delete().execute()
    described.check(shop.get("/health"), "GET", "/health")
    assert shop.get("/health").status == 503
    described.check(shop.create(), "POST", payments)
    assert shop.create().status == 503
    row = stored(made)
    command = {"kind": "transaction", "payment": row, "created_at": NOW}
    waiting = [{**command, "txid": f"{number:064x}"} for number in range(100)]
    DaemonCommand.insert_many(waiting).execute()
    refused = shop.post(f"{own}/transactions", {"txid": "cd" * 32})
    assert refused.status == 429
    described.check(refused, "POST", f"{payments}/{{id}}/transactions")


@pytest.mark.broad
def test_schemathesis_finds_no_difference(shop: WebServer, tmp_path: Path) -> None:
    """schemathesis makes hundreds of valid and invalid calls from the description, and checks the responses.

    A valid body may still be refused with 422 for a reason that no schema can express. Examples are too many
    decimals, too small an amount, and a used key. A QR code is 410 if nothing is due.
    """
    store_rates("kraken", dict.fromkeys(currency_codes(), Decimal(50_000)), NOW)
    store_rates("bitpay", {}, NOW)
    late = create_in_scene(shop, "late")
    create_in_scene(shop, "confirmed")
    new_message(new_event(stored(late), reference=EVENT), channel="webhook")
    link = shop.post("/api/v1/links", LINK_BODY).json["link_id"]
    config = tmp_path / "schemathesis.toml"
    config.write_text(
        "[dictionaries.sellers]\n"
        'values = ["company1"]\n'
        "[parameters]\n"
        '"body.seller_id" = {dictionary = "sellers"}\n'
        f'"path.id" = "{late["payment_request_id"]}"\n'
        f'"path.event_id" = "{EVENT}"\n'
        f'"query.cursor" = "{late["payment_request_id"]}"\n'
        "[[operations]]\n"
        'include-operation-id = ["createPayment", "createLink"]\n'
        'checks.positive_data_acceptance.expected-statuses = ["2xx", "403", "422"]\n'
        "[[operations]]\n"
        'include-operation-id = "getQrCode"\n'
        'checks.positive_data_acceptance.expected-statuses = ["2xx", "404", "410"]\n'
        "[[operations]]\n"
        'include-path-regex = "^/api/v1/links|^/l/"\n'
        f'parameters = {{"path.id" = "{link}", "query.cursor" = "{link}"}}\n'
    )
    address = f"http://127.0.0.1:{shop.port}"
    command = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(config), "run"]
    command += ["--exclude-tag", GROUP]
    options = ["--checks", "all", "--max-examples", "12", "--seed", "1", "--no-color", "--max-failures", "5"]
    key = ["--header", f"Authorization: Bearer {KEY}"]
    done = subprocess.run(
        [*command, f"{address}/openapi.json", "--url", address, *key, *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    # The path of the description itself is not tested.
    assert f"Tested: {len(OPERATIONS) - 1}\n" in done.stdout
    assert PaymentRequest.select().count() > 10


def test_the_page_has_the_whole_description(shop: WebServer) -> None:
    page = shop.get("/docs", NOBODY).body.decode()
    document = description("http://127.0.0.1:8080")
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert f'<article id="{operation["operationId"]}">' in page
            assert f"<b>{method.upper()}</b> {path}</code>" in page
            for parameter in operation.get("parameters", []):
                assert f"<code>{parameter['name']}</code>" in page
    for name, schema in document["components"]["schemas"].items():
        assert f'<article id="{name}">' in page
        for field in schema.get("properties", {}):
            assert f"<code>{field}</code>" in page
    targets = re.findall(r'href="#([^"]+)"', page)
    assert set(targets) <= set(re.findall(r'id="([^"]+)"', page))


def test_the_docs_page_loads_only_our_files(shop: WebServer) -> None:
    """The policy enforces it in the browser."""
    reply = shop.get("/docs", NOBODY)
    assert reply.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
    page = reply.body.decode()
    loaded = re.findall(r'(?:src|href)="([^"#]+)"', page)
    assert {name.partition("/")[0] for name in loaded} == {"static", "openapi.json"}
    assert not re.search(r"<script|<style|style=|javascript:", page)
    for name in loaded:
        assert shop.get(f"/{name}", NOBODY).status == 200
