"""BTCPay's Greenfield API accepts the calls of its clients, and responds in the forms that they read."""

import json
import socket
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from models.api_key import ApiKey
from models.daemon_status import DaemonReport, update_report
from payments.greenfield.permissions import (
    CREATE_INVOICES,
    MODIFY_INVOICES,
    MODIFY_STORE,
    MODIFY_WEBHOOKS,
    POLICIES,
    VIEW_INVOICES,
    VIEW_STORE,
)
from tests.conftest import NewDatabase
from tests.support.greenfield import NOBODY, ORDER, STORE, Plugin, code, good, paths
from tests.support.needs import cases
from tests.support.web_server import KEY, NOW, TIP, WebServer, add_seller, give_key, open_shop
from web.greenfield.paths import is_greenfield, spelled

pytestmark = pytest.mark.one_database

REFUNDS = "btcpay.store.cancreatenonapprovedpullpayments"


@pytest.fixture(scope="module")
def shop(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    """Serve one web server for all tests of this module, with a second seller."""
    directory = tmp_path_factory.mktemp("shop")
    with open_shop(directory, new_database(directory), addresses=2000) as opened:
        add_seller("company2", "nt_company2")
        yield opened


@pytest.fixture(scope="module")
def plugin(shop: WebServer) -> Plugin:
    return Plugin(shop)


# Paths


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/stores/company1/invoices",
        "/api/v1/stores/company1/invoices/",
        "//api/v1/stores/company1/invoices",
        "/API/V1/Stores/company1/Invoices",
        "/Api/v1/STORES/company1/INVOICES/?take=1",
    ],
)
def test_a_path_has_any_case_and_superfluous_slashes(plugin: Plugin, path: str) -> None:
    """Nodetill does not redirect, because curl in BTCPay's PHP library follows no redirect."""
    good(plugin.call("GET", path))


def test_ids_keep_their_case() -> None:
    assert spelled("/API/v1/Stores/ShopA/Invoices/PR-aB/Payment-Methods/") == (
        "/api/v1/stores/ShopA/invoices/PR-aB/payment-methods"
    )
    assert spelled("/api/v1/Api-Keys/Current") == "/api/v1/api-keys/current"
    assert spelled("/Api/V1/Server/Info") == "/api/v1/server/info"
    assert spelled("/api/v1/webhooks/wh_aB/Deliveries/dl_aB/Request") == (
        "/api/v1/webhooks/wh_aB/deliveries/dl_aB/request"
    )


@pytest.mark.parametrize("path", ["/api/v1/payments/", "/API/v1/payments", "/Health", "/", "/api/v1", "//"])
def test_other_paths_stay_as_they_are(path: str) -> None:
    assert spelled(path) == path
    assert not is_greenfield(path)


def test_the_case_of_a_store_id_matters(plugin: Plugin) -> None:
    assert code(plugin.call("GET", "/stores/Company1"), 403) == "missing-permission"


# Keys and permissions


@pytest.mark.parametrize("credentials", [f"token {KEY}", f"Token {KEY}", f"Bearer {KEY}", f"BEARER {KEY}"])
def test_a_key_is_accepted_with_both_schemes_in_any_case(plugin: Plugin, credentials: str) -> None:
    good(plugin.call("GET", "/stores", Authorization=credentials))


@pytest.mark.parametrize("credentials", [None, "token nt_unknown", "token", KEY, "Basic YTpi", "token a b"])
def test_without_a_key_is_401(plugin: Plugin, credentials: str | None) -> None:
    for path in ("/stores", f"/stores/{STORE}/invoices", "/server/info", "/api-keys/current"):
        assert code(plugin.call("GET", path, Authorization=credentials), 401) == "unauthenticated"
    assert code(plugin.call("GET", f"/stores?token={KEY}", Authorization=None), 401) == "unauthenticated"


