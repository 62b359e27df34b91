"""The documents of BTCPay's Greenfield API, for the API's description.

Plug-ins and generated clients require exactly these names and types. Times are whole seconds since 1970, and
amounts are text. docs/greenfield.md has the source of each rule.
"""

from typing import Annotated, Any, NotRequired, Required

from pydantic import Field
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from payments.greenfield.speed import SpeedPolicy
from payments.greenfield.state import AdditionalStatus, InvoiceStatus

Text = Annotated[str, Field(examples=["PR-3kTMd0Zk6bW1vJrXq2nVhA"])]
Amount = Annotated[str, Field(pattern=r"^-?[0-9]+(\.[0-9]+)?$", examples=["135.99"])]
UnixTime = Annotated[int, Field(ge=0, examples=[1_796_900_000], description="Seconds since 1970")]
StoreId = Annotated[str, Field(examples=["company1"])]


class GreenfieldError(TypedDict):
    """An error. Plug-ins show `message` to the merchant."""

    code: Annotated[str, Field(examples=["invoice-not-found"])]
    message: str
    missingPermission: NotRequired[Annotated[str, Field(examples=["btcpay.store.canviewinvoices"])]]


class InvalidMember(TypedDict):
    """The error of one member of a body, or of one parameter."""

    path: Annotated[str, Field(examples=["checkout.paymentMethods[0]"])]
    message: str


class CurrentKey(TypedDict):
    """The API key of the call."""

    apiKey: str
    label: str
    permissions: Annotated[
        list[str],
        Field(
            description="The permissions of the key, each with the store",
            examples=[["btcpay.store.canviewinvoices:company1"]],
        ),
    ]


class Synchronization(TypedDict):
    """The state of synchronization: true if Nodetill follows the chain."""

    synchronized: bool


class NodeInformation(TypedDict):
    """The node."""

    headers: int
    blocks: int
    verificationProgress: float


class SyncStatus(TypedDict):
    """The heights of the node's tip and of Nodetill's tip."""

    paymentMethodId: str
    chainHeight: int
    syncHeight: int
    available: bool
    nodeInformation: NodeInformation


class ServerInfo(TypedDict):
    """The server, in the form of a BTCPay Server."""

    version: Annotated[str, Field(examples=["2.3.1+nodetill.1.0.0"])]
    onion: None
    supportedPaymentMethods: list[str]
    fullySynched: Annotated[
        bool,
        Field(description="True if Nodetill can see payments now. If false, shops hide the payment option"),
    ]
    syncStatus: list[SyncStatus]


class Receipt(TypedDict):
    """Options of the receipt. Null means the default."""

    enabled: bool | None
    showQR: bool | None
    showPayments: bool | None


class Store(TypedDict):
    """A store, which is a seller. Times are in seconds."""

    id: StoreId
    name: str
    website: None
    defaultCurrency: Annotated[str, Field(examples=["EUR"])]
    invoiceExpiration: int
    displayExpirationTimer: int
    monitoringExpiration: int
    refundBOLT11Expiration: Annotated[int, Field(description="Days")]
    speedPolicy: SpeedPolicy
    paymentTolerance: Annotated[float, Field(description="Percent")]
    networkFeeMode: str
    receipt: Receipt
    defaultLang: str
    archived: bool
    anyoneCanCreateInvoice: bool
    redirectAutomatically: bool
    payJoinEnabled: bool
    showRecommendedFee: bool
    recommendedFeeBlockTarget: int
    lazyPaymentMethods: bool
    defaultPaymentMethod: str


class StorePaymentMethod(TypedDict):
    """A payment method of a store."""

    paymentMethodId: Annotated[str, Field(examples=["BTC-CHAIN"])]
    enabled: bool
    config: NotRequired[dict[str, Any]]


class FormerPaymentMethod(TypedDict):
    """A payment method in the form of BTCPay before its version 2."""

    enabled: bool
    default: bool
    cryptoCode: str
    paymentMethod: str


class InvoicePayment(TypedDict):
    """An output that pays the invoice."""

    id: Annotated[str, Field(description="The transaction's id, a hyphen, and the number of the output")]
    receivedDate: UnixTime
    value: Amount
    fee: Amount
    status: Annotated[str, Field(json_schema_extra={"enum": ["Processing", "Settled", "Invalid"]})]
    destination: str


class InvoicePaymentMethod(TypedDict):
    """The payment method of an invoice, with its payments. Amounts are in bitcoin."""

    paymentMethodId: Annotated[str, Field(examples=["BTC-CHAIN"])]
    paymentMethod: Annotated[str, Field(description="The name of `paymentMethodId` before BTCPay 2")]
    cryptoCode: str
    currency: str
    destination: Annotated[str, Field(description="The address")]
    paymentLink: Annotated[str, Field(description="A BIP21 URI for the amount that is due, or empty text")]
    rate: Amount
    paymentMethodPaid: Amount
    totalPaid: Amount
    due: Annotated[Amount, Field(description="Below zero if the invoice is overpaid")]
    amount: Amount
    paymentMethodFee: Amount
    networkFee: Amount
    activated: bool
    additionalData: dict[str, Any]
    payments: list[InvoicePayment]


