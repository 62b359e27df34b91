"""Plug-ins create invoices with BTCPay's Greenfield API in different ways, and each way works."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from models.payment import PaymentRequest
from tests.conftest import NewDatabase
from tests.support.greenfield import ORDER, STORE, Plugin, good, paths, row_of
from tests.support.web_server import NOW, WebServer, open_shop

CREATED = int(NOW.timestamp())
DUE_SATS = 222_402


@pytest.fixture(scope="module")
def shop(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    """Serve one web server for all tests of this module."""
    directory = tmp_path_factory.mktemp("shop")
    with open_shop(directory, new_database(directory), addresses=400) as opened:
        yield opened


@pytest.fixture(scope="module")
def plugin(shop: WebServer) -> Plugin:
    return Plugin(shop)


def test_a_new_invoice_has_each_member_with_its_type(plugin: Plugin) -> None:
    """Plug-ins are strict: amounts are text, times are whole numbers, and nothing else is null."""
    invoice = plugin.create()
    assert invoice == {
        "id": invoice["id"],
        "storeId": STORE,
        "amount": "135.99",
        "paidAmount": "0.00",
        "currency": "EUR",
        "type": "Standard",
        "checkoutLink": f"http://127.0.0.1:8080/i/{invoice['id']}",
        "createdTime": CREATED,
        "expirationTime": CREATED + 900,
        "monitoringExpiration": CREATED + 900 + 604_800,
        "status": "New",
        "additionalStatus": "None",
        "availableStatusesForManualMarking": ["Settled", "Invalid"],
        "archived": False,
        "metadata": {"orderId": "000000001"},
        "checkout": {
            "speedPolicy": "LowSpeed",
            "paymentMethods": ["BTC-CHAIN"],
            "defaultPaymentMethod": None,
            "expirationMinutes": 15,
            "monitoringMinutes": 10_080,
            "paymentTolerance": 0.0,
            "redirectURL": "https://shop.example/thanks",
            "redirectAutomatically": False,
            "defaultLanguage": None,
            "lazyPaymentMethods": False,
            "requiresRefundEmail": None,
        },
        "receipt": {"enabled": None, "showQR": None, "showPayments": None},
    }
    assert len(invoice["id"]) <= 64
    assert plugin.get(f"/invoices/{invoice['id']}") == invoice
    assert good(plugin.call("GET", f"/invoices/{invoice['id']}")) == invoice
    row = row_of(invoice)
    assert (row.amount_sats, row.currency, row.order_id) == (DUE_SATS, "EUR", "000000001")


def test_links_come_from_the_public_url_and_never_from_the_host(plugin: Plugin) -> None:
    invoice = good(
        plugin.call("POST", f"/stores/{STORE}/invoices", ORDER, Host="evil.example", Forwarded="host=evil")
    )
    assert invoice["checkoutLink"].startswith("http://127.0.0.1:8080/i/")


@pytest.mark.parametrize(
    ("amount", "currency", "expected"),
    [
        ("135.99", "EUR", ("135.99", "EUR")),
        ("135.99000000", "EUR", ("135.99", "EUR")),
        ("135.9950", " eur ", ("136.00", "EUR")),
        ("10.005", "EUR", ("10.01", "EUR")),
        (135.99, "EUR", ("135.99", "EUR")),
        (135, "eur", ("135.00", "EUR")),
        ("1500.4", "JPY", ("1500", "JPY")),
        ("0.001", "BTC", ("0.00100000", "BTC")),
        ("0.123456789", "btc", ("0.12345679", "BTC")),
        ("5000", "SATS", ("5000", "SATS")),
        ("5000", "sat", ("5000", "SATS")),
        ("20", None, ("20.00", "EUR")),
        ("20", "", ("20.00", "EUR")),
    ],
)
def test_an_amount_is_rounded_and_not_refused(
    plugin: Plugin, amount: Any, currency: Any, expected: tuple[str, str]
) -> None:
    """OpenCart, Magento, GiveWP and XenForo send eight decimals, and Shopware sends a JSON number."""
    invoice = plugin.create(amount=amount, currency=currency)
    assert (invoice["amount"], invoice["currency"]) == expected
    assert isinstance(invoice["paidAmount"], str)


@pytest.mark.parametrize("amount", [None, "", 0, "0", "0.001", "-5", -5, "five", True, [], {}, "1,5", "€5"])
def test_an_invoice_without_an_amount_is_refused(plugin: Plugin, amount: Any) -> None:
    """For null BTCPay makes an invoice that any payment settles, and it settles zero at once."""
    before = PaymentRequest.select().count()
    assert plugin.refused(amount=amount) == ["amount"]
    assert PaymentRequest.select().count() == before


def test_an_amount_out_of_range_is_refused(plugin: Plugin) -> None:
    assert plugin.refused(amount="0.01") == ["amount"]
    assert plugin.refused(amount="22000000", currency="BTC") == ["amount"]
    assert plugin.refused(amount="9" * 13) == ["amount"]


def test_each_wrong_member_is_named(plugin: Plugin) -> None:
    wrong = plugin.refused(
        amount="x",
        currency="EURO",
        metadata=[],
        checkout={"speedPolicy": "Fast", "paymentMethods": ["LTC", "XMR"], "expirationMinutes": "5"},
        receipt=1,
        additionalSearchTerms="x",
    )
    assert sorted(wrong) == sorted(
        "amount currency metadata checkout.speedPolicy checkout.paymentMethods[0] "
        "checkout.expirationMinutes receipt additionalSearchTerms".split()
    )
    assert plugin.refused(currency="XXX") == ["currency"]
    assert plugin.refused(currency="CHF") == ["currency"]


METADATA: list[dict[str, Any]] = [
    {},
    {"orderId": "000000001", "taxIncluded": False},
    {"orderId": 4711, "taxIncluded": {}},
    {"orderId": "ÄQWERTZUIOPASDFGHJKL", "posData": '{"a": 1}', "buyerEmail": "", "buyerName": None},
    {"posData": {"deep": [{"er": [1, 1.5, 1.0, -0.0, True, None, ""]}]}, "physical": True},
    {"taxIncluded": 25.33, "big": 12345678901234567890, "small": 1e-7, "spaces": "  a b  \n"},
    {"orderUrl": "https://shop.example/?a=1&b=2", "itemDesc": "</script>\u2028\u0000", "": "empty"},
]


@pytest.mark.parametrize("metadata", METADATA, ids=repr)
def test_metadata_is_returned_unchanged(plugin: Plugin, metadata: dict[str, Any]) -> None:
    """Magento compares the type of orderId, too, and FluentCart compares a hash."""
    invoice = plugin.create(metadata=metadata)
    stored = [
        invoice["metadata"],
        plugin.get(f"/invoices/{invoice['id']}")["metadata"],
        plugin.get(f"/invoices?textSearch={invoice['id']}")[0]["metadata"],
    ]
    for found in stored:
        assert found == metadata
        assert repr(sorted(found.items())) == repr(sorted(metadata.items()))


def test_metadata_has_at_most_32_kib(plugin: Plugin) -> None:
    assert plugin.create(metadata={"posData": "x" * (32 * 1024 - 20)})
    assert plugin.refused(metadata={"posData": "x" * (32 * 1024)}) == ["metadata"]
    raw = b'{"amount": 5, "currency": "EUR", "metadata": {"a": 1e999}}'
    assert paths(plugin.of_store("POST", "/invoices", raw)) == ["metadata"]
    assert plugin.create(metadata=None)["metadata"] == {}


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example/checkout/{InvoiceId}/?o={OrderId}&s={STATUS}",
        "https://shop.example/index.php?route=extension/payment/btcpay|success&token=abc",
        "https://shop.example/?option=com_vm&amp;view=vmplg&amp;on=1",
        "http://localhost:8080/thanks",
        "https://shop.example/" + "a" * 2000,
        "https://böse.example/ä",
    ],
    ids=lambda url: url[:60],
)
def test_a_redirect_url_is_returned_unchanged(plugin: Plugin, url: str) -> None:
    invoice = plugin.create(checkout={"redirectURL": url, "redirectAutomatically": True})
    assert invoice["checkout"]["redirectURL"] == url
    assert invoice["checkout"]["redirectAutomatically"] is True


@pytest.mark.parametrize("url", ["javascript:alert(1)", "ftp://a", "x", 5, "https://a/" + "b" * 2048])
def test_a_redirect_url_is_an_http_or_https_address(plugin: Plugin, url: Any) -> None:
    assert plugin.refused(checkout={"redirectURL": url}) == ["checkout.redirectURL"]


@pytest.mark.parametrize(
    "methods",
    [
        ["BTC_CHAIN"], ["BTC-CHAIN"], ["BTC"], ["btc-onchain"], ["BTC_On_Chain"], ["BTC-BitcoinLike"],
        ["BTC-BTCLike"], ["BTC", "BTC-LightningNetwork"], ["BTC-LN", "btc"], [], None,
    ],
)  # fmt: skip
def test_each_name_of_on_chain_bitcoin_is_accepted(plugin: Plugin, methods: list[str] | None) -> None:
    """WooCommerce always sends BTC_CHAIN, and the names have changed between BTCPay's versions."""
    invoice = plugin.create(checkout={"paymentMethods": methods})
    assert invoice["checkout"]["paymentMethods"] == ["BTC-CHAIN"]


