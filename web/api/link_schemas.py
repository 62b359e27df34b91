"""Schemas of the responses about payment links.

`payments.link_document` builds `PaymentLink` without these descriptions. mypy compares the fields and their
types.
"""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from payments.link import LinkEvent, LinkStatus
from payments.network import NETWORKS
from payments.status import Status
from web.api.schemas import Count, Currency, Digits, LinkReference, Moment, Reference, Sats


class LinkPayment(TypedDict):
    """A request of a link to which money came."""

    payment_request_id: Reference
    status: Status
    amount_fiat: Digits
    paid_fiat: Annotated[Digits, Field(description="The worth of its counted money, at its own price")]
    received_sats: Sats
    late: Annotated[bool, Field(description="True if its whole amount came after the price had expired")]


class PaymentLink(TypedDict):
    """A payment link. It has no price, and each press of "Pay" makes a payment request with a price."""

    link_id: LinkReference
    seller_id: Annotated[str, Field(examples=["company1"])]
    network: Annotated[
        Annotated[str, Field(json_schema_extra={"enum": list(NETWORKS)})] | None,
        Field(description="The network, as in a payment request"),
    ]
    url: Annotated[str, Field(description="The page of the link, to send or to print as a QR code")]
    title: str
    description: str
    order_id: str | None
    note: str
    amount_fiat: Annotated[Digits | None, Field(description="Null if the payer chooses the amount")]
    currency: Currency
    minimum: Digits | None
    maximum: Digits | None
    suggested: list[Digits]
    due_at: Moment | None
    is_reusable: bool
    confirmations: Count | None
    expires_in: Count | None
    redirect_url: str | None
    thanks: str
    status: LinkStatus
    paid_fiat: Annotated[Digits, Field(description="The worth of all counted money")]
    remaining_fiat: Annotated[
        Digits | None,
        Field(description="Null for a reusable link, and while nobody has chosen the amount"),
    ]
    late_sats: Annotated[
        Sats,
        Field(description="Money that came too late. It counts if you accept it"),
    ]
    payment_count: Annotated[Count, Field(description="The number of its requests to which money came")]
    payments: Annotated[list[LinkPayment], Field(description="The newest 20 of these requests, newest first")]
    created_at: Moment
    closed_at: Moment | None
    paid_at: Moment | None


class LinkList(TypedDict):
    """A page of payment links, newest first."""

    data: list[PaymentLink]
    next_cursor: Annotated[
        LinkReference | None, Field(description="The cursor of the next page; null on the last page")
    ]


class LinkWebhookEvent(TypedDict):
    """The body of a webhook about a link: the event, and the link at the time of the event."""

    type: LinkEvent
    timestamp: Moment
    data: PaymentLink