NEEDS = [
    ("GET", "/stores", VIEW_STORE),
    ("GET", f"/stores/{STORE}", VIEW_STORE),
    ("GET", f"/stores/{STORE}/payment-methods", VIEW_STORE),
    ("GET", f"/stores/{STORE}/payment-methods?includeConfig=true", MODIFY_STORE),
    ("GET", f"/stores/{STORE}/payment-methods/BTC-CHAIN", VIEW_STORE),
    ("POST", f"/stores/{STORE}/invoices", CREATE_INVOICES),
    ("GET", f"/stores/{STORE}/invoices", VIEW_INVOICES),
    ("GET", f"/stores/{STORE}/invoices/PR-x", VIEW_INVOICES),
    ("GET", f"/stores/{STORE}/invoices/PR-x/payment-methods", VIEW_INVOICES),
    ("PUT", f"/stores/{STORE}/invoices/PR-x", MODIFY_INVOICES),
    ("DELETE", f"/stores/{STORE}/invoices/PR-x", MODIFY_INVOICES),
    ("POST", f"/stores/{STORE}/invoices/PR-x/status", MODIFY_INVOICES),
    ("POST", f"/stores/{STORE}/invoices/PR-x/unarchive", MODIFY_INVOICES),
    ("GET", "/invoices/PR-x", VIEW_INVOICES),
    ("POST", "/invoices/PR-x/status", MODIFY_INVOICES),
    ("GET", f"/stores/{STORE}/webhooks", MODIFY_WEBHOOKS),
    ("POST", f"/stores/{STORE}/webhooks", MODIFY_WEBHOOKS),
    ("GET", f"/stores/{STORE}/webhooks/wh_x", MODIFY_WEBHOOKS),
    ("PUT", f"/stores/{STORE}/webhooks/wh_x", MODIFY_WEBHOOKS),
    ("DELETE", f"/stores/{STORE}/webhooks/wh_x", MODIFY_WEBHOOKS),
    ("GET", f"/stores/{STORE}/webhooks/wh_x/deliveries", MODIFY_WEBHOOKS),
    ("GET", f"/stores/{STORE}/webhooks/wh_x/deliveries/dl_x", MODIFY_WEBHOOKS),
    ("GET", f"/stores/{STORE}/webhooks/wh_x/deliveries/dl_x/request", MODIFY_WEBHOOKS),
    ("POST", f"/stores/{STORE}/webhooks/wh_x/deliveries/dl_x/redeliver", MODIFY_WEBHOOKS),
    ("GET", "/webhooks/wh_x", MODIFY_WEBHOOKS),
]
WIDER = {
    VIEW_INVOICES: {MODIFY_INVOICES, VIEW_STORE, MODIFY_STORE},
    CREATE_INVOICES: {MODIFY_INVOICES, MODIFY_STORE},
    MODIFY_INVOICES: {MODIFY_STORE},
    VIEW_STORE: {MODIFY_STORE},
    MODIFY_WEBHOOKS: {MODIFY_STORE},
    MODIFY_STORE: set(),
}


@pytest.mark.parametrize(("method", "path", "policy"), NEEDS, ids=lambda value: str(value))
def test_a_call_needs_its_permission(shop: WebServer, method: str, path: str, policy: str) -> None:
    """403 names the missing permission, without the store."""
    others = [each for each in POLICIES if each != policy and each not in WIDER[policy]]
    key = f"nt_{abs(hash((method, path)))}"
    give_key(STORE, key, permissions=others)
    reply = Plugin(shop, key).call(method, path, {} if method != "GET" else None)
    assert code(reply, 403) == "missing-permission"
    assert reply.json["missingPermission"] in (policy, VIEW_STORE)
    only = f"{key}only"
    give_key(STORE, only, permissions=[policy])
    allowed = Plugin(shop, only).call(method, path, {} if method != "GET" else None)
    is_absent = allowed.status == 403 and path.startswith(("/invoices/", "/webhooks/"))
    assert is_absent or allowed.status in (200, 404, 422), allowed.body


def test_any_other_store_gets_403(plugin: Plugin) -> None:
    for method, path, policy in NEEDS:
        for store in ("company2", "nobody", "PR-x", "a.b"):
            if STORE in path:
                reply = plugin.call(method, path.replace(STORE, store), {} if method != "GET" else None)
                assert code(reply, 403) == "missing-permission"
                expected = VIEW_STORE if "includeConfig" in path else policy
                assert reply.json["missingPermission"] == expected


