"""Forms that validate a caller's input and report all errors at once.

web/description creates the API's description from these forms. If a validator is stricter than its type, the
JSON schema beside it states the same rule.
"""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic_core import ErrorDetails

from web.api.fields import (
    AMOUNT_SCHEMA,
    Confirmations,
    CurrencyCode,
    Lifetime,
    Line,
    RedirectUrl,
    Text,
    read_amount_in,
)
from web.http.responses import FieldError, Problem, invalid

METADATA_BYTES = 4096
_MAX_ERRORS = 20

TXID = re.compile(r"[0-9a-f]{64}")
F = TypeVar("F", bound=BaseModel)


def _metadata(value: dict[str, Any]) -> dict[str, Any]:
    exact: dict[str, Any] = _exact(value)
    size = len(json.dumps(exact, ensure_ascii=False, separators=(",", ":")).encode())
    if size > METADATA_BYTES:
        raise ValueError(f"must have at most {METADATA_BYTES} bytes as JSON, not {size}")
    return exact


def _exact(value: Any) -> Any:
    """Convert numbers to float, as JSON parsers do (RFC 8259, 6). Refuse a number that would change."""
    match value:
        case dict():
            return {key: _exact(item) for key, item in value.items()}
        case list():
            return [_exact(item) for item in value]
        case Decimal():
            number = float(value)
            if Decimal(repr(number)) != value:
                raise ValueError("has a number with too many digits to store it exactly; send it as text")
            return number
    return value


def _txid(text: str) -> str:
    if not TXID.fullmatch(text.lower()):
        raise ValueError("must be a transaction id: 64 hex digits")
    return text.lower()


class Form(BaseModel):
    """A strict form. It converts no types, and refuses unknown fields."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class PaymentForm(Form):
    """The body that creates a payment request. In an optional field, null stands for the default."""

    seller_id: Annotated[
        str | None,
        Field(
            description="The seller that owns the API key. The key names the seller, so leave it out",
            examples=["company1"],
        ),
    ] = None
    # This field precedes the amount, because the currency limits the decimals of the amount.
    currency: CurrencyCode
    amount_fiat: Annotated[
        Decimal,
        Field(
            description="The amount, as text or as a number, without an exponent. It has at most 12 digits "
            "before the point, and no more decimals than its currency. Extra zeros at the end are allowed",
            examples=["135.99"],
        ),
    ]
    order_id: Annotated[
        Line | None,
        Field(
            description="Your own number of the order, which the customer sees. It need not be unique",
            examples=["4711"],
        ),
    ] = None
    note: Annotated[
        Text | None,
        Field(
            description="A note for you and the operator, not for customers. New lines and tabs are kept",
            examples=["Alpaca socks"],
        ),
    ] = None
    label: Annotated[
        Line | None,
        Field(description="Text on the checkout page and in the wallet, such as the name of your shop"),
    ] = None
    redirect_url: Annotated[
        RedirectUrl | None,
        Field(
            description="The page of your shop that the checkout page links to",
            examples=["https://shop.example/thanks?order=4711"],
        ),
    ] = None
    metadata: Annotated[
        Annotated[dict[str, Any], AfterValidator(_metadata)] | None,
        Field(
            description=f"Your own data, which responses and webhooks return; at most {METADATA_BYTES} bytes",
            examples=[{"order": 4711}],
        ),
    ] = None
    confirmations: Annotated[
        Confirmations,
        Field(
            description="The confirmations that the payment needs; default: the operator's setting. "
            "The operator can demand more than you ask for: read `confirmations_required`"
        ),
    ] = None
    expires_in: Annotated[
        Lifetime,
        Field(description="Seconds for which the price is valid; default: the operator's setting"),
    ] = None

    @field_validator(
        "amount_fiat",
        mode="plain",
        json_schema_input_type=Annotated[Any, WithJsonSchema(AMOUNT_SCHEMA)],
    )
    @classmethod
    def _is_an_amount(cls, value: Any, info: ValidationInfo) -> Decimal:
        return read_amount_in(value, info)


class OpenPaymentForm(PaymentForm):
    """The body of a call that may come without an API key, so the body names the seller."""

    seller_id: str


class TransactionForm(Form):
    """The transaction that the daemon checks. The form converts its id to lower case."""

    txid: Annotated[
        str,
        AfterValidator(_txid),
        Field(
            description="The id of the transaction, as wallets and explorers show it",
            json_schema_extra={"pattern": "^[0-9A-Fa-f]{64}$"},
        ),
    ]


def read_form(form: type[F], body: Mapping[str, Any]) -> F:
    """Return the validated form. Raise Problem 422 with all errors of the body."""
    try:
        return form.model_validate(body)
    except ValidationError as error:
        raise _problem(form, error) from error


def _problem(form: type[BaseModel], error: ValidationError) -> Problem:
    details = error.errors(include_url=False, include_input=False)[:_MAX_ERRORS]
    return invalid([FieldError(str(detail["loc"][0]), _message(form, detail)) for detail in details])


def _message(form: type[BaseModel], detail: ErrorDetails) -> str:
    match detail["type"]:
        case "missing":
            return "is required"
        case "extra_forbidden":
            return f"is unknown; allowed are {', '.join(form.model_fields)}"
        case "value_error":
            return str(detail["ctx"]["error"])
        case "string_type":
            return "must be text"
        case "dict_type":
            return "must be an object"
    return detail["msg"].replace("Input should be", "must be")
