"""What goes out, field by field. Handlers answer with these, and the API's description is made from them."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict  # pydantic reads no other before Python 3.12

from models.outbox import EMAIL, WEBHOOK
from models.output import DROPPED, MEMPOOL, MINED, REPLACED
from payments.status import EventType, Status

Reference = Annotated[str, Field(pattern="^PR-[A-Za-z0-9]{22}$", examples=["PR-4NFvpU8duEamwKnDykOqhi"])]
EventReference = Annotated[
    str, Field(pattern="^evt_[0-9a-f]{32}$", examples=["evt_5f1d7a84c0a94f1d8a6f2f0e6c1b2a39"])
]
Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-11-23T16:04:27Z"])]
Digits = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?$", examples=["135.99"])]
Bitcoin = Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]{8}$", examples=["0.00222416"])]
Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$", examples=["ab" * 32])]
Currency = Annotated[str, Field(pattern="^[A-Z]{3}$", examples=["EUR"])]
Sats = Annotated[int, Field(ge=0, examples=[222416])]
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[int, Field(ge=0)]


class Transaction(TypedDict):
    """A transaction output that pays the request."""

    txid: Hash
    vout: Count
    amount_sats: Sats
    state: Annotated[
        str,
        Field(
            description="`replaced` and `dropped` ones don't count, unless they come back",
            json_schema_extra={"enum": [MEMPOOL, MINED, REPLACED, DROPPED]},
        ),
    ]
    confirmations: Count
    block_hash: Hash | None
    block_height: Count | None
    first_seen_at: Moment
    replaced_by: Annotated[Hash | None, Field(description="The transaction that spends the same coins")]


class Payment(TypedDict):
    """A payment request."""

    payment_request_id: Reference
    seller_id: str
    amount_fiat: Digits
    currency: Currency
    price_btc: Annotated[Digits, Field(description="What one bitcoin costs")]
    price_timestamp: Annotated[int, Field(description="When it cost that: seconds since 1970")]
    price_source: Annotated[str, Field(examples=["coinbase, kraken"])]
    amount_btc: Bitcoin
    amount_sats: Sats
    address: str
    payment_uri: Annotated[str, Field(description="BIP21: for a link or a QR code")]
    checkout_url: Annotated[str, Field(description="The page to send the customer to")]
    note: str
    label: str | None
    metadata: dict[str, Any]
    redirect_url: str | None
    status: Status
    confirmations: Annotated[Count, Field(description="How deep the amount due is covered")]
    confirmations_required: Count
    received_sats: Sats
    due_sats: Annotated[Sats, Field(description="What is still missing")]
    overpaid_sats: Sats
    late: Annotated[bool, Field(description="Whether money came after the price had expired")]
    txid: Annotated[Hash | None, Field(description="The transaction that was seen first and still counts")]
    transactions: list[Transaction]
    created_at: Moment
    expires_at: Moment
    received_at: Moment | None
    confirmed_at: Moment | None


class PaymentList(TypedDict):
    """A page of payment requests, newest first."""

    data: list[Payment]
    next_cursor: Annotated[Reference | None, Field(description="For the next page; null on the last")]


class Delivery(TypedDict):
    """A message of an event on its way to somebody."""

    channel: Annotated[str, Field(json_schema_extra={"enum": [EMAIL, WEBHOOK]})]
    attempts: Count
    last_error: str | None
    delivered_at: Moment | None
    failed_at: Annotated[Moment | None, Field(description="When it was given up")]
    next_attempt_at: Annotated[Moment | None, Field(description="Null once it is delivered or given up")]


class EventRecord(TypedDict):
    """Something that happened to a request."""

    event_id: Annotated[EventReference, Field(description="The webhook-id of its webhook")]
    type: EventType
    created_at: Moment
    deliveries: list[Delivery]


class EventList(TypedDict):
    """A request's events, in the order they happened."""

    data: list[EventRecord]


class Redelivery(TypedDict):
    """The event whose webhook will be sent again."""

    event_id: EventReference


class RateRecord(TypedDict):
    """What a bitcoin costs in one currency."""

    currency: Currency
    price: Digits
    source: Annotated[str, Field(examples=["coinbase, kraken"])]
    age: Seconds
    fetched_at: Moment


class RateList(TypedDict):
    """Each currency that has a price now."""

    data: list[RateRecord]


class CheckoutStatus(TypedDict):
    """A payment request as its customer may see it."""

    payment_request_id: Reference
    status: Status
    confirmations: Count
    confirmations_required: Count
    amount_fiat: Digits
    currency: Currency
    amount_btc: Bitcoin
    amount_sats: Sats
    received_sats: Sats
    due_sats: Sats
    overpaid_sats: Sats
    late: bool
    taken_back: Annotated[
        Annotated[str, Field(json_schema_extra={"enum": [REPLACED, DROPPED]})] | None,
        Field(description="How a transaction to a request went that is not covered"),
    ]
    txid: Hash | None
    address: str
    payment_uri: Annotated[str | None, Field(description="For what is to be sent now; null where nothing is")]
    label: str | None
    expires_at: Moment
    redirect_url: str | None
    final: Annotated[bool, Field(description="Whether nothing more is expected to happen")]


class ChainHealth(TypedDict):
    """How far the statuses are with the chain."""

    height: Count | None
    node_height: Count | None
    behind: Count | None
    last_block_at: Moment | None


class DaemonHealth(TypedDict):
    """Whether the daemon lives. In seconds."""

    heartbeat_age: Seconds | None


class OutboxHealth(TypedDict):
    """What waits to be delivered."""

    pending: Count | None
    oldest_age: Seconds | None


class RatesHealth(TypedDict):
    """How old the newest price is. In seconds."""

    age: Seconds | None


class AddressHealth(TypedDict):
    """What is left of the pool."""

    free: Count | None


class HealthFindings(TypedDict):
    """What `GET /health` has looked at."""

    chain: ChainHealth
    daemon: DaemonHealth
    outbox: OutboxHealth
    rates: RatesHealth
    addresses: AddressHealth


class Health(HealthFindings):
    """Whether all is well."""

    status: Literal["ok", "failing"]
    problems: Annotated[list[str], Field(description="The part that is ill, or a line with what to do")]


class Fault(TypedDict):
    """What is wrong with one field."""

    field: str
    message: str


class ProblemDocument(TypedDict):
    """RFC 9457."""

    type: Annotated[
        str, Field(pattern="^urn:nodetill:problem:[a-z-]+$", examples=["urn:nodetill:problem:no-price"])
    ]
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: Annotated[str, Field(description="What is wrong, and what to do")]
    errors: NotRequired[Annotated[list[Fault], Field(description="Each field's fault, all at once")]]


class WebhookEvent(TypedDict):
    """What a webhook tells: the event, and the request as it was then."""

    type: EventType
    timestamp: Moment
    data: Payment
