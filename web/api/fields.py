"""Types of fields that several forms share. Each has its check, and its schema for the API's description."""

import unicodedata
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PlainValidator, ValidationInfo

from payments.money import currency_codes, currency_exponent, read_amount
from web.api.redirect_url import MAX_URL_CHARACTERS, read_redirect_url

LINE_CHARACTERS = 100
TEXT_CHARACTERS = 500

_WITHOUT_CONTROLS = r"[^\u0000-\u001f\u007f-\u009f\u2028\u2029]"

AMOUNT_SCHEMA = {
    "anyOf": [
        {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$"},
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 10**12},
    ]
}


def _line(text: str) -> str:
    if not 1 <= len(text) <= LINE_CHARACTERS:
        raise ValueError(f"must have 1 to {LINE_CHARACTERS} characters")
    if _has_controls(text):
        raise ValueError("must be one line without control characters")
    return text


def _text(text: str) -> str:
    """Check a text of several lines. Replace CR LF by LF, because a text area in HTML sends CR LF."""
    text = text.replace("\r\n", "\n")
    if len(text) > TEXT_CHARACTERS:
        raise ValueError(f"must have at most {TEXT_CHARACTERS} characters")
    if _has_controls(text, allowed="\n\t"):
        raise ValueError("must have no control characters except new lines and tabs")
    return text


def _has_controls(text: str, allowed: str = "") -> bool:
    return any(unicodedata.category(c) in ("Cc", "Zl", "Zp") and c not in allowed for c in text)


def _currency(code: str) -> str:
    currency_exponent(code)
    return code


def _whole_number(least: int, most: int) -> PlainValidator:
    """Return a validator of a number. Null means the operator's setting, as does a missing number."""

    def read(value: object) -> int | None:
        if value is None:
            return None
        # isinstance would accept a bool as an int.
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"must be a whole number from {least} to {most}; leave it out for the default")
        return value

    schema = Annotated[int, Field(ge=least, le=most)] | None
    return PlainValidator(read, json_schema_input_type=schema)


def read_amount_in(value: Any, info: ValidationInfo) -> Decimal:
    """Return an amount in the currency of its form, in which `currency` must precede the amount.

    If the currency is invalid, assume bitcoin, which allows the most decimals. Raise AmountError.
    """
    return read_amount(value, info.data.get("currency", "BTC"))


Line = Annotated[
    str,
    AfterValidator(_line),
    Field(
        json_schema_extra={
            "minLength": 1,
            "maxLength": LINE_CHARACTERS,
            "pattern": f"^{_WITHOUT_CONTROLS}*$",
        }
    ),
]
Text = Annotated[
    str,
    AfterValidator(_text),
    Field(
        json_schema_extra={
            "maxLength": TEXT_CHARACTERS,
            "pattern": rf"^({_WITHOUT_CONTROLS}|\r\n|\n|\t)*$",
        }
    ),
]
CurrencyCode = Annotated[
    str,
    AfterValidator(_currency),
    Field(
        description="An ISO 4217 code, BTC or SAT",
        json_schema_extra={"enum": sorted(currency_codes())},
        examples=["EUR"],
    ),
]
RedirectUrl = Annotated[
    str,
    AfterValidator(read_redirect_url),
    Field(
        json_schema_extra={
            "format": "uri",
            "maxLength": MAX_URL_CHARACTERS,
            "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://",
        }
    ),
]
Confirmations = Annotated[int | None, _whole_number(0, 144)]
Lifetime = Annotated[int | None, _whole_number(60, 86_400)]
"""The seconds for which a price is valid."""
