"""Schemas of the responses. Handlers return them, and web/description shows them to readers.

`payments.document` builds `Payment` without these descriptions. mypy compares the fields and their types.
"""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from models.outbox import EMAIL, WEBHOOK
from models.output import DROPPED, MEMPOOL, MINED, REPLACED
from payments.greenfield.facts import Mark
from payments.link import LinkEvent
from payments.network import MAIN, NETWORKS
from payments.status import EventType, Status

EXAMPLE_LINK_REFERENCE = "LK-7tPq2Zc9mWbYd4KxVn5RsA"
EXAMPLE_REFERENCE = "PR-4NFvpU8duEamwKnDykOqhi"
EXAMPLE_EVENT_ID = "evt_5f1d7a84c0a94f1d8a6f2f0e6c1b2a39"
# An address of a test network from BIP173, so that nobody pays real money to an example.
EXAMPLE_ADDRESS = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"
EXAMPLE_TXID = "9d5ea8b1e7f0c6a34b52d81f7c90e3ab64f2195d0873cbe1a6f4029d5c8b7e13"

Reference = Annotated[str, Field(pattern="^PR-[A-Za-z0-9]{22}$", examples=[EXAMPLE_REFERENCE])]
LinkReference = Annotated[str, Field(pattern="^LK-[A-Za-z0-9]{22}$", examples=[EXAMPLE_LINK_REFERENCE])]
EventReference = Annotated[str, Field(pattern="^evt_[0-9a-f]{32}$", examples=[EXAMPLE_EVENT_ID])]
Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-11-23T16:04:27Z"])]
Digits = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?$", examples=["135.99"])]
Price = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?$", examples=["61146.30"])]
Bitcoin = Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]{8}$", examples=["0.00222402"])]
Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$", examples=[EXAMPLE_TXID])]
Currency = Annotated[str, Field(pattern="^[A-Z]{3}$", examples=["EUR"])]
Sats = Annotated[int, Field(ge=0, examples=[222_402])]
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
            description="`replaced` and `dropped` outputs don't count, unless they return to the mempool",
            json_schema_extra={"enum": [MEMPOOL, MINED, REPLACED, DROPPED]},
        ),
    ]
    confirmations: Count
    block_hash: Hash | None
    block_height: Count | None
    first_seen_at: Moment
    replaced_by: Annotated[Hash | None, Field(description="The id of the transaction that replaced this one")]


class Payment(TypedDict):
    """A payment request."""

    payment_request_id: Reference
    seller_id: Annotated[str, Field(examples=["company1"])]
    network: Annotated[
        Annotated[str, Field(json_schema_extra={"enum": list(NETWORKS)})] | None,
        Field(
            description="The network, by bitcoind's name of its chain, and `custom-signet` for a signet with "
            "a challenge of its own. Only `main` has real money. Null before the daemon has first reached "
            "bitcoind",
            examples=[MAIN],
        ),
    ]
    amount_fiat: Annotated[Digits, Field(description="The amount that you asked for")]
    currency: Currency
    price_btc: Annotated[Price, Field(description="The price of one bitcoin")]
    price_timestamp: Annotated[
        int,
        Field(description="The time of the price, in seconds since 1970, not as text", examples=[1795435200]),
    ]
    price_source: Annotated[str, Field(description="The sources of the price", examples=["coinbase, kraken"])]
    amount_btc: Annotated[Bitcoin, Field(description="The amount due, in bitcoin")]
    amount_sats: Annotated[Sats, Field(description="The amount due, in satoshis")]
    address: Annotated[
        str, Field(description="The address that only this request has", examples=[EXAMPLE_ADDRESS])
    ]
    payment_uri: Annotated[str, Field(description="A BIP21 URI, for a link or a QR code")]
    checkout_url: Annotated[str, Field(description="The checkout page for the customer")]
    order_id: Annotated[str | None, Field(description="Your own number of the order", examples=["4711"])]
    note: str
    label: str | None
    metadata: dict[str, Any]
    link_id: Annotated[LinkReference | None, Field(description="The payment link that made the request")]
    redirect_url: str | None
    status: Status
    confirmations: Annotated[
        Count,
        Field(
            description="Confirmations of the newest transaction that is needed to cover the amount",
        ),
    ]
    confirmations_required: Annotated[
        Count, Field(description="The confirmations at which the status becomes `confirmed`", examples=[6])
    ]
    received_sats: Annotated[Sats, Field(description="The money in mempool and chain, also late money")]
    due_sats: Annotated[Sats, Field(description="The missing amount")]
    overpaid_sats: Annotated[Sats, Field(description="The surplus")]
    late: Annotated[bool, Field(description="True if the whole amount came after the price had expired")]
    txid: Annotated[Hash | None, Field(description="The earliest transaction that counts")]
    transactions: list[Transaction]
    created_at: Moment
    expires_at: Annotated[Moment, Field(description="The time until which the price holds")]
    received_at: Annotated[
        Moment | None, Field(description="The time from which the whole amount has been there")
    ]
    confirmed_at: Moment | None