class InvoiceCheckout(TypedDict):
    """The options of an invoice."""

    speedPolicy: SpeedPolicy
    paymentMethods: list[str]
    defaultPaymentMethod: str | None
    lazyPaymentMethods: bool
    expirationMinutes: Annotated[float, Field(ge=0)]
    monitoringMinutes: Annotated[float, Field(ge=0)]
    paymentTolerance: Annotated[float, Field(description="Percent")]
    redirectURL: str | None
    redirectAutomatically: bool
    defaultLanguage: str | None
    requiresRefundEmail: bool | None


class Invoice(TypedDict):
    """An invoice, which is a payment request."""

    id: Annotated[str, Field(description="`payment_request_id`", examples=["PR-3kTMd0Zk6bW1vJrXq2nVhA"])]
    storeId: StoreId
    amount: Amount
    paidAmount: Annotated[
        Amount, Field(description="The money that has come, in the invoice's currency, at its price")
    ]
    currency: Annotated[str, Field(examples=["EUR"])]
    type: str
    checkoutLink: str
    createdTime: UnixTime
    expirationTime: UnixTime
    monitoringExpiration: UnixTime
    status: InvoiceStatus
    additionalStatus: AdditionalStatus
    availableStatusesForManualMarking: list[InvoiceStatus]
    archived: bool
    metadata: Annotated[dict[str, Any], Field(description="The object that the shop sent, unchanged")]
    checkout: InvoiceCheckout
    receipt: Receipt
    paymentMethods: NotRequired[
        Annotated[list[InvoicePaymentMethod], Field(description="With `includePaymentMethods=true`")]
    ]


class EventFilter(TypedDict):
    """The events that an endpoint receives."""

    everything: bool
    specificEvents: list[str]


class StoreWebhook(TypedDict):
    """A webhook endpoint in BTCPay's form."""

    id: Annotated[str, Field(examples=["wh_5bQ0mVYz3nD7tKc1xLaR"])]
    url: str
    enabled: bool
    automaticRedelivery: bool
    authorizedEvents: EventFilter
    secret: NotRequired[Annotated[str, Field(description="Only the response to its creation has the secret")]]


class WebhookDelivery(TypedDict):
    """An attempt to deliver an event."""

    id: str
    timestamp: UnixTime
    deliveryTime: UnixTime
    httpCode: int | None
    errorMessage: str | None
    status: Annotated[str, Field(json_schema_extra={"enum": ["Failed", "HttpError", "HttpSuccess"]})]


class ReceiptOptions(TypedDict, total=False):
    """The options of the receipt of a new invoice."""

    enabled: bool | None
    showQR: bool | None
    showPayments: bool | None


class CheckoutOptions(TypedDict, total=False):
    """The options of a new invoice. Null means the store's default."""

    speedPolicy: SpeedPolicy | None
    paymentMethods: list[str] | None
    defaultPaymentMethod: str | None
    expirationMinutes: Annotated[Annotated[float, Field(ge=0.5)] | None, Field(description="At most a day")]
    monitoringMinutes: Annotated[float, Field(ge=0)] | None
    paymentTolerance: Annotated[float, Field(ge=0, le=100)] | None
    redirectURL: Annotated[
        str | None,
        Field(description="`{InvoiceId}`, `{OrderId}` and `{Status}` are placeholders"),
    ]
    redirectAutomatically: bool | None
    defaultLanguage: str | None
    lazyPaymentMethods: bool | None
    requiresRefundEmail: bool | None


class NewInvoice(TypedDict, total=False):
    """The body that creates an invoice. Unknown members are ignored."""

    amount: Required[
        Annotated[
            Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?$")] | Annotated[float, Field(gt=0)],
            Field(
                description="Rounded to the decimals of the currency, half away from zero",
                examples=["135.99"],
            ),
        ]
    ]
    currency: Annotated[
        str | None, Field(description="An ISO 4217 code, BTC or SATS, in any case", examples=["EUR"])
    ]
    metadata: Annotated[
        dict[str, Any] | None, Field(description="At most 32 KiB", examples=[{"orderId": "4711"}])
    ]
    checkout: CheckoutOptions | None
    receipt: ReceiptOptions | None
    additionalSearchTerms: list[str] | None


class MetadataChange(TypedDict):
    """The body that replaces the metadata of an invoice."""

    metadata: dict[str, Any]


class StatusChange(TypedDict):
    """The body that marks an invoice by hand."""

    status: Annotated[str, Field(json_schema_extra={"enum": ["Settled", "Invalid"]})]
