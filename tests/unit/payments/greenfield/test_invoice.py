"""The JSON forms of an invoice and of its payments, and the amounts in them."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.greenfield.amounts import currency_name, paid_amount, read_amount, read_currency
from payments.greenfield.facts import InvoiceFacts, Mark, invoice_facts, order_id_in
from payments.greenfield.invoice import invoice_document
from payments.greenfield.payment_methods import payment_methods
from payments.money import AmountError, ExponentDecimal, fiat_to_sats
from payments.status import Status
from tests.support.facts import EXPIRES, LATE, TERMS, TIP, gone, paid
from tests.support.invoice_history import CREATED, example_facts

TERMS_OF_135_99 = replace(TERMS, amount_sats=222_416)
SEEN = int(paid().first_seen_at.timestamp())


def method(facts: InvoiceFacts, *, only_accounted: bool = True) -> dict[str, Any]:
    [found] = payment_methods(facts, only_accounted=only_accounted)
    return found


def payments(facts: InvoiceFacts, *, only_accounted: bool = True) -> list[tuple[str, str, str]]:
    found = method(facts, only_accounted=only_accounted)["payments"]
    return [(payment["id"], payment["value"], payment["status"]) for payment in found]


# The invoice


def test_an_invoice_has_each_member() -> None:
    document = invoice_document(example_facts(terms=TERMS_OF_135_99), public_url="https://pay.example")
    assert document == {
        "id": "PR-1",
        "storeId": "company1",
        "amount": "135.99",
        "paidAmount": "0.00",
        "currency": "EUR",
        "type": "Standard",
        "checkoutLink": "https://pay.example/i/PR-1",
        "createdTime": int(CREATED.timestamp()),
        "expirationTime": int(EXPIRES.timestamp()),
        "monitoringExpiration": int(EXPIRES.timestamp()) + 60,
        "status": "New",
        "additionalStatus": "None",
        "availableStatusesForManualMarking": ["Settled", "Invalid"],
        "archived": False,
        "metadata": {"orderId": "4711"},
        "checkout": {
            "speedPolicy": "LowSpeed",
            "paymentMethods": ["BTC-CHAIN"],
            "defaultPaymentMethod": None,
            "lazyPaymentMethods": False,
            "expirationMinutes": 15,
            "monitoringMinutes": 1,
            "paymentTolerance": 0.0,
            "redirectURL": None,
            "redirectAutomatically": False,
            "defaultLanguage": None,
            "requiresRefundEmail": None,
        },
        "receipt": {"enabled": None, "showQR": None, "showPayments": None},
    }


def test_numbers_and_times_of_an_invoice_have_the_types_that_clients_require() -> None:
    """Clients in PHP and .NET refuse text or a fraction where they expect a whole number."""
    facts = example_facts(terms=replace(TERMS, expires_at=CREATED + timedelta(seconds=100.5)))
    document = invoice_document(facts, public_url="")
    for name in ("createdTime", "expirationTime", "monitoringExpiration"):
        assert type(document[name]) is int
    assert type(document["checkout"]["expirationMinutes"]) is int
    assert type(document["checkout"]["monitoringMinutes"]) is int
    assert type(document["checkout"]["paymentTolerance"]) is float


def test_responses_have_the_options_and_their_defaults() -> None:
    """They have the terms of the request, because the operator's limits may change the shop's options."""
    sent = {
        "speedPolicy": "HighSpeed",
        "paymentTolerance": 1.5,
        "redirectURL": "https://shop.example/{InvoiceId}|a&amp;b",
        "redirectAutomatically": True,
        "defaultLanguage": "de-DE",
        "defaultPaymentMethod": "BTC",
        "receipt": {"enabled": False},
    }
    terms = replace(TERMS, confirmations_required=3)
    document = invoice_document(example_facts(checkout=sent, terms=terms), public_url="")
    checkout = document["checkout"]
    assert checkout["speedPolicy"] == "LowMediumSpeed"
    assert checkout["paymentTolerance"] == 1.5
    assert checkout["redirectURL"] == sent["redirectURL"]
    assert checkout["redirectAutomatically"] is True
    assert (checkout["defaultLanguage"], checkout["defaultPaymentMethod"]) == ("de-DE", "BTC-CHAIN")
    assert document["receipt"] == {"enabled": False, "showQR": None, "showPayments": None}


def test_a_request_of_the_native_api_is_an_invoice() -> None:
    """It has its own `redirect_url`, and the operator's tolerance."""
    terms = replace(TERMS_OF_135_99, tolerance_sats=1112)
    facts = example_facts(
        checkout=None, order_id="A-7", metadata={}, redirect_url="https://shop.example/", terms=terms
    )
    document = invoice_document(facts, public_url="")
    assert document["metadata"] == {"orderId": "A-7"}
    assert document["checkout"]["redirectURL"] == "https://shop.example/"
    assert document["checkout"]["paymentTolerance"] == 0.5