class PaymentList(TypedDict):
    """A page of payment requests, newest first."""

    data: list[Payment]
    next_cursor: Annotated[
        Reference | None, Field(description="The cursor of the next page; null on the last page")
    ]


class Delivery(TypedDict):
    """The delivery of an event by one channel."""

    channel: Annotated[str, Field(json_schema_extra={"enum": [EMAIL, WEBHOOK]})]
    webhook_id: Annotated[
        str | None, Field(description="The endpoint of a webhook; each endpoint has a delivery of its own")
    ]
    attempts: Count
    last_error: str | None
    delivered_at: Moment | None
    failed_at: Annotated[
        Moment | None, Field(description="The time of the last attempt, if delivery was given up")
    ]
    next_attempt_at: Annotated[
        Moment | None, Field(description="Null after the delivery, and after it was given up")
    ]


class EventRecord(TypedDict):
    """A change of a payment request."""

    event_id: Annotated[EventReference, Field(description="Also the `webhook-id` of its webhook")]
    type: EventType | LinkEvent
    created_at: Moment
    deliveries: list[Delivery]


class EventList(TypedDict):
    """The events of a request, in order of time."""

    data: list[EventRecord]


class Redelivery(TypedDict):
    """The event whose webhook Nodetill sends again."""

    event_id: EventReference


class RateRecord(TypedDict):
    """The price of a bitcoin in one currency."""

    currency: Currency
    price: Annotated[Price, Field(description="The price of one bitcoin")]
    source: Annotated[str, Field(examples=["coinbase, kraken"])]
    age: Seconds
    fetched_at: Moment


class RateList(TypedDict):
    """The price in each currency that has one now."""

    data: list[RateRecord]


class CheckoutStatus(TypedDict):
    """The public fields of a payment request."""

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
        Field(
            description="Why the last transaction no longer counts: `replaced` (double-spent) or `dropped` "
            "(left the mempool)"
        ),
    ]
    txid: Hash | None
    txids: Annotated[list[Hash], Field(description="The transactions that pay the request now")]
    address: str
    payment_uri: Annotated[
        str | None, Field(description="A BIP21 URI of the payable amount; null if nothing is payable")
    ]
    label: str | None
    expires_at: Moment
    redirect_url: str | None
    marked: Annotated[
        Annotated[str, Field(json_schema_extra={"enum": [*Mark]})] | None,
        Field(description="The shop's mark by hand through BTCPay's API: `settled` or `invalid`"),
    ]
    final: Annotated[bool, Field(description="True if no further change is expected")]


class ChainHealth(TypedDict):
    """The height of the statuses and of the node."""

    height: Count | None
    node_height: Count | None
    behind: Count | None
    last_block_at: Moment | None


class DaemonHealth(TypedDict):
    """The age of the daemon's last heartbeat, in seconds."""

    heartbeat_age: Seconds | None


class OutboxHealth(TypedDict):
    """Messages that wait for delivery. The age is in seconds."""

    pending: Count | None
    oldest_age: Seconds | None


class RatesHealth(TypedDict):
    """The age of the newest price, in seconds."""

    age: Seconds | None


class AddressHealth(TypedDict):
    """The number of free addresses in the wallets in use."""

    free: Count | None


class HealthFindings(TypedDict):
    """The figures of `GET /health`."""

    chain: ChainHealth
    daemon: DaemonHealth
    outbox: OutboxHealth
    rates: RatesHealth
    addresses: AddressHealth


class Health(HealthFindings):
    """The health of Nodetill."""

    status: Literal["ok", "failing"]
    problems: Annotated[
        list[str], Field(description="The affected part, or a line with the problem and its cure")
    ]


class Fault(TypedDict):
    """The error of one field."""

    field: str
    message: str


class ProblemDocument(TypedDict):
    """An error, as RFC 9457 defines it."""

    type: Annotated[
        str,
        Field(
            description="The type. The page `/docs` explains each",
            pattern="^urn:nodetill:problem:[a-z-]+$",
            examples=["urn:nodetill:problem:no-price"],
        ),
    ]
    title: Annotated[str, Field(description="The type for people", examples=["No fresh price"])]
    status: Annotated[int, Field(ge=400, le=599)]
    detail: Annotated[str, Field(description="The error and its cure")]
    errors: NotRequired[Annotated[list[Fault], Field(description="The errors of all fields")]]
    payment_request_id: NotRequired[
        Annotated[Reference, Field(description="The request that an `Idempotency-Key` belongs to")]
    ]
    payment_status: NotRequired[Annotated[Status, Field(description="The status of that request")]]
    link_id: NotRequired[
        Annotated[LinkReference, Field(description="The link that an `Idempotency-Key` belongs to")]
    ]
    missing_permission: NotRequired[
        Annotated[
            str,
            Field(
                description="The permission that the key lacks", examples=["btcpay.store.cancreateinvoice"]
            ),
        ]
    ]


class WebhookEvent(TypedDict):
    """The body of a webhook: the event, and the request at the time of the event."""

    type: EventType
    timestamp: Moment
    data: Payment
