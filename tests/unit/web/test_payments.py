"""A payment request is created once, at a fixed price, and shown only to its seller."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from models.address import Address, free_count
from models.api_key import USE_NOTED_EVERY, ApiKey, keys_of, revoke
from models.command import ACCEPT_LATE, CANCEL, CHECK_TRANSACTION, DaemonCommand
from models.payment import PaymentRequest, cancel_payments, payment_by_idempotency_key
from models.rate import Rate, store_rates
from payments.greenfield.permissions import CREATE_INVOICES, MODIFY_INVOICES, VIEW_INVOICES
from tests.support.checkout_scenes import SCENES, create_in_scene
from tests.support.web_server import (
    BODY,
    KEY,
    NOW,
    WebServer,
    add_seller,
    give_key,
    open_shop,
    pay,
    stored,
)

TXID = "ab" * 32


@pytest.fixture
def shop(tmp_path: Path, database_url: str) -> Iterator[WebServer]:
    """Serve a web server on each kind of database."""
    with open_shop(tmp_path, database_url) as opened:
        yield opened


def test_a_new_request_has_all_fields_of_the_contract(shop: WebServer) -> None:
    """It is 201 with the document of docs/spec.md 4, and the row agrees with it."""
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
        "network": "main",
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
        "order_id": None,
        "note": "Alpaca socks\nblue",
        "label": "Socks & co",
        "metadata": {"order": 17, "weight": 1.5, "lines": [{"sku": "ä"}]},
        "link_id": None,
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


def test_optional_fields_default_to_the_settings(tmp_path: Path, database_url: str) -> None:
    """The operator sets expiry, confirmations, tolerance, spread, monitoring and late payments."""
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


def test_a_request_needs_at_least_the_operators_confirmations(tmp_path: Path, database_url: str) -> None:
    with open_shop(tmp_path, database_url, {"CONFIRMATIONS_MINIMUM": "3"}) as shop:
        made = [shop.created(confirmations=asked)["confirmations_required"] for asked in (0, 3, 7)]
    assert made == [3, 3, 7]


@pytest.mark.parametrize(
    ("fields", "sats"),
    [
        ({"currency": "BTC", "amount_fiat": "0.00000546"}, 546),
        ({"currency": "SAT", "amount_fiat": 546}, 546),
        ({"currency": "BTC", "amount_fiat": "21000000"}, 21_000_000 * 10**8),
    ],
)
def test_amounts_in_bitcoin_need_no_rate_source(shop: WebServer, fields: dict[str, Any], sats: int) -> None:
    """They have no spread, and reach from the dust limit to all bitcoin."""
    Rate.delete().execute()
    document = shop.created(**fields)
    assert document["amount_sats"] == sats
    assert document["price_source"] == "bitcoin"


def test_a_request_is_read_as_it_was_created(shop: WebServer) -> None:
    """HEAD has the same headers and no body."""
    made = shop.created(note="¿qué?")
    path = f"/api/v1/payments/{made['payment_request_id']}"
    assert shop.get(path).json == made
    head = shop.call("HEAD", path)
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["content-length"]) > 0


def test_an_unchanged_request_is_304(shop: WebServer) -> None:
    """If-None-Match may have its ETag alone, weak, in a list, or *."""
    made = shop.created()
    path = f"/api/v1/payments/{made['payment_request_id']}"
    tag = shop.get(path).headers["etag"]
    for condition in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        reply = shop.get(path, {"If-None-Match": condition})
        assert (reply.status, reply.body, reply.headers["etag"]) == (304, b"", tag)
    assert shop.get(path, {"If-None-Match": '"other"'}).status == 200

    PaymentRequest.update(status="received").execute()
    assert shop.get(path, {"If-None-Match": tag}).status == 200


def test_the_same_key_and_body_return_the_same_request(shop: WebServer) -> None:
    """It is 200 with the present document. It needs no price, and uses no address."""
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
    """The first request does not change."""
    made = shop.create(key="k", note="a").json
    reply = shop.create(key="k", note="b")
    assert reply.status == 422
    problem = reply.json
    assert problem["type"].endswith("idempotency-key-reused")
    assert problem["title"] == "Idempotency-Key of another request"
    assert (problem["payment_request_id"], problem["payment_status"]) == (made["payment_request_id"], "new")
    assert (
        f"{made['payment_request_id']}, whose body was different and whose status is new;"
        in problem["detail"]
    )
    assert PaymentRequest.select().count() == 1


def test_the_key_of_a_request_that_expired_unpaid_is_refused(shop: WebServer) -> None:
    """422 names that request and its status, and a new key works. Only the daemon decides that it expired."""
    made = shop.create(key="order-4711").json
    shop.wait(hours=2)
    store_rates("kraken", {"EUR": Decimal(61_000)}, shop.now)
    store_rates("bitpay", {}, shop.now)
    assert shop.create(key="order-4711").status == 200
    PaymentRequest.update(status="expired").execute()
    reply = shop.create(key="order-4711")
    assert reply.status == 422
    problem = reply.json
    assert problem["type"] == "urn:nodetill:problem:idempotency-key-expired"
    assert (problem["payment_request_id"], problem["payment_status"]) == (
        made["payment_request_id"],
        "expired",
    )
    assert problem["detail"] == (
        f"the request {made['payment_request_id']} of this Idempotency-Key has the status expired, and no "
        "money came for it; send a new key, such as order-4711-2"
    )
    assert shop.create(key="order-4711-2").status == 201
    assert shop.create(key="order-4711", note="b").json["type"].endswith("idempotency-key-reused")


def test_the_key_of_a_cancelled_request_is_refused(shop: WebServer) -> None:
    """It expired without money, like any other such request."""
    made = shop.create(key="order-4711").json
    cancel_payments(list(PaymentRequest.select()), shop.now, shop.now)
    PaymentRequest.update(status="expired").execute()
    reply = shop.create(key="order-4711")
    assert (reply.status, reply.json["payment_request_id"]) == (422, made["payment_request_id"])
    assert reply.json["type"] == "urn:nodetill:problem:idempotency-key-expired"


@pytest.mark.parametrize("scene", sorted(SCENES.keys() - {"expired"}))
def test_the_key_of_a_request_that_money_came_to_stays_valid(shop: WebServer, scene: str) -> None:
    """This holds for late money, too little money, and lost money, so nobody pays twice."""
    made = create_in_scene(shop, scene, key="order-4711")
    reply = shop.create(key="order-4711")
    assert reply.status == 200
    assert reply.json["payment_request_id"] == made["payment_request_id"]


def test_a_payment_between_two_reads_is_found(shop: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key was read as expired without money, and then money comes."""
    made = shop.create(key="k").json
    PaymentRequest.update(status="expired").execute()

    def find(seller_id: str, key: str) -> PaymentRequest | None:
        found = payment_by_idempotency_key(seller_id, key)
        pay(made, TXID)
        return found

    monkeypatch.setattr("web.api.create_payment.payment_by_idempotency_key", find)
    assert shop.create(key="k").status == 200


