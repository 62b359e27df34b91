"""Invoices of BTCPay's Greenfield API: read, list, mark and archive them, and double clicks."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from models.address import Address
from models.command import ACCEPT_LATE, REASSESS, DaemonCommand, request_marking
from models.decision import Decision, DecisionKind
from models.output import Output
from models.payment import ANY_HEIGHT, PaymentRequest
from models.rate import store_rates
from models.webhook import BTCPAY, add_webhook
from payments.greenfield.state import state_of
from payments.status import Status
from tests.support.checkout_scenes import OVER, SCENES
from tests.support.greenfield import ORDER, STORE, Plugin, code, good, paths, row_of
from tests.support.web_server import NOW, WebServer, add_seller, open_shop
from web.greenfield import invoices
from web.greenfield.documents import facts_of_all
from web.greenfield.invoice_list import MAX_INVOICES

CREATED = int(NOW.timestamp())


@pytest.fixture
def shop(database_url: str, tmp_path: Path) -> Iterator[WebServer]:
    with open_shop(tmp_path, database_url, addresses=400) as opened:
        yield opened


@pytest.fixture
def plugin(shop: WebServer) -> Plugin:
    return Plugin(shop)


def in_scene(plugin: Plugin, scene: str, **columns: Any) -> dict[str, Any]:
    """Create an invoice. Set its request to this scene and these columns. Return its first document."""
    invoice = plugin.create(metadata={"orderId": scene})
    row, output = SCENES[scene]
    now = plugin.shop.now
    overdue = {"expires_at": now - timedelta(seconds=1)} if scene in OVER else {}
    changes = {**row, **overdue, **columns}
    if changes:
        PaymentRequest.update(**changes).where(PaymentRequest.reference == invoice["id"]).execute()
    if output is not None:
        txid = hashlib.sha256(invoice["id"].encode()).hexdigest()
        values = {"first_seen_at": now, "present_since": now, "state": "mempool", "amount_sats": 1000}
        Output.create(address=row_of(invoice).address, txid=txid, vout=1, **{**values, **output})
    return invoice


def test_without_a_price_or_an_address_nothing_is_used_up(plugin: Plugin) -> None:
    """The merchant finds the sentence in the log of the shop."""
    plugin.shop.wait(hours=1)
    reply = plugin.of_store("POST", "/invoices", ORDER)
    assert code(reply, 503) == "no-price"
    assert "price" in reply.json["message"]
    assert int(reply.headers["retry-after"]) > 0
    store_rates("kraken", {"EUR": Decimal(50_000)}, plugin.shop.now)
    Address.update(claimed_at=NOW).execute()
    assert code(plugin.of_store("POST", "/invoices", ORDER), 503) == "no-address"
    assert PaymentRequest.select().count() == 0


@pytest.mark.one_database
def test_the_limits_of_a_seller_hold_for_invoices_too(database_url: str, tmp_path: Path) -> None:
    with open_shop(tmp_path, database_url, {"MAX_REQUESTS_PER_MINUTE": "2"}) as shop:
        plugin = Plugin(shop)
        for number in range(2):
            plugin.create(metadata={"orderId": str(number)})
        assert code(plugin.of_store("POST", "/invoices", ORDER), 429) == "too-many-requests"
        assert plugin.create(metadata={"orderId": "1"})["metadata"] == {"orderId": "1"}


def test_the_daemon_assesses_a_new_invoice_only_for_a_btcpay_endpoint(plugin: Plugin) -> None:
    """Only such an endpoint receives InvoiceCreated."""
    assert row_of(plugin.create()).reassess_at_height is None
    add_webhook(STORE, BTCPAY, "https://shop.example/", NOW)
    assert row_of(plugin.create(amount="7")).reassess_at_height == ANY_HEIGHT


# Double clicks


def test_a_double_click_makes_one_invoice(plugin: Plugin) -> None:
    first = plugin.create()
    assert plugin.create() == first
    assert plugin.create(amount="135.99000", currency="eur") == first
    plugin.shop.wait(seconds=9)
    assert plugin.create()["id"] == first["id"]
    plugin.shop.wait(seconds=1)
    assert plugin.create()["id"] != first["id"]
    assert PaymentRequest.select().count() == 2


OTHERS: list[dict[str, Any]] = [
    {"amount": "135.98"},
    {"currency": "JPY", "amount": "135.99"},
    {"metadata": {"orderId": "000000002"}},
    {"metadata": {"orderId": "000000001", "fct_transaction_hash": "b"}},
    {"checkout": {"redirectURL": "https://shop.example/other"}},
]


def test_another_order_is_another_invoice(plugin: Plugin) -> None:
    """FluentCart stores an id of each attempt in the metadata, and compares it later."""
    made = [plugin.create(**each)["id"] for each in [{}, *OTHERS]]
    assert len(set(made)) == len(made)
    assert [plugin.create(**each)["id"] for each in [{}, *OTHERS]] == made


def test_orders_without_an_id_are_never_the_same(plugin: Plugin) -> None:
    """Two visitors may donate the same amount at the same moment."""
    for metadata in ({}, None, {"orderId": None}, {"orderId": ""}, {"request_key": "a"}):
        assert plugin.create(metadata=metadata)["id"] != plugin.create(metadata=metadata)["id"]


def test_orders_without_a_page_to_return_to_are_never_the_same(plugin: Plugin) -> None:
    """No customer waits for such an order, so it is no double click. BTCPay's order ids are not unique."""
    for checkout in (None, {}, {"redirectURL": None}, {"speedPolicy": "HighSpeed"}):
        assert plugin.create(checkout=checkout)["id"] != plugin.create(checkout=checkout)["id"]


