"""The form that creates a payment link."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    Field,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from web.api.fields import (
    AMOUNT_SCHEMA,
    LINE_CHARACTERS,
    Confirmations,
    CurrencyCode,
    Lifetime,
    Line,
    RedirectUrl,
    Text,
    read_amount_in,
)
from web.api.forms import Form
from web.api.payment_list import read_time

MAX_SUGGESTED = 4

_AMOUNT = Annotated[Any, WithJsonSchema({"anyOf": [*AMOUNT_SCHEMA["anyOf"], {"type": "null"}]})]
_AMOUNTS = Annotated[
    Any,
    WithJsonSchema(
        {"anyOf": [{"type": "array", "maxItems": MAX_SUGGESTED, "items": AMOUNT_SCHEMA}, {"type": "null"}]}
    ),
]


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError(f"must have 1 to {LINE_CHARACTERS} characters")
    return text


def _due_at(value: object) -> datetime | None:
    if value is None:
        return None
    try:
        return read_time(value if isinstance(value, str) else "").astimezone(UTC)
    except OverflowError:
        # The database can store such a time, but no datetime in UTC can hold it.
        raise ValueError("must be a time in the years 1 to 9999 in UTC") from None


_VisibleLine = Annotated[Line, AfterValidator(_not_blank)]


class LinkForm(Form):
    """The body that creates a payment link. In an optional field, null means the default."""

    seller_id: Annotated[
        str | None,
        Field(description="The seller that owns the API key. Leave it out, because the key names the seller"),
    ] = None
    title: Annotated[
        _VisibleLine,
        Field(
            description="The title of the link's page, and the label of its requests",
            examples=["Invoice 2026-17"],
        ),
    ]
    description: Annotated[
        Text | None, Field(description="A text on the link's page. New lines are kept")
    ] = None
    order_id: Annotated[
        _VisibleLine | None,
        Field(description="Your own number of the order or the invoice, also for the payer"),
    ] = None
    note: Annotated[Text | None, Field(description="A note for you and the operator, not for payers")] = None
    # This field precedes the amounts, because the currency limits their decimals.
    currency: CurrencyCode
    amount_fiat: Annotated[
        Decimal | None,
        Field(description="The amount, or null if the payer chooses it", examples=["135.99"]),
    ] = None
    minimum: Annotated[
        Decimal | None, Field(description="The minimum that the payer may choose, without `amount_fiat`")
    ] = None
    maximum: Annotated[
        Decimal | None, Field(description="The maximum that the payer may choose, without `amount_fiat`")
    ] = None
    suggested: Annotated[
        list[Decimal] | None,
        Field(description=f"Up to {MAX_SUGGESTED} amounts with a button each, without `amount_fiat`"),
    ] = None
    is_reusable: Annotated[
        bool,
        Field(description="False for an invoice, paid once. True if anybody may pay, any number of times"),
    ] = False
    due_at: Annotated[
        datetime | None,
        PlainValidator(
            _due_at,
            json_schema_input_type=Annotated[
                Any, WithJsonSchema({"type": ["string", "null"], "format": "date-time"})
            ],
        ),
        Field(description="The time from which an invoice is `overdue`. It can still be paid"),
    ] = None
    confirmations: Annotated[
        Confirmations,
        Field(description="The confirmations that its requests need; default: the operator's setting"),
    ] = None
    expires_in: Annotated[
        Lifetime,
        Field(
            description="Seconds for which the price of a request is valid; default: the operator's setting"
        ),
    ] = None
    redirect_url: Annotated[
        RedirectUrl | None,
        Field(description="The page to which the checkout pages lead; default: the page of this link"),
    ] = None
    thanks: Annotated[
        Text | None, Field(description="A text that the payer sees after the payment. New lines are kept")
    ] = None

    @field_validator("amount_fiat", mode="plain", json_schema_input_type=_AMOUNT)
    @classmethod
    def _is_an_amount(cls, value: Any, info: ValidationInfo) -> Decimal | None:
        return _amount(value, info)

    @field_validator("minimum", "maximum", mode="plain", json_schema_input_type=_AMOUNT)
    @classmethod
    def _is_a_limit(cls, value: Any, info: ValidationInfo) -> Decimal | None:
        limit = _amount(value, info)
        if limit is not None:
            _check_choice(info)
            least = info.data.get("minimum")
            if info.field_name == "maximum" and least is not None and limit < least:
                raise ValueError("must not be less than minimum")
        return limit

    @field_validator("suggested", mode="plain", json_schema_input_type=_AMOUNTS)
    @classmethod
    def _are_choices(cls, value: Any, info: ValidationInfo) -> list[Decimal] | None:
        if value is None or value == []:
            return None
        if not isinstance(value, list) or len(value) > MAX_SUGGESTED:
            raise ValueError(f"must be a list of at most {MAX_SUGGESTED} amounts")
        _check_choice(info)
        amounts = [amount for each in value if (amount := _amount(each, info)) is not None]
        if len(amounts) < len(value) or len(set(amounts)) < len(amounts):
            raise ValueError("must have a different amount in each place")
        least, most = info.data.get("minimum"), info.data.get("maximum")
        if any((least and each < least) or (most and each > most) for each in amounts):
            raise ValueError("must be between minimum and maximum")
        return amounts

    @field_validator("due_at")
    @classmethod
    def _is_due_once(cls, value: datetime | None, info: ValidationInfo) -> datetime | None:
        if value is not None and info.data.get("is_reusable"):
            raise ValueError("is only for a single-use link; a link with is_reusable is never due")
        return value


def _amount(value: Any, info: ValidationInfo) -> Decimal | None:
    return None if value is None else read_amount_in(value, info)


def _check_choice(info: ValidationInfo) -> None:
    if info.data.get("amount_fiat") is not None:
        raise ValueError("is only for a link without amount_fiat, whose payer chooses the amount")
