"""Satoshis, amounts and currencies. Exact: no float, and no rounding but where it says so."""

import re
from collections.abc import Mapping, Set
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from functools import cache
from typing import cast

SATS_PER_BTC = 100_000_000
DUST_LIMIT_SATS = 546
MAX_MONEY_SATS = 21_000_000 * SATS_PER_BTC
DIGITS_BEFORE_POINT = 12
MAX_NUMBER_CHARACTERS = 1000

# Raises rather than rounds, whatever context the program runs in.
EXACT = Context(prec=1000, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])

# [0-9] and fullmatch: \d would take the digits of every script, and `$` a newline after the number.
_PLAIN_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")


class AmountError(ValueError):
    """An amount or currency that is refused; the message says why and what is allowed, for the merchant."""


class ExponentDecimal(Decimal):
    """A number that was written with an exponent, such as 1.0e1. It is equal to 10, and no plain number."""


def currency_exponent(code: str) -> int:
    """The decimals that an amount in this currency may have: ISO 4217's minor unit; BTC 8, SAT 0."""
    if not is_currency(code):
        raise AmountError("must be an ISO 4217 currency code in capitals such as EUR, or BTC, or SAT")
    return _exponents()[code]


def is_currency(code: object) -> bool:
    """Whether an amount can be asked for in it."""
    return isinstance(code, str) and code in _exponents()


def currency_codes() -> Set[str]:
    """Every currency that an amount can be asked for in."""
    return _exponents().keys()


def read_amount(value: str | int | Decimal, currency: str) -> Decimal:
    """Return the amount that a merchant wrote, as text or as a JSON number read without floats.

    Zeros behind the currency's last decimal say nothing, and are cut off. Raises AmountError.
    """
    most = currency_exponent(currency)
    amount = read_number(value)
    if amount is None:
        raise AmountError("must be a plain decimal number such as 135.99: no sign, exponent or spaces")
    if amount <= 0:
        raise AmountError("must be more than 0")
    if amount >= 10**DIGITS_BEFORE_POINT:
        raise AmountError(f"must have at most {DIGITS_BEFORE_POINT} digits before the point")
    if _decimals(amount) <= most:
        return amount
    try:
        return amount.quantize(Decimal((0, (1,), -most)), context=EXACT)
    except Inexact:
        raise AmountError(f"must have at most {most} decimals, as {currency} has") from None


def read_number(value: object) -> Decimal | None:
    """Return the finite number that plain decimal text, an int or a Decimal means, to its last digit.

    Return None for anything else, and for a number that was written with an exponent.
    """
    match value:
        case str() if len(value) <= MAX_NUMBER_CHARACTERS and _PLAIN_NUMBER.fullmatch(value):
            return Decimal(value)
        case bool() | ExponentDecimal():
            return None
        case int():
            return Decimal(value)
        case Decimal() if value.is_finite() and _decimals(value) >= 0:
            return value
    return None


def fiat_to_sats(amount: Decimal, price: Decimal) -> int:
    """What `amount` is at `price` for one bitcoin, in satoshis, rounded up to a whole one."""
    if not (amount.is_finite() and amount > 0 and price.is_finite() and price > 0):
        raise ValueError("an amount and a price must be above zero")
    amount_numerator, amount_denominator = amount.as_integer_ratio()
    price_numerator, price_denominator = price.as_integer_ratio()
    # -(-a // b) is a / b rounded up.
    return -(-amount_numerator * price_denominator * SATS_PER_BTC // (amount_denominator * price_numerator))


def apply_spread(price: Decimal, percent: Decimal) -> Decimal:
    """The price less `percent` of it, to the last digit: a lower price asks for more bitcoin."""
    return EXACT.scaleb(EXACT.multiply(price, EXACT.subtract(Decimal(100), percent)), -2)


def price_of_bitcoin_unit(currency: str) -> Decimal | None:
    """What one bitcoin is in BTC or SAT, which needs no source; None for any other currency."""
    return {"BTC": Decimal(1), "SAT": Decimal(SATS_PER_BTC)}.get(currency)


def tolerance_sats(amount_sats: int, percent: Decimal) -> int:
    """How much of `amount_sats` may be missing, rounded down."""
    numerator, denominator = percent.as_integer_ratio()
    return amount_sats * numerator // (100 * denominator)


def format_btc(sats: int) -> str:
    """Satoshis as bitcoin, with all eight decimals: 222416 is "0.00222416"."""
    whole, rest = divmod(abs(sats), SATS_PER_BTC)
    return f"{'-' if sats < 0 else ''}{whole}.{rest:08d}"


def to_plain(value: Decimal) -> str:
    """The digits as they are, never in exponent notation."""
    return format(value, "f")


def _decimals(number: Decimal) -> int:
    """Digits after the point; below zero for a number like 1E+5. Only for a finite one."""
    return -cast(int, number.as_tuple().exponent)


@cache
def _exponents() -> Mapping[str, int]:
    # Imported when asked: the package's table takes 6 MiB, and the daemon never asks.
    from iso4217 import Currency

    # Metals, funds and test codes have no minor unit: nobody is paid in them.
    exponents = {currency.code: currency.exponent for currency in Currency if currency.exponent is not None}
    return exponents | {"BTC": 8, "SAT": 0}