def test_a_paid_or_changed_invoice_is_not_returned_for_an_equal_order(plugin: Plugin) -> None:
    add_seller("company2", "nt_company2")
    paid = plugin.create()
    assert Plugin(plugin.shop, "nt_company2", "company2").create()["id"] != paid["id"]
    output = {"first_seen_at": NOW, "present_since": NOW, "state": "mempool", "amount_sats": 1}
    Output.create(address=row_of(paid).address, txid="ab" * 32, vout=0, **output)
    marked = plugin.create()
    good(plugin.of_store("POST", f"/invoices/{marked['id']}/status", {"status": "Invalid"}))
    archived = plugin.create()
    assert plugin.of_store("DELETE", f"/invoices/{archived['id']}").status == 200
    expired = plugin.create()
    PaymentRequest.update(status="expired").where(PaymentRequest.reference == expired["id"]).execute()
    last = plugin.create()
    assert len({each["id"] for each in (paid, marked, archived, expired, last)}) == 5


def test_calls_at_the_same_moment_make_one_invoice(plugin: Plugin) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = [each["id"] for each in threads.map(lambda _: plugin.create(), range(16))]
    assert len(set(found)) == 1
    assert PaymentRequest.select().count() == 1


# Reading


STATES = {
    "new": ("New", "None", "0.00", ["Settled", "Invalid"]),
    "underpaid": ("New", "PaidPartial", "61.15", ["Settled", "Invalid"]),
    "received": ("Processing", "None", "135.99", ["Settled", "Invalid"]),
    "confirming": ("Processing", "None", "135.99", ["Settled", "Invalid"]),
    "confirmed": ("Settled", "None", "135.99", []),
    "expired": ("Expired", "None", "0.00", ["Settled", "Invalid"]),
    "expired_partly": ("Expired", "PaidPartial", "61.15", ["Settled", "Invalid"]),
    "late": ("Expired", "PaidPartial", "135.99", ["Settled", "Invalid"]),
    "replaced": ("New", "None", "0.00", ["Settled", "Invalid"]),
    "expired_dropped": ("Expired", "None", "0.00", ["Settled", "Invalid"]),
}


@pytest.mark.one_database
def test_an_invoice_has_the_state_of_its_request(plugin: Plugin) -> None:
    """Late money under review is never PaidLate, because plug-ins treat PaidLate as paid."""
    names = ("status", "additionalStatus", "paidAmount", "availableStatusesForManualMarking")
    for scene, expected in STATES.items():
        invoice = in_scene(plugin, scene)
        found = plugin.get(f"/invoices/{invoice['id']}")
        assert tuple(found[name] for name in names) == expected, scene