class Row:
    """A stored request with the fields of the model."""

    reference, seller_id, amount_fiat, currency, price = "PR-9", "company1", "5", "EUR", "50000"
    label = order_id = redirect_url = checkout = archived_at = None
    metadata: Mapping[str, Any] = MappingProxyType({})
    created_at, terms, status, is_late = CREATED, TERMS, "expired", True
    marked, confirmed_at, first_covered_at, first_confirmed_at = "invalid", None, EXPIRES, None
    unpublished_height = None


def test_facts_come_from_a_stored_request() -> None:
    """An unknown mark, which only a faulty web server can write, does not stop the daemon."""
    facts = invoice_facts(Row(), "bcrt1qa", [paid()], tip_height=TIP)  # type: ignore[arg-type]
    assert (facts.invoice_id, facts.amount, facts.tip_height) == ("PR-9", "5", TIP)
    assert (facts.status, facts.mark, facts.is_late) == (Status.EXPIRED, Mark.INVALID, True)
    assert (facts.was_covered, facts.was_confirmed, facts.is_archived) == (True, False, False)
    row = Row()
    row.marked = "paid"
    assert invoice_facts(row, "", [], tip_height=TIP).mark is None  # type: ignore[arg-type]
    row.unpublished_height = TIP + 3  # type: ignore[assignment]
    assert invoice_facts(row, "", [], tip_height=TIP).tip_height == TIP + 3  # type: ignore[arg-type]


# The paid amount


def test_a_full_payment_is_paid_as_exactly_the_amount() -> None:
    """The amount in satoshis is rounded up, so one satoshi may be worth more than the smallest coin."""
    facts = example_facts(terms=TERMS_OF_135_99, status=Status.RECEIVED)
    for sats, expected in ((222_416, "135.99"), (111_208, "68.00"), (444_832, "271.98")):
        assert paid_amount(replace(facts, outputs=(paid(sats),))) == expected
    dong = replace(facts, currency="VND", amount="100", price="2500000000", terms=TERMS)
    assert paid_amount(replace(dong, outputs=(paid(100),))) == "100"
    assert paid_amount(replace(dong, outputs=(paid(101),))) == "2525"


def test_the_paid_amount_is_less_than_the_amount_while_a_satoshi_is_missing() -> None:
    """If a tolerance covers the invoice, the paid amount is only rounded."""
    facts = example_facts(terms=TERMS_OF_135_99, status=Status.UNDERPAID, outputs=(paid(222_415),))
    assert paid_amount(facts) == "135.98"
    assert paid_amount(replace(facts, status=Status.RECEIVED)) == "135.99"


@given(
    st.decimals("0.01", "99999", places=2),
    st.decimals("100", "9999999", places=2),
    st.integers(0, 10**9),
)
def test_a_full_payment_is_never_worth_less_than_the_amount(
    amount: Decimal, price: Decimal, extra_sats: int
) -> None:
    """WHMCS compares `paidAmount` with `amount`."""
    sats = fiat_to_sats(amount, price)
    facts = example_facts(
        amount=str(amount),
        price=str(price),
        terms=replace(TERMS, amount_sats=sats),
        outputs=(paid(sats + extra_sats),),
    )
    assert Decimal(paid_amount(facts)) >= amount
    assert extra_sats or Decimal(paid_amount(facts)) == amount


