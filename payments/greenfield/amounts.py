"""Amounts and currencies in BTCPay's form: rounded to the currency's decimals, and always text in answers."""

from decimal import ROUND_HALF_UP, Context, Decimal

from payments.greenfield.facts import InvoiceFacts
from payments.money import (
    EXACT,
    MAX_DIGITS_BEFORE_POINT,
    MAX_NUMBER_CHARACTERS,
    AmountError,
    currency_exponent,
    format_btc,
    is_currency,
    sats_to_fiat,
)

_SATS_NAME = "SATS"
"""BTCPay's name of the currency SAT."""

_MAX_EXPONENT = 100


def read_currency(value: object) -> str:
    """Return the request's currency for the code that a shop sent. Ignore case and outer spaces.

    Raise AmountError.
    """
    code = value.strip().upper() if isinstance(value, str) and len(value) < MAX_NUMBER_CHARACTERS else None
    code = "SAT" if code == _SATS_NAME else code
    if code is None or not is_currency(code):
        raise AmountError("must be an ISO 4217 currency code such as EUR, or BTC, or SATS")
    return code


def currency_name(currency: str) -> str:
    """Return BTCPay's name of a request's currency."""
    return _SATS_NAME if currency == "SAT" else currency


def read_amount(value: object, currency: str) -> Decimal:
    """Return an amount that a shop sent as text or as a JSON number, rounded half away from zero.

    Raise AmountError for an amount that is not above zero. Without an amount, BTCPay makes an invoice that
    any payment settles. BTCPay settles an invoice of zero at once. Nodetill makes neither.
    """
    number = _number(value)
    if number is None:
        raise AmountError('must be a number above zero, such as "135.99"')
    # Decimal cannot round a number with a huge exponent. The rounding of a smaller one can add a digit.
    amount = number if number.adjusted() >= MAX_DIGITS_BEFORE_POINT else _rounded(number, currency)
    if amount.adjusted() >= MAX_DIGITS_BEFORE_POINT:
        raise AmountError(f"must have at most {MAX_DIGITS_BEFORE_POINT} digits before the point")
    if amount <= 0:
        raise AmountError("must be above zero, after it is rounded to the decimals of the currency")
    return amount


def format_amount(amount: Decimal, currency: str) -> str:
    """Return an amount as text with the decimals of its currency."""
    return format(_rounded(amount, currency), "f")


def paid_amount(facts: InvoiceFacts) -> str:
    """Return the amount that has come, in the invoice's currency, at the price of the invoice.

    The amount in satoshis is rounded up, and the result is rounded to the currency's decimals. So the exact
    amount in satoshis gives the invoice's amount, and a larger amount never gives less. A smaller amount
    gives less, unless it covers the invoice.
    """
    asked, received_sats = Decimal(facts.amount), facts.received_sats
    paid = sats_to_fiat(received_sats, Decimal(facts.price), facts.currency)
    if received_sats == facts.terms.amount_sats:
        paid = asked
    elif received_sats > facts.terms.amount_sats:
        paid = max(paid, asked)
    elif not facts.status.is_covered:
        paid = min(paid, asked - _unit(facts.currency))
    return format_amount(paid, facts.currency)


def format_sats(sats: int) -> str:
    """Return satoshis as bitcoin, and "0" for nothing."""
    return format_btc(sats) if sats else "0"


def _number(value: object) -> Decimal | None:
    match value:
        case bool():
            return None
        case int():
            return Decimal(value)
        case Decimal():
            number = value
        case str() if len(value) <= MAX_NUMBER_CHARACTERS and value.isascii() and "_" not in value:
            try:
                number = Decimal(value.strip())
            except ArithmeticError:
                return None
        case _:
            return None
    return number if number.is_finite() and abs(number.adjusted()) <= _MAX_EXPONENT else None


def _rounded(amount: Decimal, currency: str) -> Decimal:
    return amount.quantize(_unit(currency), ROUND_HALF_UP, Context(prec=EXACT.prec))


def _unit(currency: str) -> Decimal:
    """Return the smallest amount of a currency, such as a cent."""
    return Decimal(1).scaleb(-currency_exponent(currency))
