"""A payment request is made once, at a price that holds, and shown to its seller alone."""

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from models.address import Address, free_count
from models.command import ACCEPT, CANCEL, TRANSACTION, DaemonCommand
from models.payment import PaymentRequest
from models.rate import Rate, store_rates
from models.seller import Seller
from tests.support.web_server import BODY, KEY, NOW, WebServer, add_seller, open_shop, pay, stored

TXID = "ab" * 32


@pytest.fixture
def shop(tmp_path: Path, database_url: str) -> Iterator[WebServer]:
    """A shop on each kind of database."""
    with open_shop(tmp_path, database_url) as opened:
        yield opened


def test_a_new_request_has_all_that_the_contract_names(shop: WebServer) -> None:
    """The answer is 201 with the document of docs/spec.md 4, and the row agrees with it."""
    reply = shop.create(
        note="Alpaca socks\r\nblue",
        label="Socks & co",
        metadata={"order": 17, "weight": 1.5, "lines": [{"sku": "ä"}]},
        redirect_url="https://shop.example/thanks?order=17",
        confirmations=2,
        expires_in=600,
    )
    document = reply.json
    assert reply.status == 201
    assert reply.headers["location"] == f"/api/v1/payments/{document['payment_request_id']}"
    assert document == {
        "payment_request_id": document["payment_request_id"],
        "seller_id": "company1",
        "amount_fiat": "135.99",
        "currency": "EUR",
        "price_btc": "61146.30",
        "price_timestamp": int(NOW.timestamp()),
        "price_source": "bitpay, kraken",
        "amount_btc": "0.00222402",
        "amount_sats": 222_402,
        "address": "bcrt1q" + "0" * 38,
        "payment_uri": f"bitcoin:BCRT1Q{'0' * 38}?amount=0.00222402&label=Socks%20%26%20co",
        "checkout_url": f"http://127.0.0.1:8080/pay/{document['payment_request_id']}",
        "note": "Alpaca socks\nblue",
        "label": "Socks & co",
        "metadata": {"order": 17, "weight": 1.5, "lines": [{"sku": "ä"}]},
        "redirect_url": "https://shop.example/thanks?order=17",
        "status": "new",
        "confirmations": 0,
        "confirmations_required": 2,
        "received_sats": 0,
        "due_sats": 222_402,
        "overpaid_sats": 0,
        "late": False,
        "txid": None,
        "transactions": [],
        "created_at": "2026-11-23T12:00:00Z",
        "expires_at": "2026-11-23T12:10:00Z",
        "received_at": None,
        "confirmed_at": None,
    }
    row = stored(document)
    assert row.expires_at == row.reassess_at == NOW + timedelta(seconds=600)
    assert row.monitored_until == row.expires_at + timedelta(days=7)
    assert row.late_accepted_until is None
    assert row.address.claimed_at == NOW


def test_what_is_left_out_comes_from_the_settings(tmp_path: Path, database_url: str) -> None:
    """Expiry, confirmations, tolerance, spread, monitoring and late payments are the operator's."""
    environ = {
        "PAYMENT_EXPIRY": "5",
        "CONFIRMATIONS": "0",
        "UNDERPAYMENT_TOLERANCE": "1",
        "RATE_SPREAD": "0.5",
        "MONITORING_PERIOD": "60",
        "LATE_PAYMENTS": "accept",
        "PUBLIC_URL": "https://pay.example.com",
    }
    with open_shop(tmp_path, database_url, environ) as shop:
        document = shop.created(currency="JPY", amount_fiat=9000)
        row = stored(document)
    assert Decimal(document["price_btc"]) == Decimal(8_955_000)
    assert document["amount_sats"] == 100_503  # 9000 / 8955000, rounded up
    assert row.tolerance_sats == 1005
    assert document["confirmations_required"] == 0
    assert document["checkout_url"].startswith("https://pay.example.com/pay/PR-")
    assert row.expires_at == NOW + timedelta(seconds=5)
    assert row.late_accepted_until == row.monitored_until == NOW + timedelta(seconds=65)


