"""People type amounts as their language writes them."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.money import AmountError, currency_exponent
from payments.typed_amount import read_typed_amount


@pytest.mark.parametrize(
    ("typed", "mark", "amount"),
    [
        ("5", ".", "5"),
        ("12.50", ".", "12.50"),
        ("12,50", ",", "12.50"),
        ("12,50", ".", "12.50"),
        ("12.50", ",", "12.50"),
        ("1,000", ".", "1000"),
        ("1.000", ",", "1000"),
        ("1.000", ".", "1.00"),
        ("0,500", ".", "0.50"),
        ("1,234.50", ".", "1234.50"),
        ("1.234,50", ",", "1234.50"),
        ("1.234,50", ".", "1234.50"),
        ("1.234.567", ",", "1234567"),
        ("1\u202f234,50", ",", "1234.50"),
        ("1'234.50", ".", "1234.50"),
        (" 7 ", ".", "7"),
        (",50", ",", "0.50"),
        ("5,", ",", "5"),
    ],
)
def test_an_amount_is_read_as_typed(typed: str, mark: str, amount: str) -> None:
    assert read_typed_amount(typed, "EUR", mark) == Decimal(amount)


@pytest.mark.parametrize(
    "typed",
    [
        "",
        " ",
        "abc",
        "5 EUR",
        "-5",
        "+5",
        "1e3",
        "1,23,45",
        "12.345.6",
        "1.2,3.4",
        "0",
        "5.001",
        ".",
        "1" * 50,
        "٥",
    ],
)
def test_other_text_is_refused(typed: str) -> None:
    with pytest.raises(AmountError):
        read_typed_amount(typed, "EUR", ".")


@given(st.text(alphabet="0123456789., '-+eE") | st.text(), st.sampled_from(["EUR", "JPY", "BTC"]))
def test_any_text_is_an_amount_of_the_currency_or_refused(typed: str, currency: str) -> None:
    try:
        amount = read_typed_amount(typed, currency, ",")
    except AmountError:
        return
    assert amount > 0
    assert amount == round(amount, currency_exponent(currency))