def test_the_sums_include_late_and_extra_money() -> None:
    """They exclude replaced and dropped money."""
    outputs = (paid(40), paid(60, txid="b", at=LATE), gone(paid(500, txid="c")))
    facts = example_facts(outputs=outputs, status=Status.EXPIRED, is_late=True)
    assert method(facts)["totalPaid"] == method(facts)["paymentMethodPaid"] == "0.00000100"
    assert Decimal(paid_amount(facts)) == Decimal("135.99")


@pytest.mark.parametrize(
    ("currency", "amount", "price", "name", "shown", "half"),
    [
        ("SAT", "222416", "100000000", "SATS", "222416", "111208"),
        ("BTC", "0.00222416", "1", "BTC", "0.00222416", "0.00111208"),
        ("EUR", "136", "61147.03", "EUR", "136.00", "68.00"),
        ("JPY", "24000", "10790590.06", "JPY", "24000", "12000"),
    ],
)
def test_amounts_have_the_decimals_of_their_currency(
    currency: str, amount: str, price: str, name: str, shown: str, half: str
) -> None:
    facts = example_facts(
        currency=currency, amount=amount, price=price, terms=TERMS_OF_135_99, outputs=(paid(111_208),)
    )
    document = invoice_document(facts, public_url="")
    assert (document["currency"], document["amount"], document["paidAmount"]) == (name, shown, half)
    assert method(facts)["rate"] == price


# The payment methods


def test_the_payment_method_has_each_member_in_both_versions() -> None:
    facts = example_facts(terms=TERMS_OF_135_99, status=Status.UNDERPAID, outputs=(paid(22_416, txid="ab"),))
    assert method(facts) == {
        "paymentMethodId": "BTC-CHAIN",
        "paymentMethod": "BTC-CHAIN",
        "cryptoCode": "BTC",
        "currency": "BTC",
        "destination": "bcrt1qa",
        "paymentLink": "bitcoin:BCRT1QA?amount=0.00200000",
        "rate": "61142.30",
        "paymentMethodPaid": "0.00022416",
        "totalPaid": "0.00022416",
        "due": "0.00200000",
        "amount": "0.00222416",
        "paymentMethodFee": "0",
        "networkFee": "0",
        "activated": True,
        "additionalData": {},
        "payments": [
            {
                "id": "ab-0",
                "receivedDate": SEEN,
                "value": "0.00022416",
                "fee": "0",
                "status": "Processing",
                "destination": "bcrt1qa",
            }
        ],
    }


def test_without_money_the_sums_are_zero() -> None:
    found = method(example_facts())
    assert (found["totalPaid"], found["due"], found["payments"]) == ("0", "0.00000100", [])


def test_an_overpaid_invoice_is_due_below_zero() -> None:
    """No payment link asks for more money."""
    found = method(example_facts(status=Status.RECEIVED, outputs=(paid(150),)))
    assert (found["due"], found["paymentLink"]) == ("-0.00000050", "")


@pytest.mark.parametrize("status", [Status.EXPIRED, Status.RECEIVED, Status.CONFIRMED])
def test_only_a_new_invoice_has_a_link_to_pay(status: Status) -> None:
    """A tolerance may cover an invoice although an amount is due."""
    assert method(example_facts(status=status, outputs=(paid(99),)))["paymentLink"] == ""


def test_a_payment_is_settled_at_the_required_confirmations() -> None:
    """A coinbase output needs 100 confirmations."""
    outputs = (
        paid(10, txid="a", depth=6),
        paid(20, txid="b", depth=5),
        paid(30, txid="c"),
        paid(40, txid="d", depth=99, is_coinbase=True),
        paid(50, txid="e", depth=100, is_coinbase=True),
        gone(paid(60, txid="f")),
        paid(0, txid="g"),
    )
    facts = example_facts(status=Status.CONFIRMING, outputs=outputs)
    counted = [
        ("a-0", "0.00000010", "Settled"),
        ("b-0", "0.00000020", "Processing"),
        ("c-0", "0.00000030", "Processing"),
        ("d-0", "0.00000040", "Processing"),
        ("e-0", "0.00000050", "Settled"),
    ]
    assert payments(facts) == counted
    assert payments(facts, only_accounted=False) == [*counted, ("f-0", "0.00000060", "Invalid")]