@pytest.mark.parametrize(
    ("fields", "sats"),
    [
        ({"currency": "BTC", "amount_fiat": "0.00000546"}, 546),
        ({"currency": "SAT", "amount_fiat": 546}, 546),
        ({"currency": "BTC", "amount_fiat": "21000000"}, 21_000_000 * 10**8),
    ],
)
def test_bitcoin_and_satoshis_need_no_source(shop: WebServer, fields: dict[str, Any], sats: int) -> None:
    """An amount in bitcoin is what it is, without a spread, from the dust limit to all there is."""
    Rate.delete().execute()
    document = shop.created(**fields)
    assert document["amount_sats"] == sats
    assert document["price_source"] == "bitcoin"


def test_a_request_is_read_as_it_was_made(shop: WebServer) -> None:
    """GET gives the same document; HEAD the same headers and no body."""
    made = shop.created(note="¿qué?")
    path = f"/api/v1/payments/{made['payment_request_id']}"
    assert shop.get(path).json == made
    head = shop.call("HEAD", path)
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["content-length"]) > 0


def test_an_unchanged_request_is_304(shop: WebServer) -> None:
    """If-None-Match with its ETag, alone, weak, in a list or as *: 304 and no body; 200 once it changed."""
    made = shop.created()
    path = f"/api/v1/payments/{made['payment_request_id']}"
    tag = shop.get(path).headers["etag"]
    for condition in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        reply = shop.get(path, {"If-None-Match": condition})
        assert (reply.status, reply.body, reply.headers["etag"]) == (304, b"", tag)
    assert shop.get(path, {"If-None-Match": '"other"'}).status == 200

    PaymentRequest.update(status="received").execute()
    assert shop.get(path, {"If-None-Match": tag}).status == 200


def test_the_same_key_and_body_is_the_same_request(shop: WebServer) -> None:
    """A repeat is 200 with the request as it is by now, and no address is used up, prices or not."""
    first = shop.create(key="order 17", note="a", metadata={"a": 1, "b": 2}).json
    Rate.delete().execute()
    repeat = shop.post(
        "/api/v1/payments",
        b' {"metadata":{"b":2,"a":1},"note":"\\u0061","currency":"EUR",'
        b'"amount_fiat":"135.99","seller_id":"company1"}\n',
        {"Idempotency-Key": "order 17"},
    )
    assert (repeat.status, repeat.json) == (200, first)
    assert repeat.headers["location"].endswith(first["payment_request_id"])
    assert PaymentRequest.select().count() == 1
    assert free_count() == 49


def test_the_same_key_with_another_body_is_refused(shop: WebServer) -> None:
    """422, and the first request stays as it is."""
    shop.create(key="k", note="a")
    reply = shop.create(key="k", note="b")
    assert reply.status == 422
    assert reply.json["type"].endswith("idempotency-key-reused")
    assert PaymentRequest.select().count() == 1


def test_a_key_is_its_sellers_own(shop: WebServer) -> None:
    """Two sellers may happen to use the same Idempotency-Key."""
    add_seller("company2", "nt_company2")
    shop.create(key="k")
    other = shop.post(
        "/api/v1/payments",
        {**BODY, "seller_id": "company2"},
        {"Idempotency-Key": "k", "Authorization": "Bearer nt_company2"},
    )
    assert other.status == 201


@pytest.mark.parametrize("key", ["", "x" * 256, "k\tk", "ü"])
def test_a_strange_idempotency_key_is_refused(shop: WebServer, key: str) -> None:
    """1 to 255 printable ASCII characters."""
    assert shop.create(key=key).status == 400


def test_without_a_fresh_price_nothing_is_used_up(shop: WebServer) -> None:
    """Rates that are too old: 503 with Retry-After, no address claimed, no request made."""
    shop.wait(seconds=601)
    reply = shop.create()
    assert reply.status == 503
    assert int(reply.headers["retry-after"]) > 0
    assert reply.json["type"].endswith("no-price")
    assert free_count() == 50
    assert PaymentRequest.select().count() == 0


def test_sources_that_disagree_make_no_price(shop: WebServer) -> None:
    """Two that are more than 5 % apart, with no third."""
    store_rates("bitpay", {"EUR": Decimal(70_000)}, NOW)
    assert shop.create().status == 503


