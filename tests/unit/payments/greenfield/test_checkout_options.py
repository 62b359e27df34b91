"""The options that a shop sends with an invoice, and the address to which its customer returns."""

from decimal import Decimal
from typing import Any

import pytest

from payments.greenfield.checkout_options import (
    OptionsError,
    confirmations_asked,
    is_on_chain,
    lifetime_seconds,
    monitoring_seconds,
    read_options,
    redirect_url,
    tolerance_percent,
)
from payments.greenfield.redirect import filled_in
from payments.greenfield.state import InvoiceStatus
from tests.support.invoice_history import example_facts


def faults(body: dict[str, Any]) -> list[str]:
    with pytest.raises(OptionsError) as caught:
        read_options(body)
    return [path for path, _ in caught.value.faults]


def test_null_and_empty_options_mean_the_default() -> None:
    """The PHP library sends all members, and null if the shop has not set the member."""
    names = (
        "speedPolicy paymentMethods defaultPaymentMethod expirationMinutes monitoringMinutes "
        "paymentTolerance redirectURL redirectAutomatically defaultLanguage lazyPaymentMethods "
        "requiresRefundEmail"
    ).split()
    unset = {"checkout": dict.fromkeys(names), "receipt": None, "additionalSearchTerms": None}
    assert read_options(unset) == read_options({}) == read_options({"checkout": {}}) == {}
    assert read_options({"checkout": {"redirectURL": "", "speedPolicy": "", "paymentMethods": []}}) == {}


def test_options_are_kept_as_they_were_sent() -> None:
    """Members that Nodetill does not use are ignored."""
    checkout = {
        "speedPolicy": "mediumspeed",
        "paymentMethods": ["BTC_CHAIN"],
        "expirationMinutes": Decimal("2.5"),
        "monitoringMinutes": 1440,
        "paymentTolerance": Decimal("0.5"),
        "redirectURL": "https://shop.example/?a={InvoiceId}|x&amp;y",
        "redirectAutomatically": True,
        "defaultLanguage": "de-DE",
        "checkoutType": "V2",
        "unknown": {"deep": [1]},
    }
    found = read_options(
        {"checkout": checkout, "receipt": {"enabled": True, "x": 1}, "additionalSearchTerms": ["a"]}
    )
    assert found == {
        "speedPolicy": "MediumSpeed",
        "paymentMethods": ["BTC-CHAIN"],
        "expirationMinutes": 2.5,
        "monitoringMinutes": 1440,
        "paymentTolerance": 0.5,
        "redirectURL": checkout["redirectURL"],
        "redirectAutomatically": True,
        "defaultLanguage": "de-DE",
        "receipt": {"enabled": True},
        "additionalSearchTerms": ["a"],
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("speedPolicy", "Fast"),
        ("speedPolicy", 1),
        ("paymentMethods", "BTC"),
        ("paymentMethods", [1]),
        ("expirationMinutes", "15"),
        ("expirationMinutes", True),
        ("expirationMinutes", 0),
        ("expirationMinutes", Decimal("0.4")),
        ("monitoringMinutes", -1),
        ("paymentTolerance", 101),
        ("paymentTolerance", -1),
        ("redirectURL", "javascript:alert(1)"),
        ("redirectURL", "/thanks"),
        ("redirectURL", "https://"),
        ("redirectURL", "https://shop.example/\n"),
        ("redirectURL", "https://shop.example/" + "a" * 2048),
        ("redirectURL", 5),
        ("redirectAutomatically", "true"),
        ("defaultLanguage", 5),
        ("defaultLanguage", "d" * 65),
    ],
)
def test_an_option_of_a_wrong_type_or_value_is_refused_with_its_path(name: str, value: object) -> None:
    assert faults({"checkout": {name: value}}) == [f"checkout.{name}"]