def test_an_invoice_of_another_store_is_unknown(shop: WebServer, plugin: Plugin) -> None:
    """With the own store in the path it gets 404, and without a store 403, as an unknown invoice does."""
    foreign = Plugin(shop, "nt_company2", "company2").create()["id"]
    for invoice in (foreign, "PR-" + "x" * 22, "x"):
        assert code(plugin.of_store("GET", f"/invoices/{invoice}"), 404) == "invoice-not-found"
        assert code(plugin.of_store("DELETE", f"/invoices/{invoice}"), 404) == "invoice-not-found"
        assert code(plugin.call("GET", f"/invoices/{invoice}"), 403) == "missing-permission"
        assert code(plugin.call("GET", f"/webhooks/{invoice}"), 403) == "missing-permission"
        assert code(plugin.of_store("GET", f"/webhooks/{invoice}"), 404) == "webhook-not-found"
    assert foreign not in {each["id"] for each in plugin.get("/invoices")}


def test_the_current_key_has_exactly_its_permissions(shop: WebServer) -> None:
    """Magento and PrestaShop compare the list with the permissions that they asked for."""
    asked = [CREATE_INVOICES, VIEW_INVOICES, VIEW_STORE]
    give_key(STORE, "nt_three", permissions=asked, label="WooCommerce")
    current = good(Plugin(shop, "nt_three").call("GET", "/api-keys/current"))
    assert current["apiKey"] == "nt_three"
    assert current["label"] == "WooCommerce"
    assert sorted(current["permissions"]) == sorted(f"{policy}:{STORE}" for policy in asked)
    everything = good(Plugin(shop).call("GET", "/api-keys/current"))
    assert everything["label"] == ""
    assert everything["permissions"] == [f"{policy}:{STORE}" for policy in POLICIES]


def test_a_key_can_revoke_itself(shop: WebServer) -> None:
    give_key(STORE, "nt_last", permissions=[])
    mine = Plugin(shop, "nt_last")
    good(mine.call("GET", "/api-keys/current"))
    reply = mine.call("DELETE", "/api-keys/current")
    assert (reply.status, reply.body) == (200, b"")
    assert code(mine.call("GET", "/api-keys/current"), 401) == "unauthenticated"
    assert ApiKey.get(ApiKey.key_hash != "").revoked_at is None


# Forms of errors


def test_no_path_of_this_api_returns_a_problem_document(plugin: Plugin) -> None:
    """A .NET client expects one form of error for each status, and fails at any other form."""
    for method, path, status in (
        ("GET", "/stores/company1/unknown", 404),
        ("GET", "/stores/company1/rates/configuration/fallback", 404),
        ("GET", "/stores/company1/payment-requests", 404),
        ("GET", "/users/me", 404),
        ("GET", "/stores/a%2Fb/invoices", 404),
        ("PATCH", "/stores/company1/invoices", 405),
        ("POST", "/stores", 405),
        ("GET", "/invoices/x/status", 405),
    ):
        code(plugin.call(method, path), status)
    assert code(plugin.call("GET", f"/stores/{STORE}/payment-methods/LTC-CHAIN"), 404) == (
        "paymentmethod-not-found"
    )
    native = plugin.call("GET", "/api/v1/nowhere")
    assert native.headers["content-type"] == "application/problem+json"


def test_refunds_are_refused_with_the_missing_permission(plugin: Plugin) -> None:
    """Plug-ins then ask the merchant to refund by hand."""
    invoice = plugin.create()["id"]
    give_key(STORE, "nt_viewer", permissions=[VIEW_INVOICES])
    viewer = Plugin(plugin.shop, "nt_viewer")
    for path in (f"/stores/{STORE}/invoices/{invoice}/refund", f"/stores/{STORE}/pull-payments"):
        reply = plugin.call("POST", path, {"name": "Refund"})
        assert code(reply, 403) == "missing-permission"
        assert reply.json["missingPermission"] == REFUNDS
        assert viewer.call("POST", path, {}).json == reply.json
        assert code(plugin.call("POST", path, {}, Authorization=None), 401) == "unauthenticated"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"1",
        b"{} x",
        b"\xff",
        b'{"amount": NaN}',
        b'{"amount": ' + b"9" * 5000 + b"}",
        rb'{"currency": "\ud800"}',
        b'{"metadata": ' + b'{"a":' * 100 + b"1" + b"}" * 100 + b"}",
    ],
    ids=repr,
)
def test_an_unreadable_body_is_422_with_an_empty_path(plugin: Plugin, body: bytes) -> None:
    assert paths(plugin.of_store("POST", "/invoices", body)) == [""]
    assert paths(plugin.of_store("POST", "/webhooks", body)) == [""]