@pytest.mark.one_database
def test_the_payments_of_an_invoice_have_the_names_of_both_versions(plugin: Plugin) -> None:
    invoice = in_scene(plugin, "confirming")
    row = row_of(invoice)
    txid = hashlib.sha256(invoice["id"].encode()).hexdigest()
    [method] = plugin.get(f"/invoices/{invoice['id']}/payment-methods")
    address = row.address.address
    assert method == {
        "paymentMethodId": "BTC-CHAIN",
        "paymentMethod": "BTC-CHAIN",
        "cryptoCode": "BTC",
        "currency": "BTC",
        "destination": address,
        "paymentLink": "",
        "rate": "61146.30",
        "paymentMethodPaid": "0.00222402",
        "totalPaid": "0.00222402",
        "due": "0",
        "amount": "0.00222402",
        "paymentMethodFee": "0",
        "networkFee": "0",
        "activated": True,
        "additionalData": {},
        "payments": [
            {
                "id": f"{txid}-1",
                "receivedDate": CREATED,
                "value": "0.00222402",
                "fee": "0",
                "status": "Processing",
                "destination": address,
            }
        ],
    }
    whole = plugin.get(f"/invoices/{invoice['id']}?includePaymentMethods=true")
    assert whole["paymentMethods"] == [method]
    assert plugin.get("/invoices?includepaymentmethods=TRUE")[0]["paymentMethods"] == [method]
    assert "paymentMethods" not in plugin.get("/invoices")[0]
    fresh = plugin.create(amount="5")
    [unpaid] = plugin.get(f"/invoices/{fresh['id']}/payment-methods")
    assert (unpaid["totalPaid"], unpaid["payments"]) == ("0", [])
    assert unpaid["paymentLink"].startswith("bitcoin:BCRT1")


@pytest.mark.one_database
def test_payments_that_were_replaced_are_listed_on_demand(plugin: Plugin) -> None:
    invoice = in_scene(plugin, "replaced")
    path = f"/invoices/{invoice['id']}/payment-methods"
    assert plugin.get(path)[0]["payments"] == []
    assert plugin.get(f"{path}?onlyAccountedPayments=true")[0]["payments"] == []
    [payment] = plugin.get(f"{path}?onlyaccountedpayments=false")[0]["payments"]
    assert payment["status"] == "Invalid"


# Lists


def ids(plugin: Plugin, query: str = "") -> list[str]:
    return [each["id"] for each in plugin.get(f"/invoices{query}")]


def test_a_list_is_an_array_newest_first(plugin: Plugin) -> None:
    assert plugin.get("/invoices") == []
    made: list[str] = []
    for number in range(5):
        plugin.shop.wait(seconds=60)
        made.insert(0, plugin.create(metadata={"orderId": str(number)})["id"])
    assert ids(plugin) == made
    assert ids(plugin, "?take=2") == made[:2]
    assert ids(plugin, "?skip=1&take=2") == made[1:3]
    assert ids(plugin, "?Skip=5") == []
    assert ids(plugin, "?take=0") == []
    assert len(ids(plugin, "?take=999999999")) == 5
    begin = CREATED + 120
    assert ids(plugin, f"?startDate={begin}&endDate={begin + 60}") == made[2:4]
    assert ids(plugin, f"?startDate={begin}.0") == made[:4]
    assert ids(plugin, "?startDate=253402300000") == []


def test_a_list_has_an_end(plugin: Plugin) -> None:
    first = plugin.create()
    row = row_of(first)
    free = [each.id for each in Address.select().where(Address.claimed_at.is_null()).limit(MAX_INVOICES)]
    values = {**row.__data__, "metadata": {}}
    del values["id"]
    for number, address in enumerate(free):
        PaymentRequest.insert(**{**values, "reference": f"PR-{number}", "address": address}).execute()
    assert len(ids(plugin)) == MAX_INVOICES
    assert len(ids(plugin, f"?skip={MAX_INVOICES}")) == 1


def test_invoices_are_found_by_their_order(plugin: Plugin) -> None:
    """Magento requests every invoice of an order in this way before it cancels the order."""
    one, two = (plugin.create(metadata={"orderId": name})["id"] for name in ("4711", "4712"))
    number = plugin.create(metadata={"orderId": 4711, "b": 1})["id"]
    assert ids(plugin, "?orderId=4711") == [number, one]
    assert sorted(ids(plugin, "?orderId=4711&orderId=4712")) == sorted([one, two, number])
    assert ids(plugin, "?orderId=471") == []
    assert ids(plugin, "?orderId=%00") == []