def test_nulls_and_unknown_members_are_ignored(plugin: Plugin) -> None:
    """BTCPay's PHP library sends all options, with null for each option that the shop does not set."""
    names = (
        "speedPolicy paymentMethods defaultPaymentMethod expirationMinutes monitoringMinutes "
        "paymentTolerance redirectURL redirectAutomatically defaultLanguage lazyPaymentMethods "
        "requiresRefundEmail checkoutType unknown"
    )
    nothing = dict.fromkeys(names.split())
    plain = plugin.create(checkout=None)
    invoice = plugin.create(
        checkout={**nothing, "unknown": {"a": []}, "checkoutType": "V2"},
        receipt={"enabled": None, "showQR": None, "x": 1},
        additionalSearchTerms=None,
        type="TopUp",
        orderId="ignored",
    )
    assert invoice["checkout"] == plain["checkout"]
    assert invoice["type"] == "Standard"


def test_names_of_members_have_any_case(plugin: Plugin) -> None:
    """BTCPay ignores their case, too."""
    body = {
        "Amount": "5",
        "CURRENCY": "EUR",
        "Metadata": {"OrderId": 1},
        "Checkout": {"SpeedPolicy": "HighSpeed"},
    }
    invoice = good(plugin.of_store("POST", "/invoices", body))
    assert (invoice["amount"], invoice["metadata"]) == ("5.00", {"OrderId": 1})
    assert invoice["checkout"]["speedPolicy"] == "HighSpeed"