def test_a_settled_invoice_keeps_its_payments_settled_after_a_reorg() -> None:
    """A reorg of one block changes nothing. Extra money settles at its own confirmations."""
    outputs = (paid(100, depth=5), paid(50, txid="b", depth=2))
    facts = example_facts(status=Status.CONFIRMED, outputs=outputs)
    assert [status for *_, status in payments(facts)] == ["Settled", "Processing"]


def test_payments_without_required_confirmations_are_settled_in_the_mempool() -> None:
    facts = example_facts(
        status=Status.CONFIRMED, outputs=(paid(),), terms=replace(TERMS, confirmations_required=0)
    )
    assert [status for *_, status in payments(facts)] == ["Settled"]


# Amounts that shops send


@pytest.mark.parametrize(
    ("value", "currency", "expected"),
    [
        ("135.99", "EUR", "135.99"),
        ("135.99000000", "EUR", "135.99"),
        ("0.005", "EUR", "0.01"),
        ("0.0149", "EUR", "0.01"),
        (Decimal("135.995"), "EUR", "136.00"),
        (135, "EUR", "135.00"),
        (" 12.5 ", "EUR", "12.50"),
        (ExponentDecimal("1e-7"), "BTC", "1E-7"),
        ("1.2e3", "JPY", "1200"),
        ("100.5", "JPY", "101"),
        ("2500", "SAT", "2500"),
        ("999999999999.99", "EUR", "999999999999.99"),
    ],
)
def test_an_amount_is_rounded_to_the_decimals_of_its_currency(
    value: object, currency: str, expected: str
) -> None:
    """A half is rounded away from zero. Plug-ins send eight decimals, and JSON numbers."""
    assert read_amount(value, currency) == Decimal(expected)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "must be a number above zero"),
        ("", "must be a number above zero"),
        (True, "must be a number above zero"),
        ([], "must be a number above zero"),
        ("12,50", "must be a number above zero"),
        ("1_000", "must be a number above zero"),
        ("NaN", "must be a number above zero"),
        ("Infinity", "must be a number above zero"),
        ("1e999999999", "must be a number above zero"),
        ("\u0661", "must be a number above zero"),
        ("1" * 2000, "must be a number above zero"),
        ("0", "must be above zero"),
        ("0.004", "must be above zero"),
        ("-5", "must be above zero"),
        (0, "must be above zero"),
        ("1000000000000", "at most 12 digits"),
        ("999999999999.999", "at most 12 digits"),
        (10**63, "at most 12 digits"),
    ],
)
def test_an_invalid_amount_is_refused(value: object, message: str) -> None:
    with pytest.raises(AmountError, match=message):
        read_amount(value, "EUR")


def test_a_currency_is_read_in_any_case() -> None:
    """BTCPay's name of satoshis is SATS."""
    assert [read_currency(code) for code in ("EUR", " eur ", "btc", "sats", "SAT")] == [
        "EUR", "EUR", "BTC", "SAT", "SAT",
    ]  # fmt: skip
    assert [currency_name(code) for code in ("EUR", "SAT", "BTC")] == ["EUR", "SATS", "BTC"]


@pytest.mark.parametrize("value", [None, "", "EURO", 5, "XAU", "E" * 5000])
def test_an_invalid_currency_is_refused(value: object) -> None:
    with pytest.raises(AmountError, match="ISO 4217"):
        read_currency(value)


def test_an_order_id_is_text_or_a_number() -> None:
    """Any other value gives no order id. The metadata always keeps the value."""
    values = ["4711", 4711, "", None, True, 1.5, {"a": 1}, "a\0b", "x" * 501]
    names = [order_id_in({"orderId": value}) for value in values]
    assert names == ["4711", "4711", *[None] * 7]
    assert order_id_in({}) is None