def test_a_body_has_at_most_64_kib(plugin: Plugin) -> None:
    """A large order of WooCommerce has some 20 KB."""
    filling = {"metadata": {"posData": "x" * 30_000}, "checkout": None}
    good(plugin.of_store("POST", "/invoices", {**ORDER, **filling, "unknown": "y" * 35_000}))
    for size in (66_000, 200_000):
        reply = plugin.of_store("POST", "/invoices", b" " * size)
        assert code(reply, 413) == "request-entity-too-large"
        assert "65536" in reply.json["message"]
    head = plugin.call("GET", "/stores?" + "x" * 20_000)
    assert code(head, 431) == "request-header-fields-too-large"


def test_curl_may_expect_100_continue_before_a_large_body(plugin: Plugin) -> None:
    """Old versions of curl, as in the PHP of some shops, send `Expect` from 1 KB on."""
    body = json.dumps({**ORDER, "metadata": {"posData": "x" * 20_000}}).encode()
    head = (
        f"POST /api/v1/stores/{STORE}/invoices HTTP/1.1\r\nHost: x\r\nAuthorization: token {KEY}\r\n"
        f"Expect: 100-continue\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", plugin.shop.port)) as connection:
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")


def test_a_missing_body_is_an_empty_object(plugin: Plugin) -> None:
    assert paths(plugin.of_store("POST", "/invoices")) == ["amount"]
    assert paths(plugin.of_store("POST", "/webhooks")) == ["url"]


# Scripts of other sites


def test_scripts_of_any_site_may_read_each_response(plugin: Plugin) -> None:
    """This includes errors, because otherwise a script could not read them."""
    for method, path, body in (
        ("GET", "/stores", None),
        ("GET", "/nothing-here", None),
        ("POST", f"/stores/{STORE}/invoices", {}),
        ("GET", "/stores/foreign", None),
        ("POST", f"/stores/{STORE}/invoices", b" " * 70_000),
        ("DELETE", f"/stores/{STORE}/webhooks/x", None),
        ("GET", "/health", None),
    ):
        reply = plugin.call(method, path, body)
        is_ours = path != "/nothing-here"
        assert ("access-control-allow-origin" in reply.headers) == is_ours, path
        assert reply.headers.get("access-control-allow-origin", "*") == "*"


def test_a_preflight_allows_the_header_with_the_key(plugin: Plugin) -> None:
    for path in (f"/stores/{STORE}/invoices", "/Stores/", "/invoices/x/status", "/api-keys/current"):
        reply = plugin.call("OPTIONS", path, Authorization=None, Origin="https://shop.example")
        assert (reply.status, reply.body) == (200, b"")
        assert reply.headers["access-control-allow-origin"] == "*"
        allowed = reply.headers["access-control-allow-headers"].replace(" ", "").split(",")
        assert {"authorization", "content-type"} <= set(allowed)
        assert {"GET", "POST", "PUT", "DELETE"} <= set(
            reply.headers["access-control-allow-methods"].replace(" ", "").split(",")
        )
        assert "access-control-allow-credentials" not in reply.headers


# Server and stores


def test_the_server_has_a_version_that_plug_ins_accept(plugin: Plugin) -> None:
    """WooCommerce requires 1.7.6, and clients use newer calls if the version begins with 2."""
    info = good(plugin.call("GET", "/server/info"))
    version, _, own = info["version"].partition("+")
    assert tuple(map(int, version.split("."))) >= (2, 0, 0)
    assert own.startswith("nodetill.")
    assert info["fullySynched"] is True
    assert info["supportedPaymentMethods"] == ["BTC-CHAIN"]
    assert info["syncStatus"][0]["chainHeight"] == TIP
    assert good(plugin.call("GET", "/health", Authorization=None)) == {"synchronized": True}


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ({}, True),
        ({"node_height": TIP + 1}, True),
        ({"node_height": TIP + 2}, True),
        ({"node_height": TIP + 3}, False),
        ({"node_height": None, "complete_look_at": NOW - timedelta(minutes=5)}, True),
        ({"node_height": None, "complete_look_at": NOW - timedelta(minutes=7)}, False),
        ({"node_height": None, "complete_look_at": None}, False),
        ({"heartbeat_at": NOW - timedelta(seconds=29)}, True),
        ({"heartbeat_at": NOW - timedelta(seconds=31)}, False),
        ({"heartbeat_at": None}, False),
    ],
)
def test_shops_hide_the_payment_option_only_while_the_daemon_cannot_see_payments(
    plugin: Plugin, report: dict[str, Any], expected: bool
) -> None:
    """A new block and a restart of bitcoind change nothing, because PrestaShop checks this for each page."""
    healthy = {"node_height": TIP, "complete_look_at": NOW, "heartbeat_at": NOW}
    update_report(**{**healthy, **report})
    try:
        assert good(plugin.call("GET", "/server/info"))["fullySynched"] is expected
        assert good(plugin.call("GET", "/health")) == {"synchronized": expected}
    finally:
        update_report(**healthy)


