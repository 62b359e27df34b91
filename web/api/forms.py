"""Read what a caller sends, field by field, and name all that is wrong at once.

The API's description (openapi.py) is made from these forms: where a validator of ours knows more than its
type says, the JSON schema beside it says so too.
"""

import json
import re
import unicodedata
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import ErrorDetails

from payments.money import currency_codes, currency_exponent, read_amount
from web.api.redirect_url import MAX_URL_CHARACTERS, read_redirect_url
from web.http.responses import FieldError, Problem, invalid

NOTE_CHARACTERS = 500
LABEL_CHARACTERS = 100
METADATA_BYTES = 4096
_MOST_ERRORS = 20

REFERENCE = re.compile(r"PR-[A-Za-z0-9]{22}")
TXID = re.compile(r"[0-9a-f]{64}")
_WITHOUT_CONTROLS = r"[^\u0000-\u001f\u007f-\u009f\u2028\u2029]"
F = TypeVar("F", bound=BaseModel)


def _note(text: str) -> str:
    """A form's text area sends CR LF for each new line; LF is what is kept."""
    text = text.replace("\r\n", "\n")
    if len(text) > NOTE_CHARACTERS:
        raise ValueError(f"must have at most {NOTE_CHARACTERS} characters")
    if _has_controls(text, allowed="\n\t"):
        raise ValueError("must have no control characters but new lines and tabs")
    return text


def _label(text: str) -> str:
    if not 1 <= len(text) <= LABEL_CHARACTERS:
        raise ValueError(f"must have 1 to {LABEL_CHARACTERS} characters")
    if _has_controls(text):
        raise ValueError("must be one line without control characters")
    return text


def _metadata(value: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = _kept(value)
    size = len(json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode())
    if size > METADATA_BYTES:
        raise ValueError(f"must have at most {METADATA_BYTES} bytes as JSON, not {size}")
    return kept


def _kept(value: Any) -> Any:
    """Numbers are given back as they came, or refused: JSON is read with doubles (RFC 8259, 6)."""
    match value:
        case dict():
            return {key: _kept(item) for key, item in value.items()}
        case list():
            return [_kept(item) for item in value]
        case Decimal():
            number = float(value)
            if Decimal(repr(number)) != value:
                raise ValueError("has a number with too many digits to be kept exactly: send it as text")
            return number
    return value


def _txid(text: str) -> str:
    if not TXID.fullmatch(text.lower()):
        raise ValueError("must be a transaction id: 64 hex digits")
    return text.lower()


def _has_controls(text: str, allowed: str = "") -> bool:
    return any(unicodedata.category(c) in ("Cc", "Zl", "Zp") and c not in allowed for c in text)


def _whole_number(least: int, most: int) -> PlainValidator:
    """Read a number that may be null or left out, which both stand for the operator's setting."""

    def read(value: object) -> int | None:
        if value is None:
            return None
        # A bool is an int to isinstance.
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"must be a whole number from {least} to {most}; leave it out for the default")
        return value

    schema = Annotated[int, Field(ge=least, le=most)] | None
    return PlainValidator(read, json_schema_input_type=schema)


_AMOUNT_SCHEMA = {
    "anyOf": [
        {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$"},
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 10**12},
    ]
}


class Form(BaseModel):
    """Strict: "6" is no number, true is not 1, and a field that is not there may not be sent."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class PaymentForm(Form):
    """What a payment is asked for with. null stands for the default of each optional field."""

    seller_id: Annotated[str, Field(description="The seller whose key this is", examples=["company1"])]
    # Before the amount, which may have as many decimals as its currency has.
    currency: Annotated[
        str,
        Field(
            description="An ISO 4217 code, or BTC, or SAT",
            json_schema_extra={"enum": sorted(currency_codes())},
            examples=["EUR"],
        ),
    ]
    amount_fiat: Annotated[
        Decimal,
        Field(
            description="The amount, as text or a number: no exponent, at most 12 digits before the point, "
            "and no more decimals than its currency has; zeros behind them do no harm",
            examples=["135.99"],
        ),
    ]
    note: Annotated[
        Annotated[
            str,
            AfterValidator(_note),
            Field(
                json_schema_extra={
                    "maxLength": NOTE_CHARACTERS,
                    "pattern": rf"^({_WITHOUT_CONTROLS}|\r\n|\n|\t)*$",
                },
            ),
        ]
        | None,
        Field(
            description="What the operator's email and your own documents say of it; lines and tabs are kept",
            examples=["Alpaca socks"],
        ),
    ] = None
    label: Annotated[
        Annotated[
            str,
            AfterValidator(_label),
            Field(
                json_schema_extra={
                    "minLength": 1,
                    "maxLength": LABEL_CHARACTERS,
                    "pattern": f"^{_WITHOUT_CONTROLS}*$",
                }
            ),
        ]
        | None,
        Field(description="What the customer reads on the payment page and in the wallet: your shop's name"),
    ] = None
    redirect_url: Annotated[
        Annotated[
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
        | None,
        Field(
            description="Where the payment page sends the customer back to",
            examples=["https://shop.example/thanks?order=4711"],
        ),
    ] = None
    metadata: Annotated[
        Annotated[dict[str, Any], AfterValidator(_metadata)] | None,
        Field(
            description=f"Whatever you want back with it; at most {METADATA_BYTES} bytes as JSON",
            examples=[{"order": 4711}],
        ),
    ] = None
    confirmations: Annotated[
        int | None,
        _whole_number(0, 144),
        Field(description="Blocks deep at which it counts as confirmed; the operator's setting if left out"),
    ] = None
    expires_in: Annotated[
        int | None,
        _whole_number(60, 86_400),
        Field(description="Seconds for which the price holds; the operator's setting if left out"),
    ] = None

    @field_validator("currency")
    @classmethod
    def _is_known(cls, code: str) -> str:
        currency_exponent(code)
        return code

    @field_validator(
        "amount_fiat",
        mode="plain",
        json_schema_input_type=Annotated[Any, WithJsonSchema(_AMOUNT_SCHEMA)],
    )
    @classmethod
    def _is_an_amount(cls, value: Any, info: ValidationInfo) -> Decimal:
        # Of a currency that is wrong itself nothing is known: bitcoin allows the most decimals.
        return read_amount(value, info.data.get("currency", "BTC"))


class TransactionForm(Form):
    """The transaction that is to be looked at; in lower case from here on."""

    txid: Annotated[
        str,
        AfterValidator(_txid),
        Field(
            description="A transaction's id, as wallets and explorers show it",
            json_schema_extra={"pattern": "^[0-9A-Fa-f]{64}$"},
        ),
    ]


def read_form(form: type[F], body: Mapping[str, Any]) -> F:
    """The checked form. Raises Problem 422 with every fault of the body."""
    try:
        return form.model_validate(body)
    except ValidationError as error:
        raise _problem(form, error) from error


def _problem(form: type[BaseModel], error: ValidationError) -> Problem:
    details = error.errors(include_url=False, include_input=False)[:_MOST_ERRORS]
    return invalid([FieldError(str(detail["loc"][0]), _message(form, detail)) for detail in details])


def _message(form: type[BaseModel], detail: ErrorDetails) -> str:
    match detail["type"]:
        case "missing":
            return "is required"
        case "extra_forbidden":
            return f"is not known here; allowed are {', '.join(form.model_fields)}"
        case "value_error":
            return str(detail["ctx"]["error"])
        case "string_type":
            return "must be text"
        case "dict_type":
            return "must be an object"
    return detail["msg"].replace("Input should be", "must be")
