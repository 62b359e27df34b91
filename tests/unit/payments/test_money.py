"""Amounts are exact, refused if they are not plain numbers, and rounded only in the merchant's favour."""

import json
from decimal import Context, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.money import (
    MAX_MONEY_SATS,
    SATS_PER_BTC,
    AmountError,
    ExponentDecimal,
    apply_spread,
    currency_exponent,
    fiat_to_sats,
    format_btc,
    is_currency,
    price_of_bitcoin_unit,
    read_amount,
    read_number,
    sats_to_fiat,
    to_plain,
    tolerance_sats,
)

amounts = st.decimals("0.01", "999999999999", allow_nan=False, allow_infinity=False, places=2)
prices = st.decimals("0.0001", "1e12", allow_nan=False, allow_infinity=False, places=4)
percents = st.decimals(0, "99.9", allow_nan=False, allow_infinity=False, places=1)


@pytest.mark.parametrize(
    ("code", "exponent"),
    [
        ("EUR", 2),
        ("USD", 2),
        ("JPY", 0),
        ("KRW", 0),
        ("KWD", 3),
        ("BHD", 3),
        ("CLF", 4),
        ("BTC", 8),
        ("SAT", 0),
    ],
)
def test_a_currency_has_the_decimals_of_iso_4217(code: str, exponent: int) -> None:
    """Yen have none, Kuwaiti dinars three. Bitcoin have eight, and satoshis none."""
    assert currency_exponent(code) == exponent
    assert is_currency(code)


@pytest.mark.parametrize("code", ["XAU", "XXX", "XTS", "eur", "EU", "", " EUR", "ÉUR", "DEM", "EUR\n"])
def test_codes_without_payments_are_no_currency(code: str) -> None:
    """Metals, test codes, withdrawn and misspelt codes are refused with the allowed values."""
    assert not is_currency(code)
    with pytest.raises(AmountError, match="ISO 4217"):
        read_amount("1", code)


def test_a_currency_that_is_not_text_is_refused() -> None:
    """JSON allows any value instead of a code."""
    assert not any(is_currency(value) for value in (None, 978, True, ["EUR"], {"EUR": 1}))


@pytest.mark.parametrize(
    ("value", "currency", "amount"),
    [
        ("135.99", "EUR", "135.99"),
        ("10.5", "EUR", "10.5"),
        ("007", "EUR", "7"),
        (10, "JPY", "10"),
        (Decimal("19.99"), "USD", "19.99"),
        ("0.00000001", "BTC", "0.00000001"),
        ("999999999999.999", "KWD", "999999999999.999"),
        ("1000.00", "JPY", "1000"),
        ("10.500", "EUR", "10.50"),
        (Decimal("1000.00"), "JPY", "1000"),
        ("1." + "0" * 900, "SAT", "1"),
    ],
)
def test_a_plain_amount_keeps_every_digit(value: str | int | Decimal, currency: str, amount: str) -> None:
    assert to_plain(read_amount(value, currency)) == amount


@pytest.mark.parametrize(
    "text", ["19.99", "0.1", "135.999", "1e5", "1E+2", "-1", "0", "0.0", "1000000000000"]
)
def test_a_json_number_is_read_like_its_digits_as_text(text: str) -> None:
    """json.loads with parse_float=Decimal keeps the digits, and so their faults."""
    value = json.loads(text, parse_float=Decimal)
    if text in ("19.99", "0.1"):
        assert read_amount(value, "EUR") == Decimal(text)
    else:
        with pytest.raises(AmountError):
            read_amount(value, "EUR")


@pytest.mark.parametrize(
    "value",
    [
        "",
        " 1",
        "1 ",
        "1\n",
        "+1",
        "-1",
        "1.",
        ".5",
        "1,5",
        "1_000",
        "1e3",
        "0x10",
        "NaN",
        "Infinity",
        "٣",
        "1²",
        True,
        False,
        None,
        1.5,
        [1],
        Decimal("NaN"),
        Decimal("Infinity"),
        Decimal("sNaN"),
        Decimal("1E+5"),
        ExponentDecimal("1.0e1"),
        ExponentDecimal("1.00e0"),
        "1." + "0" * 1000,
    ],
)
def test_an_amount_that_is_no_plain_number_is_refused(value: object) -> None:
    """Signs, exponents, spaces, underscores, foreign digits, booleans and floats are refused."""
    with pytest.raises(AmountError, match="plain decimal number"):
        read_amount(value, "EUR")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "currency", "reason"),
    [
        ("0", "EUR", "more than 0"),
        ("0.00", "EUR", "more than 0"),
        (-5, "EUR", "more than 0"),
        ("1000000000000", "EUR", "12 digits"),
        (10**4000, "EUR", "12 digits"),
        ("1.001", "EUR", "2 decimals, as EUR has"),
        ("10.501", "EUR", "2 decimals, as EUR has"),
        ("10.5", "JPY", "0 decimals, as JPY has"),
        ("10." + "0" * 900 + "1", "EUR", "2 decimals, as EUR has"),
        ("0.5", "SAT", "0 decimals, as SAT has"),
        ("0.000000001", "BTC", "8 decimals, as BTC has"),
    ],
)
def test_a_refusal_names_the_allowed_values(value: str | int, currency: str, reason: str) -> None:
    """The merchant reads the message."""
    with pytest.raises(AmountError, match=reason):
        read_amount(value, currency)