def test_the_key_names_the_seller(shop: WebServer) -> None:
    """`seller_id` may be left out or null. A body with it and a body without it are the same body."""
    body = {name: value for name, value in BODY.items() if name != "seller_id"}
    made = shop.post("/api/v1/payments", body, {"Idempotency-Key": "k"})
    assert (made.status, made.json["seller_id"]) == (201, "company1")
    for seller_id in ("company1", None):
        again = shop.create(key="k", seller_id=seller_id)
        assert (again.status, again.json) == (200, made.json)
    assert shop.create(key="k", seller_id="company2").status == 403


def test_two_sellers_may_use_the_same_key(shop: WebServer) -> None:
    add_seller("company2", "nt_company2")
    shop.create(key="k")
    other = shop.post(
        "/api/v1/payments",
        {**BODY, "seller_id": "company2"},
        {"Idempotency-Key": "k", "Authorization": "Bearer nt_company2"},
    )
    assert other.status == 201


@pytest.mark.parametrize("key", ["", "x" * 256, "k\tk", "ü"])
def test_an_invalid_idempotency_key_is_refused(shop: WebServer, key: str) -> None:
    """A key has 1 to 255 printable ASCII characters."""
    assert shop.create(key=key).status == 400


def test_without_a_fresh_price_no_address_is_used(shop: WebServer) -> None:
    """It is 503 with Retry-After."""
    shop.wait(seconds=601)
    reply = shop.create()
    assert reply.status == 503
    assert int(reply.headers["retry-after"]) > 0
    assert reply.json["type"].endswith("no-price")
    assert free_count() == 50
    assert PaymentRequest.select().count() == 0


