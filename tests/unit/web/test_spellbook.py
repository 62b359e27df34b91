"""A shop that calls the Spellbook's payment processor works unchanged, from this machine or with a key."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from config import load_settings
from models.address import free_count
from models.command import DaemonCommand
from models.payment import PaymentRequest
from models.rate import Rate
from models.seller import Seller
from models.webhook import endpoints_of
from payments.greenfield.permissions import VIEW_INVOICES
from tests.conftest import NewDatabase
from tests.support.checkout_scenes import DUE_SATS, SCENES, change, create_in_scene
from tests.support.web_server import KEY, NOW, TIP, Reply, WebServer, add_seller, open_shop, pay
from web.auth.access import require_key_or_local
from web.http.database import Writers
from web.http.request import Request
from web.http.responses import Problem

pytestmark = pytest.mark.one_database

TRIGGERS = "/spellbook/triggers/PaymentProcessor"
NEW, STATUS, RECEIVED = (
    f"{TRIGGERS}{name}" for name in ("NewPayment/post", "PaymentStatus/get", "TransactionReceived/post")
)
TXID = "ab" * 32
BODY = {"seller_id": "company1", "amount_fiat": 135.99, "currency": "EUR", "note": "Alpaca socks"}


@pytest.fixture
def shop(tmp_path: Path, database_url: str) -> Iterator[WebServer]:
    """Serve a web server with the triggers on, and a client that sends no key."""
    with open_shop(tmp_path, database_url, {"SPELLBOOK_TRIGGERS": "on"}) as opened:
        key = opened.common_headers.pop("Authorization")
        assert KEY in key
        yield opened


def post_payment(shop: WebServer, **fields: Any) -> Reply:
    """Request a payment as a shop does."""
    return shop.post(NEW, {**BODY, **fields})


def posted_payment(shop: WebServer, **fields: Any) -> dict[str, Any]:
    """Request a payment, and return its document."""
    reply = post_payment(shop, **fields)
    assert reply.status == 200, reply.body
    document: dict[str, Any] = reply.json
    return document


def test_the_triggers_are_off_by_default(new_database: NewDatabase, tmp_path: Path) -> None:
    """Each is 404, as any unknown path."""
    with open_shop(tmp_path, new_database(tmp_path)) as shop:
        for reply in (post_payment(shop), shop.get(STATUS), shop.get(NEW), shop.post(RECEIVED, {})):
            assert reply.status == 404


def test_a_new_payment_has_the_spellbook_s_fields(shop: WebServer) -> None:
    """It has exactly these fields in this order. Amounts are numbers with all their digits."""
    reply = post_payment(shop)
    request = reply.json
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    assert list(request.items()) == [
        ("payment_request_id", request["payment_request_id"]),
        ("seller_id", "company1"),
        ("amount_fiat", 135.99),
        ("currency", "EUR"),
        ("price_btc", 61146.30),
        ("price_timestamp", int(NOW.timestamp())),
        ("amount_btc", DUE_SATS),
        ("note", "Alpaca socks"),
        ("status", "Created"),
        ("address", "bcrt1q" + "0" * 38),
        ("txid", None),
        ("confirmations", 0),
    ]
    exact = json.loads(reply.body, parse_float=Decimal)
    assert (exact["amount_fiat"], exact["price_btc"]) == (Decimal("135.99"), Decimal("61146.30"))
    assert b'"price_btc":61146.30,' in reply.body


def test_numbers_are_exact_in_requests_and_responses(shop: WebServer) -> None:
    """They may have more digits than a float. The rounding error of a shop's own floats is corrected."""
    reply = post_payment(shop, amount_fiat="12345678901.23")
    assert b'"amount_fiat":12345678901.23,' in reply.body
    assert b'"amount_fiat":0.30000001,' in post_payment(shop, amount_fiat=0.30000001, currency="BTC").body
    noisy = json.dumps({**BODY, "amount_fiat": 33.3 * 3}).encode()
    assert b"99.89999999999999" in noisy
    assert b'"amount_fiat":99.90,' in shop.post(NEW, noisy).body
    assert b'"amount_fiat":9000,' in post_payment(shop, amount_fiat=9000.0, currency="JPY").body
    assert post_payment(shop, amount_fiat=135.999).status == 422
    assert b'"amount_fiat":0.00005000,' in post_payment(shop, amount_fiat=5e-05, currency="BTC").body
    for number in (b"1.0e1", b"1e1", b"1e999999999", b"1e-999999999", b"1.0e-301", b'"1.0e1"', b'"5e-05"'):
        body = b'{"seller_id": "company1", "currency": "BTC", "amount_fiat": ' + number + b"}"
        assert shop.post(NEW, body).status == 422, number
    assert b'"amount_fiat":1000,' in post_payment(shop, amount_fiat="1000.00", currency="JPY").body