@given(st.text() | st.integers() | st.decimals() | st.floats() | st.booleans() | st.none())
def test_any_value_is_an_amount_or_an_amount_error(value: object) -> None:
    """An accepted amount is positive, finite and below 10**12."""
    try:
        amount = read_amount(value, "EUR")  # type: ignore[arg-type]
    except AmountError:
        return
    assert 0 < amount < 10**12
    assert to_plain(amount) == to_plain(Decimal(to_plain(amount)))


@given(st.decimals(allow_nan=False, allow_infinity=False, places=9))
def test_reading_ignores_the_decimal_context(number: Decimal) -> None:
    """A program's context of three digits must not cut a merchant's digits."""
    with localcontext(Context(prec=3)):
        read = read_number(to_plain(number.copy_abs()))
    assert read is not None
    assert to_plain(read) == to_plain(number.copy_abs())


def test_the_worked_example_of_the_documentation() -> None:
    """At 61142.30, 135.99 EUR are 222416 satoshis, since the exact quotient is 222415.5..."""
    assert fiat_to_sats(Decimal("135.99"), Decimal("61142.30")) == 222416
    assert format_btc(222416) == "0.00222416"


@given(amounts, prices)
def test_the_amount_due_is_the_least_that_pays(amount: Decimal, price: Decimal) -> None:
    """One satoshi less would be too little, in any decimal context."""
    with localcontext(Context(prec=2)):
        sats = fiat_to_sats(amount, price)
    with localcontext(Context(prec=200)):
        assert sats * price >= amount * SATS_PER_BTC > (sats - 1) * price


@given(st.integers(1, MAX_MONEY_SATS))
def test_bitcoin_and_satoshis_need_no_rounding(sats: int) -> None:
    for currency, amount in (("SAT", Decimal(sats)), ("BTC", Decimal(format_btc(sats)))):
        price = price_of_bitcoin_unit(currency)
        assert price is not None
        assert fiat_to_sats(amount, price) == sats
    assert price_of_bitcoin_unit("EUR") is None


@pytest.mark.parametrize("wrong", ["0", "-1", "NaN", "Infinity"])
def test_a_price_or_amount_of_zero_is_an_error(wrong: str) -> None:
    """A wrong price is an error of the program, and never makes a payment free."""
    with pytest.raises(ValueError, match="above zero"):
        fiat_to_sats(Decimal(1), Decimal(wrong))
    with pytest.raises(ValueError, match="above zero"):
        fiat_to_sats(Decimal(wrong), Decimal(1))


@given(amounts, prices, percents)
def test_a_spread_favours_the_merchant(amount: Decimal, price: Decimal, percent: Decimal) -> None:
    """A spread lowers the price by the exact share, so the customer never owes less bitcoin."""
    with localcontext(Context(prec=2)):
        lower = apply_spread(price, percent)
    with localcontext(Context(prec=200)):
        assert lower == price - price * percent / 100
    assert fiat_to_sats(amount, lower) >= fiat_to_sats(amount, price)


@pytest.mark.parametrize(
    ("sats", "price", "currency", "fiat"),
    [
        (122_402, "61146.30", "EUR", "74.84"),
        (100_000_000, "61146.305", "EUR", "61146.31"),
        (546, "9000000", "JPY", "49"),
        (0, "61146.30", "EUR", "0.00"),
        (1000, "100000000", "SAT", "1000"),
    ],
)
def test_satoshis_have_a_value_with_the_currencys_decimals(
    sats: int, price: str, currency: str, fiat: str
) -> None:
    """It is rounded half up, whatever the context of the program is."""
    with localcontext(Context(prec=2)):
        assert to_plain(sats_to_fiat(sats, Decimal(price), currency)) == fiat


@given(st.integers(0, MAX_MONEY_SATS), percents)
def test_a_tolerance_is_rounded_down(sats: int, percent: Decimal) -> None:
    """A customer may not pay less than the operator's limit."""
    with localcontext(Context(prec=2)):
        missing = tolerance_sats(sats, percent)
    with localcontext(Context(prec=200)):
        assert missing * 100 <= sats * percent < (missing + 1) * 100


@given(st.integers(-MAX_MONEY_SATS, MAX_MONEY_SATS))
def test_bitcoin_are_written_with_eight_decimals(sats: int) -> None:
    assert len(format_btc(sats).partition(".")[2]) == 8
    assert Decimal(format_btc(sats)) * SATS_PER_BTC == sats


@pytest.mark.parametrize(
    ("value", "text"), [("61142.30", "61142.30"), ("1E+5", "100000"), ("1E-8", "0.00000001"), ("0", "0")]
)
def test_plain_numbers_have_no_exponent(value: str, text: str) -> None:
    """Zeros at the end are kept."""
    assert to_plain(Decimal(value)) == text