def test_sources_that_disagree_give_no_price(shop: WebServer) -> None:
    """Two of them differ by more than 5 %, and there is no third."""
    store_rates("bitpay", {"EUR": Decimal(70_000)}, NOW)
    assert shop.create().status == 503


def test_a_currency_without_a_source_is_422(shop: WebServer) -> None:
    """The message names the currencies that have a price."""
    reply = shop.create(currency="ISK", amount_fiat="100")
    assert reply.status == 422
    assert reply.json["errors"][0]["field"] == "currency"
    assert "EUR, JPY, BTC, SAT" in reply.json["errors"][0]["message"]


def test_with_an_empty_pool_the_key_can_be_used_again(shop: WebServer) -> None:
    """It is 503 with Retry-After, and the same Idempotency-Key works once an address is free."""
    Address.update(claimed_at=NOW).execute()
    reply = shop.create(key="k")
    assert reply.status == 503
    assert int(reply.headers["retry-after"]) > 0
    assert reply.json["type"].endswith("no-address")
    Address.update(claimed_at=None).execute()
    assert shop.create(key="k").status == 201


def test_a_posted_txid_is_only_stored_as_a_command(shop: WebServer) -> None:
    """It is 202 with the unchanged request. The same txid twice, in capitals too, is one command."""
    made = shop.created()
    path = f"/api/v1/payments/{made['payment_request_id']}/transactions"
    for txid in (TXID, TXID.upper()):
        reply = shop.post(path, {"txid": txid})
        assert (reply.status, reply.json) == (202, made)
    command = DaemonCommand.get()
    assert command.payment is not None
    assert (command.kind, command.txid, command.payment.reference) == (
        CHECK_TRANSACTION,
        TXID,
        made["payment_request_id"],
    )


@pytest.mark.parametrize(
    "body", [{}, {"txid": 1}, {"txid": "ab"}, {"txid": TXID + "\n"}, {"txid": TXID, "x": 1}]
)
def test_a_posted_transaction_needs_exactly_a_txid(shop: WebServer, body: dict[str, Any]) -> None:
    """Any other body is 422 and stores no command."""
    made = shop.created()
    reply = shop.post(f"/api/v1/payments/{made['payment_request_id']}/transactions", body)
    assert reply.status == 422
    assert DaemonCommand.select().count() == 0


def test_the_number_of_waiting_transaction_checks_is_limited(shop: WebServer) -> None:
    """With a hundred waiting commands it is 429 with Retry-After. Other sellers are not affected."""
    made = shop.created()
    row = stored(made)
    DaemonCommand.insert_many(
        [
            {"kind": CHECK_TRANSACTION, "payment": row, "txid": f"{n:064x}", "created_at": NOW}
            for n in range(100)
        ]
    ).execute()
    for call, body in (("transactions", {"txid": TXID}), ("cancel", None)):
        reply = shop.post(f"/api/v1/payments/{row.reference}/{call}", body)
        assert reply.status == 429
        assert int(reply.headers["retry-after"]) > 0


def test_late_money_is_accepted_once(shop: WebServer) -> None:
    """It is 409 for money that is not late. Repeated calls are 200 and store one command."""
    made = shop.created()
    path = f"/api/v1/payments/{made['payment_request_id']}/accept"
    refused = shop.post(path)
    assert refused.status == 409
    assert refused.json["type"].endswith("not-late")

    PaymentRequest.update(status="expired", is_late=True).execute()
    assert [shop.post(path).status for _ in range(2)] == [200, 200]
    assert [command.kind for command in DaemonCommand.select()] == [ACCEPT_LATE]

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
    """Confirmations are counted at the tip of the last assessment."""
    made = shop.created()
    pay(made, TXID, 222_402, state="mined", block_hash="00" * 32, block_height=906_999)
    PaymentRequest.update(status="confirming", covered_height=906_999).execute()
    document = shop.get(f"/api/v1/payments/{made['payment_request_id']}").json
    assert document["confirmations"] == 2
    assert [(part["txid"], part["confirmations"]) for part in document["transactions"]] == [(TXID, 2)]