def test_invoices_are_found_by_text(plugin: Plugin) -> None:
    buyer = {"orderId": "A-1", "buyerEmail": "Mary@Example.com", "itemDesc": 'a "quoted" Ähre'}
    wanted = plugin.create(metadata=buyer)["id"]
    plugin.create(metadata={"orderId": "B-2"})
    invoice = in_scene(plugin, "received")
    [method] = plugin.get(f"/invoices/{invoice['id']}/payment-methods")
    txid = method["payments"][0]["id"].partition("-")[0]
    for text in ("mary@example.com", "MARY@", "A-1", wanted, wanted[:8], "%22quoted%22", "%C3%84hre"):
        assert ids(plugin, f"?textSearch={text}") == [wanted], text
    for text in (txid, method["destination"], method["destination"].upper()):
        assert ids(plugin, f"?textsearch={text}") == [invoice["id"]]
    assert ids(plugin, "?textSearch=nobody") == []
    assert paths(plugin.of_store("GET", f"/invoices?textSearch={'x' * 201}")) == ["textSearch"]


def test_the_filter_by_status_agrees_with_the_state(plugin: Plugin) -> None:
    """Each combination of columns has one state, and exactly the filter of this state finds it."""
    variants: list[dict[str, Any]] = [
        {"status": status, "first_covered_at": covered, "first_confirmed_at": confirmed, "marked": marked}
        for status in Status
        for covered in (None, NOW)
        for confirmed in (None, NOW)
        for marked in (None, "settled", "invalid")
    ]
    made: dict[str, str] = {}
    for number, columns in enumerate(variants):
        invoice = plugin.create(metadata={"orderId": f"v{number}"}, amount=str(10 + number))
        PaymentRequest.update(**columns).where(PaymentRequest.reference == invoice["id"]).execute()
        row = row_of(invoice)
        [facts] = facts_of_all([row])
        made[invoice["id"]] = state_of(facts).status.value
    for status in ("New", "Processing", "Settled", "Expired", "Invalid"):
        expected = {name for name, state in made.items() if state == status}
        assert expected
        assert set(ids(plugin, f"?status={status}")) == expected
        assert set(ids(plugin, f"?status={status.upper()}")) == expected
    both = {name for name, state in made.items() if state in ("New", "Invalid")}
    assert set(ids(plugin, "?status=New&status=invalid")) == both
    assert paths(plugin.of_store("GET", "/invoices?status=complete")) == ["status"]


# Changes


def test_an_abandoned_invoice_is_marked_invalid(plugin: Plugin) -> None:
    """WooCommerce does this before it makes another invoice."""
    invoice = plugin.create()
    path = f"/invoices/{invoice['id']}/status"
    marked = good(plugin.of_store("POST", path, {"status": "Invalid"}))
    assert (marked["status"], marked["additionalStatus"]) == ("Invalid", "Marked")
    assert marked["availableStatusesForManualMarking"] == ["Settled"]
    assert plugin.get(f"/invoices/{invoice['id']}") == marked
    assert DaemonCommand.get().kind == REASSESS
    assert paths(plugin.of_store("POST", path, {"status": "Invalid"})) == ["status"]
    settled = good(plugin.of_store("POST", path, {"Status": "settled"}))
    assert (settled["status"], settled["paidAmount"]) == ("Settled", "0.00")
    good(plugin.of_store("POST", path, {"status": "invalid"}))
    kinds = [each.kind for each in Decision.select().order_by(Decision.id)]
    assert kinds == [DecisionKind.MARKED_INVALID, DecisionKind.MARKED_PAID, DecisionKind.MARKED_INVALID]
    assert DaemonCommand.select().count() == 1


@pytest.mark.one_database
def test_an_invalid_status_is_refused(plugin: Plugin) -> None:
    invoice = plugin.create()
    path = f"/invoices/{invoice['id']}/status"
    wrong: list[Any] = ["New", "Complete", "", None, 5, [], "Expired"]
    for status in wrong:
        assert paths(plugin.of_store("POST", path, {"status": status})) == ["status"]
    assert row_of(invoice).marked is None


@pytest.mark.one_database
def test_a_confirmed_payment_cannot_be_marked(plugin: Plugin) -> None:
    invoice = in_scene(plugin, "confirmed")
    for status in ("Settled", "Invalid"):
        reply = plugin.of_store("POST", f"/invoices/{invoice['id']}/status", {"status": status})
        assert paths(reply) == ["status"]


