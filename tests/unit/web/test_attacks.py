"""Attacks over HTTP by strangers, customers and sellers. docs/security.md names the defence against each."""

import ast
import json
import re
import socket
import string
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.output import Output
from models.payment import PaymentRequest
from payments.greenfield.permissions import POLICIES
from tests.support.needs import examples
from tests.support.web_server import BODY, KEY, WebServer, open_shop, pay, stored
from web.app import ROUTES, TRIGGERS
from web.auth.access import require_key, require_key_or_local

pytestmark = pytest.mark.one_database

PUBLIC = "https://pay.example.com"
PAYMENTS = "/api/v1/payments"
TXID = "ab" * 32
TEMPLATES = [
    "{{7777*7777}}",
    "{{!7777*7777}}",
    "<%= 7777*7777 %>",
    "% 7777*7777",
    "${7777*7777}",
    "#{7777*7777}",
    "%(note)s",
    "{seller_id}",
]
POISONED = [
    {"Host": "evil.example"},
    {"Host": 'x"><script>alert(1)</script>'},
    {"X-Forwarded-Host": "evil.example"},
    {"X-Forwarded-Proto": "evil", "X-Forwarded-Port": "666"},
    {"Forwarded": "host=evil.example;proto=evil"},
    {"X-Original-URL": "/evil", "X-Rewrite-URL": "/evil"},
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    """Serve one web server for all tests, with enough addresses."""
    directory = tmp_path_factory.mktemp("shop")
    url = f"sqlite:///{directory / 'nodetill.db'}"
    with open_shop(directory, url, {"PUBLIC_URL": PUBLIC}, addresses=3000) as opened:
        yield opened


def filled(path: str, reference: str) -> str:
    """Return a route's path for this request."""
    return path.replace("<reference>", reference).replace("<event_reference>", "evt_" + "0" * 32)


def test_no_call_writes_a_fact_or_a_status(shop: WebServer) -> None:
    """Only the daemon writes these, from bitcoind's answers, whatever a body claims."""
    document = shop.created()
    pay(document, TXID, 1)
    facts = {name: document[name] for name in ("status", "confirmations", "received_sats", "confirmed_at")}
    claims = {"status": "confirmed", "confirmations": 6, "received_sats": 10**6, "confirmed_at": "now"}
    bodies = [{"txid": TXID}, {"txid": TXID, **claims}, claims, BODY | claims, {}]
    for method, path, _, _ in ROUTES:
        for body in bodies if method == "POST" else [claims]:
            shop.call(method, filled(path, document["payment_request_id"]), body)
    for method in ("PUT", "PATCH", "DELETE"):
        shop.call(method, f"{PAYMENTS}/{document['payment_request_id']}", claims)
    after = shop.get(f"{PAYMENTS}/{document['payment_request_id']}").json
    assert {name: after[name] for name in facts} == facts
    (output,) = Output.select().where(Output.address == stored(document).address_id)
    assert (output.amount_sats, output.state) == (1, "mempool")


def test_each_call_of_the_api_needs_a_key(shop: WebServer) -> None:
    """One function checks all of them, and there is no way around it."""
    reference = shop.created()["payment_request_id"]
    keyed, local = ({make(policy) for policy in POLICIES} for make in (require_key, require_key_or_local))
    for method, path, access, _ in ROUTES:
        if path.startswith("/api/"):
            assert access in keyed
            for name in ("Authorization", "X-Api-Key", "Cookie"):
                value = None if name == "Authorization" else f"key={KEY}"
                headers = {"Authorization": None, name: value}
                reply = shop.call(method, f"{filled(path, reference)}?api_key={KEY}", b"{}", headers)
                assert reply.status == 401, path
    assert {access for *_, access, _ in TRIGGERS} <= local


def test_secrets_are_compared_in_constant_time() -> None:
    """The duration of == reveals the number of right bytes, because == ends at the first wrong one."""
    secret = re.compile(r"password|secret|token|signature|api_key|key_hash", re.IGNORECASE)
    compared = []
    for path in sorted(Path(__file__).parent.parent.parent.parent.glob("web/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq):
                sides = [ast.unparse(side) for side in (node.left, *node.comparators)]
                compared += [f"{path.name}: {ast.unparse(node)}" for side in sides if secret.search(side)]
    assert not compared


def test_an_identifier_cannot_be_guessed(shop: WebServer) -> None:
    """At least 128 bits of it are random."""
    letters = string.ascii_letters + string.digits
    identifiers = [shop.created()["payment_request_id"].removeprefix("PR-") for _ in range(50)]
    assert len(letters) ** min(map(len, identifiers)) > 2**128
    assert set("".join(identifiers)) <= set(letters)
    # Each place has many values, so none is a counter, a date or a constant.
    assert min(len(set(place)) for place in zip(*identifiers, strict=True)) > 20


@pytest.mark.parametrize("headers", POISONED, ids=repr)
def test_links_begin_with_public_url(shop: WebServer, headers: dict[str, str]) -> None:
    """A client that chooses the Host header must not choose the address that customers visit."""
    made = shop.post(PAYMENTS, BODY, headers)
    document = made.json
    reference = document["payment_request_id"]
    assert document["checkout_url"] == f"{PUBLIC}/pay/{reference}"
    assert made.headers["location"] in (f"{PAYMENTS}/{reference}", f"{PUBLIC}{PAYMENTS}/{reference}")
    for path in (f"/pay/{reference}", f"/pay/{reference}/status", "/openapi.json", "/docs", "/nowhere"):
        reply = shop.get(path, {"Authorization": None, **headers})
        assert b"evil" not in reply.body.lower()
        assert b"alert(1)" not in reply.body
        assert not any("evil" in value.lower() for value in reply.headers.values())


def test_the_public_page_shows_no_note_metadata_or_seller(shop: WebServer) -> None:
    document = shop.created(note="secret-note", metadata={"secret-key": "secret-value"}, label="Socks")
    reference = document["payment_request_id"]
    for path in ("", "/status", "/qr.svg", "?lang=de", "?note=1&metadata=1&fields=note"):
        reply = shop.get(f"/pay/{reference}{path}", {"Authorization": None})
        assert reply.status == 200
        for word in (b"secret-", b"company1", KEY.encode()):
            assert word not in reply.body


@pytest.mark.parametrize("label", TEMPLATES)
def test_a_template_is_text(shop: WebServer, label: str) -> None:
    """A seller's text is inserted into the page, and never evaluated."""
    document = shop.created(label=label, note=label, metadata={label: label})
    page = shop.get(f"/pay/{document['payment_request_id']}").body.decode()
    text = page.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert label in text
    assert str(7777 * 7777) not in text
    assert document["note"] == label


@pytest.mark.parametrize("text", ["%", "_", "'", "''", "\\", "' OR '1'='1", "x'; DROP TABLE output; --"])
def test_a_search_text_has_no_meaning_for_the_database(shop: WebServer, text: str) -> None:
    wanted = shop.created(note=f"a {text} b")["payment_request_id"]
    shop.created(note="plain")
    found = shop.call("GET", f"{PAYMENTS}?limit=200&q={_quoted(text)}").json["data"]
    assert wanted in [each["payment_request_id"] for each in found]
    assert all(text in each["note"] for each in found)
    for name in ("status", "currency", "cursor", "created_after", "limit"):
        assert shop.get(f"{PAYMENTS}?{name}={_quoted(text)}").status == 422


def _quoted(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode())


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e/app.py",
        "/static/..%5capp.py",
        "/static//etc/passwd",
        "/static/%00",
        "/static/.",
        "/pay/..%2f..%2fconfig.py",
        "//evil.example/pay",
    ],
)
def test_no_path_reaches_another_file(shop: WebServer, path: str) -> None:
    """Files are served from a fixed list of names."""
    reply = shop.get(path)
    assert reply.status == 404
    assert reply.headers["content-type"] in ("application/problem+json", "text/html; charset=utf-8")


NASTY = [
    *('"', "\\", "\\u0000", "\\ud83d", "{", "}", "[", "]", ",", ":"),
    *("null", "true", "1e400", "-0", "0.1", "NaN", "9" * 65, "/*", "//", "'"),
    *("\u202e", "\ufeff", "\U0001f9e6", "\x00", "\n", '"note":', '"seller_id":'),
]
VALID: dict[str, Any] = {
    **BODY,
    "note": "Alpaca \u00e4",
    "label": "Shop",
    "metadata": {"a": [1, 2.5, None, {"b": ""}]},
}
VALID |= {"confirmations": 3, "expires_in": 600, "redirect_url": "https://shop.example/?a=b"}
splices = st.lists(
    st.tuples(st.integers(0, 300), st.integers(0, 12), st.sampled_from(NASTY)), min_size=1, max_size=3
)


@settings(max_examples=examples(400), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(splices)
def test_a_mutated_body_is_refused_or_stored_unchanged(
    shop: WebServer, changes: list[tuple[int, int, str]]
) -> None:
    """The body is cut, or has other text inserted, and the answer is never a 5xx."""
    text = json.dumps(VALID, ensure_ascii=False)
    for start, length, put_in in changes:
        text = text[:start] + put_in + text[start + length :]
    reply = shop.post(PAYMENTS, text.encode())
    assert reply.status in (201, 400, 403, 422), reply.body
    if reply.status == 201:
        _assert_kept(json.loads(text), reply.json)
    else:
        assert reply.json["detail"]


def _assert_kept(sent: dict[str, Any], made: dict[str, Any]) -> None:
    for name in ("seller_id", "currency", "note", "metadata", "redirect_url"):
        assert made[name] == sent.get(name, {"note": "", "metadata": {}}.get(name))
    row = PaymentRequest.get(PaymentRequest.reference == made["payment_request_id"])
    assert row.label == sent.get("label")
    assert row.confirmations_required == sent.get("confirmations", 6)


broad = partial(pytest.param, marks=pytest.mark.broad)
UNREAD = [
    (17, b"GET /docs HTTP/1.1\r\n\r\n" * 372),
    broad(17, b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n" * 372),
    (40, b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n" * 372),
    broad(40, b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 372),
    broad(40, b"HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n" * 372),
    broad(40, b"POST /operator/login HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx" * 372),
    (40, b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 10_000 + b"\r\n\r\n"),
]


@pytest.mark.parametrize(("connections", "sent"), UNREAD, ids=lambda value: str(value)[:60])
def test_unread_responses_do_not_delay_other_clients(shop: WebServer, connections: int, sent: bytes) -> None:
    """A client sends many requests and reads no response, and sellers and customers still get theirs."""
    page = f"/pay/{shop.created()['payment_request_id']}"
    with ExitStack() as stack:
        for _ in range(connections):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            client.connect(("127.0.0.1", shop.port))
            client.setblocking(False)
            client.send(sent)
        for _ in range(5):
            assert shop.create().status == 201
            assert shop.get(page, {"Authorization": None}).status == 200
            assert shop.get(f"{page}/status", {"Authorization": None}).status == 200