def test_all_faults_are_named_at_once() -> None:
    body = {
        "checkout": {"speedPolicy": "Fast", "paymentMethods": ["BTC-LN"]},
        "receipt": {"showQR": 1},
        "additionalSearchTerms": "a",
    }
    assert faults(body) == [
        "checkout.speedPolicy",
        "checkout.paymentMethods[0]",
        "receipt.showQR",
        "additionalSearchTerms",
    ]
    assert faults({"checkout": [], "receipt": "x"}) == ["checkout", "receipt"]


@pytest.mark.parametrize(
    "name",
    ["BTC", "btc", "BTC-CHAIN", "BTC_CHAIN", "btc-onchain", "BTC-On-Chain", "BTC_BitcoinLike", "BTC-BTCLike"],
)
def test_each_name_of_on_chain_bitcoin_is_accepted(name: str) -> None:
    """Other methods in the list are ignored."""
    assert is_on_chain(name)
    assert read_options({"checkout": {"paymentMethods": ["BTC-LightningNetwork", name]}})


@pytest.mark.parametrize("name", ["BTC-LN", "BTC-LightningNetwork", "LTC-CHAIN", "", "BTCX"])
def test_another_payment_method_is_not_accepted(name: str) -> None:
    assert not is_on_chain(name)


def test_the_terms_of_a_request_follow_from_the_options() -> None:
    """A time that is too long is reduced, because a refusal would stop the sale."""
    assert confirmations_asked({}) is None
    assert confirmations_asked({"speedPolicy": "HighSpeed"}) == 0
    assert confirmations_asked({"speedPolicy": "LowSpeed"}) == 6
    assert lifetime_seconds({}, 900) == 900
    assert lifetime_seconds({"expirationMinutes": 0.5}, 900) == 30
    assert lifetime_seconds({"expirationMinutes": 10**9}, 900) == 86_400
    assert monitoring_seconds({}, 604_800) == 604_800
    assert monitoring_seconds({"monitoringMinutes": 1}, 604_800) == 604_800
    assert monitoring_seconds({"monitoringMinutes": 20_000}, 604_800) == 1_200_000
    assert monitoring_seconds({"monitoringMinutes": 10**9}, 604_800) == 366 * 86_400
    assert tolerance_percent({}) is None
    assert tolerance_percent({"paymentTolerance": 0}) == 0
    assert tolerance_percent({"paymentTolerance": 0.1}) == Decimal("0.1")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://shop.example/thanks?a=1&b=%20#x", "https://shop.example/thanks?a=1&b=%20#x"),
        ("https://shop.example/{InvoiceId}", "https://shop.example/PR-1"),
        (
            "https://shop.example/?i={invoiceid}&o={OrderId}&s={STATUS}",
            "https://shop.example/?i=PR-1&o=a%26b%20%C3%BC&s=Expired",
        ),
        ("https://shop.example/btcpay|success&amp;t=1", "https://shop.example/btcpay%7Csuccess&amp;t=1"),
        ("https://shop.example/{Other}?ü=100%", "https://shop.example/%7BOther%7D?%C3%BC=100%25"),
        ("https://läden.example/a", "https://xn--lden-loa.example/a"),
        ("http://127.0.0.1:8080/a b", "http://127.0.0.1:8080/a%20b"),
    ],
)
def test_placeholders_get_values_and_the_address_is_valid(url: str, address: str) -> None:
    """A value is percent-encoded, so it changes no other part of the address."""
    assert filled_in(url, "PR-1", "a&b ü", InvoiceStatus.EXPIRED) == address


def test_an_invoice_may_have_no_address_to_return_to() -> None:
    """A request of the native API has its own address. Without an order id the placeholder is empty."""
    assert redirect_url(example_facts()) is None
    own = redirect_url(example_facts(checkout=None, redirect_url="https://shop.example/{OrderId}x"))
    assert own is not None
    assert filled_in(own, "PR-1", None, InvoiceStatus.NEW) == "https://shop.example/x"