def test_settled_accepts_late_money(plugin: Plugin) -> None:
    """The money then counts, so the invoice is not Marked. The response has the new state."""
    invoice = in_scene(plugin, "late")
    found = good(plugin.of_store("POST", f"/invoices/{invoice['id']}/status", {"status": "Settled"}))
    assert (found["status"], found["additionalStatus"]) == ("Processing", "None")
    assert found["paidAmount"] == found["amount"] == "135.99"
    assert plugin.get(f"/invoices/{invoice['id']}")["status"] == "Expired"
    assert [command.kind for command in DaemonCommand.select()] == [ACCEPT_LATE]
    assert row_of(invoice).marked is None
    good(plugin.of_store("POST", f"/invoices/{invoice['id']}/status", {"status": "Settled"}))
    assert DaemonCommand.select().count() == 1


@pytest.mark.one_database
def test_settled_is_only_a_mark_if_the_late_money_is_too_little(plugin: Plugin) -> None:
    invoice = in_scene(plugin, "expired_partly")
    found = good(plugin.of_store("POST", f"/invoices/{invoice['id']}/status", {"status": "Settled"}))
    assert (found["status"], found["additionalStatus"]) == ("Settled", "Marked")
    assert found["paidAmount"] == "61.15"


def test_a_mark_reads_a_changed_invoice_again(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon confirms the payment between the read and the mark, so Nodetill refuses the mark."""
    invoice = in_scene(plugin, "confirming")

    def slow(payment: PaymentRequest, *rest: Any) -> bool:
        PaymentRequest.update(status="confirmed", revision=payment.revision + 1).execute()
        return request_marking(payment, *rest)

    monkeypatch.setattr(invoices, "request_marking", slow)
    reply = plugin.of_store("POST", f"/invoices/{invoice['id']}/status", {"status": "Invalid"})
    assert paths(reply) == ["status"]
    assert row_of(invoice).marked is None


def test_an_archived_invoice_is_left_out_of_lists(plugin: Plugin) -> None:
    invoice = plugin.create()
    for _ in range(2):
        reply = plugin.of_store("DELETE", f"/invoices/{invoice['id']}")
        assert (reply.status, reply.body) == (200, b"")
    assert ids(plugin) == []
    assert ids(plugin, "?includeArchived=true") == [invoice["id"]]
    assert plugin.get(f"/invoices/{invoice['id']}")["archived"] is True
    for _ in range(2):
        shown = good(plugin.of_store("POST", f"/invoices/{invoice['id']}/unarchive"))
        assert shown == invoice
    assert ids(plugin) == [invoice["id"]]


def test_metadata_is_replaced(plugin: Plugin) -> None:
    invoice = plugin.create()
    path = f"/invoices/{invoice['id']}"
    changed = good(plugin.of_store("PUT", path, {"metadata": {"orderId": "new", "a": 1.0}}))
    assert changed == {**invoice, "metadata": {"orderId": "new", "a": 1.0}}
    assert ids(plugin, "?orderId=new") == [invoice["id"]]
    assert ids(plugin, "?orderId=000000001") == []
    wrong: list[Any] = [None, {}, {"metadata": None}, {"metadata": "x"}]
    for body in wrong:
        assert paths(plugin.of_store("PUT", path, body)) == ["metadata"]
    assert plugin.get(path) == changed
    assert good(plugin.of_store("PUT", path, {"metadata": {}}))["metadata"] == {}


@pytest.mark.one_database
def test_a_request_of_the_native_api_is_an_invoice_too(plugin: Plugin) -> None:
    document = plugin.shop.created(metadata={"a": 1}, redirect_url="https://shop.example/", order_id="4711")
    path = f"/invoices/{document['payment_request_id']}"
    invoice = plugin.get(path)
    assert invoice["amount"] == "135.99"
    assert invoice["checkout"]["redirectURL"] == "https://shop.example/"
    assert invoice["checkout"]["speedPolicy"] == "LowSpeed"
    assert invoice["metadata"] == {"a": 1, "orderId": "4711"}
    changed = good(plugin.of_store("PUT", path, {"metadata": {"b": 2}}))
    assert changed["metadata"] == {"b": 2, "orderId": "4711"}
    created = plugin.create(metadata={"orderId": "x"})
    native = plugin.shop.get(f"/api/v1/payments/{created['id']}").json
    assert (native["amount_fiat"], native["status"]) == ("135.99", "new")