def test_before_the_daemon_has_run_the_server_is_not_synchronized(plugin: Plugin) -> None:
    before = DaemonReport.get()
    DaemonReport.delete().execute()
    assert good(plugin.call("GET", "/server/info"))["fullySynched"] is False
    DaemonReport.create(**before.__data__)


def test_a_store_has_the_types_that_clients_require(plugin: Plugin) -> None:
    """The methods of BTCPay's PHP library have types."""
    [store] = good(plugin.call("GET", "/stores"))
    assert store == plugin.get("")
    assert (store["id"], store["name"]) == (STORE, STORE)
    for name in ("invoiceExpiration", "monitoringExpiration", "displayExpirationTimer"):
        assert type(store[name]) is int, name
    assert isinstance(store["paymentTolerance"], float)
    assert (store["speedPolicy"], store["networkFeeMode"]) == ("LowSpeed", "Never")
    assert store["defaultCurrency"] == "EUR"
    assert store["defaultPaymentMethod"] == "BTC-CHAIN"
    assert store["archived"] is False


def test_the_payment_methods_of_a_store_have_the_names_of_both_versions(plugin: Plugin) -> None:
    assert plugin.get("/payment-methods") == [{"paymentMethodId": "BTC-CHAIN", "enabled": True}]
    assert plugin.get("/payment-methods?onlyEnabled=true&ONLYENABLED=false")
    assert plugin.get("/payment-methods?includeConfig=true")[0]["config"] == {}
    assert paths(plugin.of_store("GET", "/payment-methods?onlyEnabled=perhaps")) == ["onlyEnabled"]
    assert plugin.get("/payment-methods/BTC-CHAIN")["enabled"] is True
    assert plugin.get("/payment-methods/btc_chain")["paymentMethodId"] == "BTC-CHAIN"
    assert plugin.get("/payment-methods/OnChain")[0]["cryptoCode"] == "BTC"
    assert plugin.get("/payment-methods/LightningNetwork") == []


def test_the_names_of_a_query_have_any_case(plugin: Plugin) -> None:
    plugin.create(metadata={"orderId": "any-case"})
    for name in ("orderId", "orderid", "ORDERID", "orderId[]", "orderId[0]"):
        found = plugin.get(f"/invoices?{name}=any-case".replace("[", "%5B").replace("]", "%5D"))
        assert [each["metadata"]["orderId"] for each in found] == ["any-case"]


# Members of any type

VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 10**30, 0.5, 1e300, -1e-300, "", " ", "x", "0", "-1", "1e5", "NaN",
    "Infinity", "\u0000", "ä€😀", "x" * 5000, [], [1], [None], ["x", {}], [[]], {}, {"a": 1},
    {"everything": "x"},
    {"enabled": 1}, {"specificEvents": [1]}, {"": None}, {"orderId": {"a": []}}, {"orderId": "\u0000"},
    {"orderId": 1e300}, {"orderId": "x" * 5000},
]  # fmt: skip
INVOICE_MEMBERS = "amount currency metadata checkout receipt additionalSearchTerms type unknown".split()
CHECKOUT_MEMBERS = (
    "speedPolicy paymentMethods defaultPaymentMethod expirationMinutes monitoringMinutes paymentTolerance "
    "redirectURL redirectAutomatically defaultLanguage lazyPaymentMethods requiresRefundEmail checkoutType"
).split()
WEBHOOK_MEMBERS = "url enabled automaticRedelivery secret authorizedEvents".split()