def test_a_key_acts_only_for_its_seller(shop: WebServer) -> None:
    """Another seller's request and a missing one have the same 404.

    Another seller's name in a body is 403.
    """
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
def test_without_a_valid_key_each_call_is_401(shop: WebServer, credentials: str | None) -> None:
    """The key of a removed seller is not valid."""
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
    ApiKey.update(expires_at=shop.now + timedelta(hours=1)).execute()
    give_key("company1", "nt_new")
    path = f"/api/v1/payments/{made['payment_request_id']}"
    assert [shop.get(path).status, shop.get(path, new).status] == [200, 200]
    shop.wait(hours=1)
    assert [shop.get(path).status, shop.get(path, new).status] == [401, 200]


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "token", "Token", "TOKEN", "token  "])
def test_a_key_comes_with_either_scheme_in_any_case(shop: WebServer, scheme: str) -> None:
    """`token` is the scheme of BTCPay's clients."""
    assert shop.get("/api/v1/rates", {"Authorization": f"{scheme} {KEY}"}).status == 200


def test_a_key_may_do_only_what_its_permissions_allow(shop: WebServer) -> None:
    """The problem names the missing permission and the key, and nothing is done."""
    payment = f"/api/v1/payments/{shop.created()['payment_request_id']}"
    calls = [
        (CREATE_INVOICES, "POST", "/api/v1/payments"),
        (VIEW_INVOICES, "GET", payment),
        (VIEW_INVOICES, "GET", "/api/v1/payments"),
        (VIEW_INVOICES, "GET", f"{payment}/events"),
        (VIEW_INVOICES, "GET", "/api/v1/rates"),
        (MODIFY_INVOICES, "POST", f"{payment}/transactions"),
        (MODIFY_INVOICES, "POST", f"{payment}/accept"),
        (MODIFY_INVOICES, "POST", f"{payment}/events/evt_x/redeliver"),
        (MODIFY_INVOICES, "POST", f"{payment}/cancel"),
    ]
    implied = {MODIFY_INVOICES: {CREATE_INVOICES, VIEW_INVOICES, MODIFY_INVOICES}}
    for number, has in enumerate(([], [CREATE_INVOICES], [VIEW_INVOICES], [MODIFY_INVOICES])):
        key = give_key("company1", f"nt_{number}", permissions=has)
        allowed = {each for policy in has for each in implied.get(policy, {policy})}
        for policy, method, path in calls:
            reply = shop.call(method, path, BODY if path.endswith("payments") else {}, _with(number))
            assert (reply.status != 403) == (policy in allowed), (has, path)
            if reply.status == 403:
                assert reply.json["type"] == "urn:nodetill:problem:missing-permission"
                assert reply.json["missing_permission"] == policy
                assert policy in reply.json["detail"]
                assert key.reference in reply.json["detail"]
    assert PaymentRequest.select().count() == 3


def _with(number: int) -> dict[str, str]:
    return {"Authorization": f"token nt_{number}"}


def test_the_last_use_of_a_key_is_kept(shop: WebServer) -> None:
    """Most calls write nothing. A call without permission is a use, too."""
    give_key("company1", "nt_0", permissions=[])
    shop.get("/api/v1/rates")
    shop.wait(minutes=9)
    shop.get("/api/v1/rates")
    shop.get("/api/v1/rates", _with(0))
    assert [key.last_used_at for key in keys_of("company1")] == [NOW, NOW + timedelta(minutes=9)]
    shop.wait(minutes=1)
    shop.get("/api/v1/rates")
    assert keys_of("company1")[0].last_used_at == NOW + USE_NOTED_EVERY


def test_a_revoked_key_is_401_at_once(shop: WebServer) -> None:
    """The seller's other keys go on working."""
    give_key("company1", "nt_0")
    revoke(keys_of("company1")[0], NOW)
    assert [shop.get("/api/v1/rates", headers).status for headers in ({}, _with(0))] == [401, 200]