def test_a_currency_that_no_source_has_is_a_fault_of_the_body(shop: WebServer) -> None:
    """422 that names those which have a price."""
    reply = shop.create(currency="ISK", amount_fiat="100")
    assert reply.status == 422
    assert reply.json["errors"][0]["field"] == "currency"
    assert "EUR, JPY, BTC, SAT" in reply.json["errors"][0]["message"]


def test_with_the_pool_empty_nothing_is_used_up(shop: WebServer) -> None:
    """503 with Retry-After, and the same Idempotency-Key works once there is an address again."""
    Address.update(claimed_at=NOW).execute()
    reply = shop.create(key="k")
    assert reply.status == 503
    assert int(reply.headers["retry-after"]) > 0
    assert reply.json["type"].endswith("no-address")
    Address.update(claimed_at=None).execute()
    assert shop.create(key="k").status == 201


def test_a_hint_changes_nothing_but_is_left_for_the_daemon(shop: WebServer) -> None:
    """202 with the request as it was; the same txid twice, in capitals too, is one hint."""
    made = shop.created()
    path = f"/api/v1/payments/{made['payment_request_id']}/transactions"
    for txid in (TXID, TXID.upper()):
        reply = shop.post(path, {"txid": txid})
        assert (reply.status, reply.json) == (202, made)
    hint = DaemonCommand.get()
    assert hint.payment is not None
    assert (hint.kind, hint.txid, hint.payment.reference) == (TRANSACTION, TXID, made["payment_request_id"])


@pytest.mark.parametrize(
    "body", [{}, {"txid": 1}, {"txid": "ab"}, {"txid": TXID + "\n"}, {"txid": TXID, "x": 1}]
)
def test_a_hint_needs_a_txid_and_nothing_else(shop: WebServer, body: dict[str, Any]) -> None:
    """422, and no hint."""
    made = shop.created()
    reply = shop.post(f"/api/v1/payments/{made['payment_request_id']}/transactions", body)
    assert reply.status == 422
    assert DaemonCommand.select().count() == 0


def test_hints_without_end_are_refused(shop: WebServer) -> None:
    """The hundred-and-first that waits: 429 with Retry-After; other sellers go on."""
    made = shop.created()
    row = stored(made)
    DaemonCommand.insert_many(
        [{"kind": TRANSACTION, "payment": row, "txid": f"{n:064x}", "created_at": NOW} for n in range(100)]
    ).execute()
    for call, body in (("transactions", {"txid": TXID}), ("cancel", None)):
        reply = shop.post(f"/api/v1/payments/{row.reference}/{call}", body)
        assert reply.status == 429
        assert int(reply.headers["retry-after"]) > 0


def test_late_money_is_accepted_once(shop: WebServer) -> None:
    """409 while it is not late; then 200, however often, and one wish for the daemon."""
    made = shop.created()
    path = f"/api/v1/payments/{made['payment_request_id']}/accept"
    refused = shop.post(path)
    assert refused.status == 409
    assert refused.json["type"].endswith("not-late")

    PaymentRequest.update(status="expired", is_late=True).execute()
    assert [shop.post(path).status for _ in range(2)] == [200, 200]
    assert [hint.kind for hint in DaemonCommand.select()] == [ACCEPT]

    DaemonCommand.delete().execute()
    PaymentRequest.update(late_accepted_at=NOW, status="received").execute()
    assert shop.post(path).json["status"] == "received"
    assert DaemonCommand.select().count() == 0


def test_a_request_is_cancelled_once(shop: WebServer) -> None:
    """202 until the daemon has cancelled it, then 200. 409 names the reason why it cannot be cancelled."""
    made = shop.created()
    path = f"/api/v1/payments/{made['payment_request_id']}/cancel"
    replies = [shop.post(path) for _ in range(2)]
    assert [reply.status for reply in replies] == [202, 202]
    assert replies[0].json["status"] == "new"
    assert [command.kind for command in DaemonCommand.select()] == [CANCEL]

    DaemonCommand.delete().execute()
    PaymentRequest.update(status="expired", cancelled_at=NOW, expires_at=NOW).execute()
    assert (shop.post(path).status, shop.post(path).json["status"]) == (200, "expired")
    PaymentRequest.update(cancelled_at=None).execute()
    assert "it has expired already" in shop.post(path).json["detail"]
    PaymentRequest.update(status="underpaid", received_sats=1).execute()
    refused = shop.post(path)
    assert (refused.status, refused.json["type"]) == (409, "urn:nodetill:problem:not-cancellable")
    assert "money has come to it, and it is underpaid" in refused.json["detail"]
    assert DaemonCommand.select().count() == 0