def test_missing_null_and_unknown_fields_are_accepted(shop: WebServer) -> None:
    """The Spellbook accepted them, too."""
    without = {name: value for name, value in BODY.items() if name != "note"}
    assert shop.post(NEW, without).json["note"] == ""
    assert posted_payment(shop, note=None)["note"] == ""
    assert posted_payment(shop, api_key="x", metadata=1)["status"] == "Created"


def test_a_new_seller_is_added_once(shop: WebServer) -> None:
    """It has no webhook, and a key that nobody knows. A refused request adds no seller."""
    assert post_payment(shop, seller_id="company7", currency="XXX").status == 422
    assert Seller.get_or_none(Seller.id == "company7") is None
    for _ in range(2):
        assert posted_payment(shop, seller_id="company7")["seller_id"] == "company7"
    seller = Seller.get(Seller.id == "company7")
    assert endpoints_of(seller) == []
    assert seller.created_at == NOW
    for name in ("a\0", "", " ", "a b", "../x", "x" * 65, "<b>", "a\nb"):
        reply = post_payment(shop, seller_id=name)
        assert (reply.status, list(reply.json)) == (422, ["error"])
    assert Seller.select().count() == 2


def test_a_removed_seller_is_refused(shop: WebServer) -> None:
    add_seller("gone", "nt_gone", removed_at=NOW)
    reply = post_payment(shop, seller_id="gone")
    assert (reply.status, reply.json) == (403, {"error": "the seller gone was removed"})


WORDS = {
    "new": "Created",
    "underpaid": "Insufficient amount received",
    "underpaid_dropped": "Insufficient amount received",
    "ending": "Created",
    "received": "Transaction received",
    "confirming": "2 of 6 confirmations",
    "confirmed": "Confirmed",
    "expired": "Expired",
    "expired_partly": "Expired",
    "expired_part": "Expired",
    "late": "Expired",
    "replaced": "Created",
    "dropped": "Created",
    "expired_replaced": "Expired",
    "expired_dropped": "Expired",
}


def test_each_status_has_the_spellbook_s_word(shop: WebServer) -> None:
    """This holds for each scene; a payment in the chain has its confirmations."""
    assert WORDS.keys() == SCENES.keys()
    shop.common_headers["Authorization"] = f"Bearer {KEY}"
    for scene, word in WORDS.items():
        made = create_in_scene(shop, scene)
        status = shop.get(f"{STATUS}?payment_request_id={made['payment_request_id']}").json
        assert status["status"] == word, scene
        assert status["confirmations"] == {"confirming": 2, "confirmed": 6}.get(scene, 0)


def test_an_overpayment_is_reported_until_it_is_in_a_block(shop: WebServer) -> None:
    """The Spellbook did the same; later the confirmations are reported."""
    made = posted_payment(shop)
    paid = {"received_sats": DUE_SATS + 1, "overpaid_sats": 1, "due_sats": 0, "txid": TXID}
    change(made, status="received", **paid)
    query = f"{STATUS}?payment_request_id={made['payment_request_id']}"
    assert shop.get(query).json["status"] == "Excess amount received"
    assert shop.get(query).json["txid"] == TXID
    change(made, status="confirming", covered_height=TIP)
    assert shop.get(query).json["status"] == "1 of 6 confirmations"


def test_a_status_can_be_requested_by_a_json_body_or_the_query(shop: WebServer) -> None:
    """The Spellbook's own client sends a body with GET."""
    made = posted_payment(shop)
    name = {"payment_request_id": made["payment_request_id"]}
    by_body = shop.call("GET", STATUS, name, {"Content-Type": "application/json"})
    by_query = shop.get(f"{STATUS}?payment_request_id={made['payment_request_id']}")
    assert by_body.json == by_query.json == made