@pytest.mark.parametrize(
    ("policy", "confirmations"),
    [("HighSpeed", 0), ("MediumSpeed", 1), ("LowMediumSpeed", 2), ("LowSpeed", 6), (None, 6)],
)
def test_a_speed_policy_is_a_number_of_confirmations(
    plugin: Plugin, policy: str | None, confirmations: int
) -> None:
    invoice = plugin.create(checkout={"speedPolicy": policy})
    assert row_of(invoice).confirmations_required == confirmations
    assert invoice["checkout"]["speedPolicy"] == (policy or "LowSpeed")


def test_times_are_in_minutes_and_reduced_instead_of_refused(plugin: Plugin) -> None:
    half = plugin.create(checkout={"expirationMinutes": 0.5})
    assert half["expirationTime"] == CREATED + 30
    assert half["checkout"]["expirationMinutes"] == 0.5
    year = plugin.create(checkout={"expirationMinutes": 525_600, "monitoringMinutes": 20_000})
    assert year["expirationTime"] == CREATED + 86_400
    assert year["checkout"]["expirationMinutes"] == 1440
    assert year["monitoringExpiration"] == CREATED + 86_400 + 20_000 * 60
    short = plugin.create(checkout={"monitoringMinutes": 1})
    assert short["monitoringExpiration"] == CREATED + 900 + 604_800
    assert plugin.refused(checkout={"expirationMinutes": 0.4}) == ["checkout.expirationMinutes"]
    row = row_of(year)
    assert row.reassess_at == row.expires_at == NOW + timedelta(days=1)


@pytest.mark.parametrize(("percent", "missing"), [(0, 0), (1, 2224), (0.5, 1112), (100, DUE_SATS)])
def test_a_tolerance_is_in_percent(plugin: Plugin, percent: float, missing: int) -> None:
    """With 100 %, any payment settles the invoice. Without a payment it is not settled."""
    invoice = plugin.create(checkout={"paymentTolerance": percent})
    assert row_of(invoice).tolerance_sats == missing
    assert invoice["checkout"]["paymentTolerance"] == percent
    assert invoice["status"] == "New"
