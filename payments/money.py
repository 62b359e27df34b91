"""Satoshis, amounts and currencies. All numbers are exact: no floats, and rounding only where documented."""

import re
from collections.abc import Mapping, Set
from decimal import ROUND_HALF_UP, Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from functools import cache
from types import MappingProxyType
from typing import cast

SATS_PER_BTC = 100_000_000
DUST_LIMIT_SATS = 546
MAX_MONEY_SATS = 21_000_000 * SATS_PER_BTC
BITCOIN_UNITS: Mapping[str, Decimal] = MappingProxyType({"BTC": Decimal(1), "SAT": Decimal(SATS_PER_BTC)})
"""The price of one bitcoin in its own units, which need no source."""

MAX_DIGITS_BEFORE_POINT = 12
MAX_NUMBER_CHARACTERS = 1000

# This context raises an error instead of rounding. It does not depend on the context of the program.
EXACT = Context(prec=1000, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])

# [0-9] instead of \d, because \d matches the digits of every script. fullmatch instead of `$`, because `$`
# also matches before a newline.
_PLAIN_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")


class AmountError(ValueError):
    """The amount or currency is refused. The message gives the merchant the cause and the allowed values."""


class ExponentDecimal(Decimal):
    """A number that was written with an exponent, such as 1.0e1. It equals 10, but it is no plain number."""


def currency_exponent(code: str) -> int:
    """Return the maximum decimals of an amount in this currency: ISO 4217's minor unit, BTC 8, SAT 0.

    Raise AmountError.
    """
    if not is_currency(code):
        raise AmountError("must be an ISO 4217 currency code in capitals such as EUR, or BTC, or SAT")
    return _exponents()[code]


def is_currency(code: object) -> bool:
    """Return whether a request can have an amount in this currency."""
    return isinstance(code, str) and code in _exponents()


def currency_codes() -> Set[str]:
    """Return every currency that the amount of a request can have."""
    return _exponents().keys()


def read_amount(value: str | int | Decimal, currency: str) -> Decimal:
    """Return the amount that a merchant wrote, as text or as a JSON number read without floats.

    Zeros after the currency's last decimal change nothing, and are cut off. Raise AmountError.
    """
    max_decimals = currency_exponent(currency)
    amount = read_number(value)
    if amount is None:
        raise AmountError("must be a plain decimal number such as 135.99: no sign, exponent or spaces")
    if amount <= 0:
        raise AmountError("must be more than 0")
    if amount >= 10**MAX_DIGITS_BEFORE_POINT:
        raise AmountError(f"must have at most {MAX_DIGITS_BEFORE_POINT} digits before the point")
    if _decimals(amount) <= max_decimals:
        return amount
    try:
        return amount.quantize(Decimal((0, (1,), -max_decimals)), context=EXACT)
    except Inexact:
        raise AmountError(f"must have at most {max_decimals} decimals, as {currency} has") from None


def read_number(value: object) -> Decimal | None:
    """Return plain decimal text, an int or a finite Decimal as an exact number.

    Return None for any other value, and for a number that was written with an exponent.
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
    """Return `amount` in satoshis at `price` for one bitcoin, rounded up to a whole satoshi.

    Raise ValueError.
    """
    if not (amount.is_finite() and amount > 0 and price.is_finite() and price > 0):
        raise ValueError("an amount and a price must be above zero")
    amount_numerator, amount_denominator = amount.as_integer_ratio()
    price_numerator, price_denominator = price.as_integer_ratio()
    # -(-a // b) is a / b rounded up.
    return -(-amount_numerator * price_denominator * SATS_PER_BTC // (amount_denominator * price_numerator))


def amount_obstacle(amount_sats: int) -> str | None:
    """Return the reason why nobody can pay this amount, as a clause, or None where somebody can."""
    if amount_sats < DUST_LIMIT_SATS:
        return f"is {amount_sats} sats now; the network relays no payment below {DUST_LIMIT_SATS} sats"
    if amount_sats > MAX_MONEY_SATS:
        return f"is {format_btc(amount_sats)} BTC now; there will never be more than 21 million"
    return None


def exact_fiat(amount_sats: int, price: Decimal) -> Decimal:
    """Return satoshis at `price` for one bitcoin, with all decimals."""
    return EXACT.scaleb(EXACT.multiply(price, Decimal(amount_sats)), -8)


def sats_to_fiat(amount_sats: int, price: Decimal, currency: str) -> Decimal:
    """Return satoshis in `currency` at `price` for one bitcoin, rounded to its decimals, and half up."""
    unit = Decimal(1).scaleb(-currency_exponent(currency))
    return exact_fiat(amount_sats, price).quantize(unit, ROUND_HALF_UP, Context(prec=EXACT.prec))


def round_down(amount: Decimal, currency: str) -> Decimal:
    """Return the amount with exactly as many decimals as its currency has, rounded down."""
    return from_units(in_units(amount, currency), currency)


def in_units(amount: Decimal, currency: str) -> int:
    """Return the amount in the smallest unit of its currency, such as cents, rounded down."""
    return int(EXACT.scaleb(amount, currency_exponent(currency)))


def from_units(units: int, currency: str) -> Decimal:
    """Return an amount in the smallest unit of its currency as an amount of the currency."""
    return EXACT.scaleb(Decimal(units), -currency_exponent(currency))


def apply_spread(price: Decimal, percent: Decimal) -> Decimal:
    """Return the price less `percent` of it, exactly. A lower price makes the amount in bitcoin larger."""
    return EXACT.scaleb(EXACT.multiply(price, EXACT.subtract(Decimal(100), percent)), -2)


def price_of_bitcoin_unit(currency: str) -> Decimal | None:
    """Return the price of one bitcoin in BTC or SAT, which needs no source, or None for another currency."""
    return BITCOIN_UNITS.get(currency)


def tolerance_sats(amount_sats: int, percent: Decimal) -> int:
    """Return the part of `amount_sats` that may be missing, in satoshis, rounded down."""
    numerator, denominator = percent.as_integer_ratio()
    return amount_sats * numerator // (100 * denominator)


def format_btc(sats: int) -> str:
    """Return satoshis as bitcoin, with all eight decimals. 222416 becomes "0.00222416"."""
    whole, rest = divmod(abs(sats), SATS_PER_BTC)
    return f"{'-' if sats < 0 else ''}{whole}.{rest:08d}"


def group_digits(number: str) -> str:
    """Return a plain number with a comma after each three digits: "1,234.50" for "1234.50"."""
    whole, point, decimals = number.partition(".")
    return f"{int(whole):,}{point}{decimals}"


def to_plain(value: Decimal) -> str:
    """Return the number as text, never in exponent notation."""
    return format(value, "f")


def _decimals(number: Decimal) -> int:
    """Return the digits after the point of a finite number. A number like 1E+5 returns less than zero."""
    return -cast(int, number.as_tuple().exponent)


@cache
def _exponents() -> Mapping[str, int]:
    # The import is here because the package's table takes much memory, and the daemon never needs it.
    from iso4217 import Currency

    # Metals, funds and test codes have no minor unit. They are no currencies of payments.
    exponents = {currency.code: currency.exponent for currency in Currency if currency.exponent is not None}
    return exponents | {"BTC": 8, "SAT": 0}