def test_a_reported_transaction_is_only_stored_as_a_command(shop: WebServer) -> None:
    """Repeated calls return the unchanged request and store one command."""
    made = posted_payment(shop)
    report = {"payment_request_id": made["payment_request_id"], "txid": TXID}
    assert [shop.post(RECEIVED, report).json for _ in range(2)] == [made, made]
    assert [command.txid for command in DaemonCommand.select()] == [TXID]
    pay(made, TXID, DUE_SATS)
    change(made, status="received", received_sats=DUE_SATS, due_sats=0, txid=TXID)
    assert shop.post(RECEIVED, report).json["status"] == "Transaction received"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "error"),
    [
        ("POST", NEW, b"{", 400, "the body is not JSON"),
        ("POST", NEW, b"[]", 400, "the body must be a JSON object"),
        ("POST", NEW, b" " * 20_000, 413, "a body has at most"),
        ("POST", NEW, {}, 422, "seller_id: is required; currency: is required; amount_fiat: is required"),
        ("POST", NEW, {**BODY, "amount_fiat": True}, 422, "amount_fiat: must be a plain decimal number"),
        ("POST", NEW, {**BODY, "amount_fiat": -1}, 422, "amount_fiat: must be more than 0"),
        ("POST", NEW, {**BODY, "amount_fiat": float("nan")}, 400, "NaN is not JSON"),
        ("POST", NEW, {**BODY, "currency": ["EUR"]}, 422, "currency: must be text"),
        (
            "POST",
            NEW,
            {**BODY, "amount_fiat": 100, "currency": "ISK"},
            422,
            "currency: no rate source has ISK",
        ),
        ("GET", STATUS, None, 422, "payment_request_id: is required"),
        ("GET", STATUS, {"payment_request_id": 1}, 422, "payment_request_id: must be text"),
        ("GET", f"{STATUS}?payment_request_id=PR-x%00", None, 404, "Unknown payment request id"),
        ("GET", STATUS, {"payment_request_id": "PR-" + "x" * 22}, 404, "Unknown payment request id"),
        ("POST", RECEIVED, {}, 422, "txid: is required"),
        ("POST", RECEIVED, {"txid": TXID}, 422, "payment_request_id: is required"),
        ("POST", RECEIVED, {"txid": "x", "payment_request_id": "x"}, 422, "txid: must be a transaction id"),
        ("POST", RECEIVED, {"txid": TXID, "payment_request_id": "x"}, 404, "Unknown payment request id"),
    ],
)
def test_an_error_is_one_line(
    shop: WebServer, method: str, path: str, body: Any, status: int, error: str
) -> None:
    """It is the only field, and no request is created."""
    reply = shop.call(method, path, body)
    assert reply.status == status
    assert reply.headers["content-type"] == "application/json"
    assert list(reply.json) == ["error"]
    assert reply.json["error"].startswith(error)
    assert PaymentRequest.select().count() == DaemonCommand.select().count() == 0


def test_without_a_price_no_address_is_used(shop: WebServer) -> None:
    """It is 503 with Retry-After."""
    Rate.delete().execute()
    reply = post_payment(shop)
    assert (reply.status, list(reply.json)) == (503, ["error"])
    assert int(reply.headers["retry-after"]) > 0
    assert free_count() == 50


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Forwarded", "for=203.0.113.7"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Proto", "https"),
        ("X-Real-IP", "127.0.0.1"),
        ("Via", "1.1 proxy"),
        ("Origin", "https://evil.example"),
        ("Host", "pay.example.com"),
        ("Host", "localhost.evil.example"),
        ("Host", "[::1"),
    ],
)
def test_a_forwarded_call_needs_a_key(shop: WebServer, name: str, value: str) -> None:
    """A proxy on this machine has a loopback address, and so has a browser that a page misuses."""
    made = posted_payment(shop)
    query = f"{STATUS}?payment_request_id={made['payment_request_id']}"
    report = {"payment_request_id": made["payment_request_id"], "txid": TXID}
    for method, path, body in (("POST", NEW, BODY), ("GET", query, None), ("POST", RECEIVED, report)):
        reply = shop.call(method, path, body, {name: value})
        assert (reply.status, list(reply.json)) == (401, ["error"])
        assert reply.headers["www-authenticate"] == "Bearer"
        assert shop.call(method, path, body, {name: value, "Authorization": f"Bearer {KEY}"}).status == 200
    assert PaymentRequest.select().count() == 2


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1:8080", "127.0.1.1", "[::1]:8080"])
def test_a_local_shop_may_use_any_loopback_name(shop: WebServer, host: str) -> None:
    assert shop.post(NEW, BODY, {"Host": host}).status == 200


@pytest.mark.parametrize(
    ("address", "is_local"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:203.0.113.7", False),
        ("192.168.1.2", False),
        ("10.0.0.1", False),
        ("2001:db8::1", False),
        ("0.0.0.0", False),
        ("", False),
    ],
)
def test_only_a_loopback_address_needs_no_key(tmp_path: Path, address: str, *, is_local: bool) -> None:
    """Other machines need a key, also in the same network."""
    environ = {"REMOTE_ADDR": address, "HTTP_HOST": "localhost"}
    call = Request(load_settings({}, tmp_path), NOW, environ, Writers())
    if is_local:
        assert require_key_or_local(VIEW_INVOICES)(call) is None
    else:
        with pytest.raises(Problem, match="needs the header Authorization"):
            require_key_or_local(VIEW_INVOICES)(call)


def test_a_key_acts_only_for_its_seller_in_the_triggers(shop: WebServer) -> None:
    """A call with a key is limited to its seller, also on this machine. A wrong key is refused."""
    add_seller("company2", "nt_company2")
    made = posted_payment(shop)
    other = {"Authorization": "Bearer nt_company2"}
    assert shop.post(NEW, BODY, other).status == 403
    assert shop.post(NEW, {**BODY, "seller_id": "company9"}, other).status == 403
    query = f"{STATUS}?payment_request_id={made['payment_request_id']}"
    assert shop.get(query, other).status == 404
    assert (
        shop.post(RECEIVED, {"payment_request_id": made["payment_request_id"], "txid": TXID}, other).status
        == 404
    )
    assert shop.get(query, {"Authorization": "Bearer nt_wrong"}).status == 401
    assert DaemonCommand.select().count() == 0