def is_answered(plugin: Plugin, method: str, path: str, body: Any) -> None:
    """Check that a call succeeds, or is refused in BTCPay's form."""
    reply = plugin.of_store(method, path, body)
    if reply.status == 422:
        paths(reply)
    else:
        assert reply.status == 200, (reply.status, body, reply.body)


@pytest.mark.parametrize("name", cases(INVOICE_MEMBERS, ("amount", "metadata")))
def test_no_type_of_a_member_is_an_error_of_the_server(plugin: Plugin, name: str) -> None:
    for value in VALUES:
        is_answered(plugin, "POST", "/invoices", {**ORDER, name: value})


@pytest.mark.parametrize("name", cases(CHECKOUT_MEMBERS, ("speedPolicy", "redirectURL")))
def test_no_type_of_an_option_is_an_error_of_the_server(plugin: Plugin, name: str) -> None:
    for value in VALUES:
        is_answered(plugin, "POST", "/invoices", {**ORDER, "checkout": {name: value}})


@pytest.mark.parametrize("name", cases(["enabled", "showQR", "showPayments"], ["showQR"]))
def test_no_type_of_a_receipt_is_an_error_of_the_server(plugin: Plugin, name: str) -> None:
    for value in VALUES:
        is_answered(plugin, "POST", "/invoices", {**ORDER, "receipt": {name: value}})


@pytest.mark.parametrize("name", cases(WEBHOOK_MEMBERS, ("url", "authorizedEvents")))
def test_no_type_of_a_webhook_is_an_error_of_the_server(plugin: Plugin, name: str) -> None:
    made = good(plugin.of_store("POST", "/webhooks", {"url": "https://shop.example/"}))["id"]
    for value in VALUES:
        is_answered(plugin, "PUT", f"/webhooks/{made}", {"url": "https://shop.example/", name: value})
    for part in ("everything", "specificEvents"):
        for value in VALUES:
            body = {"url": "https://shop.example/", "authorizedEvents": {part: value}}
            is_answered(plugin, "PUT", f"/webhooks/{made}", body)
    plugin.of_store("DELETE", f"/webhooks/{made}")


def test_no_type_of_a_change_is_an_error_of_the_server(plugin: Plugin) -> None:
    made = plugin.create(metadata={"orderId": "types"})["id"]
    for value in VALUES:
        is_answered(plugin, "POST", f"/invoices/{made}/status", {"status": value})
        is_answered(plugin, "PUT", f"/invoices/{made}", {"metadata": value})
        is_answered(plugin, "POST", f"/invoices/{made}/unarchive", {"x": value})


QUERIES = [
    "",
    "x",
    "-1",
    "1.5",
    "99999999999999999999",
    "%00",
    "%ff",
    "true",
    "%F0%9F%98%80",
    "a" * 1000,
    "%27--",
]
NAMES = (
    "orderId status startDate endDate textSearch includeArchived includePaymentMethods skip take count "
    "onlyEnabled includeConfig onlyAccountedPayments unknown"
).split()


@pytest.mark.parametrize("name", cases(NAMES, ("status", "startDate")))
def test_no_query_is_an_error_of_the_server(plugin: Plugin, name: str) -> None:
    invoice = plugin.create(metadata={"orderId": "queries"})["id"]
    for value in QUERIES:
        for path in (
            "/invoices",
            f"/invoices/{invoice}",
            f"/invoices/{invoice}/payment-methods",
            "/payment-methods",
        ):
            is_answered(plugin, "GET", f"{path}?{name}={value}", None)


def test_json_is_not_escaped_twice(plugin: Plugin) -> None:
    """The bytes are UTF-8, and posData stays text."""
    pos = json.dumps({"WooCommerce": {"Order ID": 1}})
    metadata = {"orderId": "ä-1", "posData": pos}
    invoice = plugin.create(metadata=metadata)
    assert plugin.get(f"/invoices/{invoice['id']}")["metadata"] == metadata


def test_without_a_key_only_the_health_is_public(shop: WebServer) -> None:
    for path in ("/stores", "/server/info", "/webhooks/x", "/invoices/x"):
        assert shop.get(f"/api/v1{path}", NOBODY).status == 401