def test_a_request_whose_time_is_over_is_not_cancelled(shop: WebServer) -> None:
    """The daemon may not have stored the expiry yet."""
    path = f"/api/v1/payments/{shop.created()['payment_request_id']}/cancel"
    shop.wait(minutes=15)
    assert shop.post(path).status == 409


def test_transactions_are_shown_with_their_depth(shop: WebServer) -> None:
    """Confirmations are counted at the tip that the status was worked out at."""
    made = shop.created()
    pay(made, TXID, 222_402, state="mined", block_hash="00" * 32, block_height=906_999)
    PaymentRequest.update(status="confirming", covered_height=906_999).execute()
    document = shop.get(f"/api/v1/payments/{made['payment_request_id']}").json
    assert document["confirmations"] == 2
    assert [(part["txid"], part["confirmations"]) for part in document["transactions"]] == [(TXID, 2)]


def test_a_key_acts_for_its_seller_alone(shop: WebServer) -> None:
    """Another's request is the same 404 as one that is missing; another's name in a body is 403."""
    add_seller("company2", "nt_company2")
    other = {"Authorization": "Bearer nt_company2"}
    path = f"/api/v1/payments/{shop.created()['payment_request_id']}"
    missing = shop.get("/api/v1/payments/PR-" + "x" * 22)
    for reply in (
        shop.get(path, other),
        shop.get(f"{path}/events", other),
        shop.post(f"{path}/accept", None, other),
        shop.post(f"{path}/cancel", None, other),
        shop.post(f"{path}/transactions", {"txid": TXID}, other),
    ):
        assert reply.status == 404
        assert reply.json == missing.json
    assert shop.get("/api/v1/payments", other).json["data"] == []

    for name in ("company1", "nobody"):
        assert shop.post("/api/v1/payments", {**BODY, "seller_id": name}, other).status == 403
    assert PaymentRequest.select().count() == 1


@pytest.mark.parametrize(
    "credentials",
    [
        None,
        "",
        "Bearer",
        "Bearer nt_wrong",
        f"Basic {KEY}",
        KEY,
        f"Bearer {KEY} {KEY}",
        f"Bearer {KEY}\xff",
        "Bearer nt_gone",
    ],
)
def test_without_a_good_key_nothing_is_told(shop: WebServer, credentials: str | None) -> None:
    """401 with WWW-Authenticate, on every call that needs a key; a removed seller's key is no key."""
    add_seller("gone", "nt_gone", removed_at=NOW)
    for method, path in (("POST", "/api/v1/payments"), ("GET", "/api/v1/payments"), ("GET", "/api/v1/rates")):
        reply = shop.call(method, path, b"{", {"Authorization": credentials})
        assert reply.status == 401
        assert reply.headers["www-authenticate"].startswith("Bearer")
        assert reply.json["status"] == 401


def test_a_previous_key_opens_the_api_until_its_time(shop: WebServer) -> None:
    """The web server's clock decides. Both keys are the same seller's."""
    made = shop.created()
    new = {"Authorization": "Bearer nt_new"}
    Seller.update(
        api_key_hash=hashlib.sha256(b"nt_new").hexdigest(),
        previous_api_key_hash=hashlib.sha256(KEY.encode()).hexdigest(),
        previous_api_key_until=shop.now + timedelta(hours=1),
    ).execute()
    path = f"/api/v1/payments/{made['payment_request_id']}"
    assert [shop.get(path).status, shop.get(path, new).status] == [200, 200]
    shop.wait(hours=1)
    assert [shop.get(path).status, shop.get(path, new).status] == [401, 200]
