"""Every call of the API and every way it may be answered. openapi.py makes the API's description of it.

A test holds it to the routes of web/app.py, and another to what the running server answers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import Field

from web.api.forms import Form, PaymentForm, TransactionForm
from web.api.payment_list import Filters
from web.api.schemas import (
    CheckoutStatus,
    EventList,
    EventReference,
    Health,
    Payment,
    PaymentList,
    ProblemDocument,
    RateList,
    Redelivery,
    Reference,
)
from web.http.responses import HTML, JSON, PROBLEM_JSON, PROMETHEUS, SVG

HEADERS: Mapping[str, tuple[str, Any]] = MappingProxyType(
    {
        "ETag": ("Of this answer: send it back as `If-None-Match`", str),
        "Location": ("Where it is", str),
        "Retry-After": ("Seconds to wait before another try", Annotated[int, Field(ge=0)]),
        "WWW-Authenticate": ("Which credentials are needed (RFC 6750)", str),
    }
)
"""What is told in a header of an answer: what it means, and its type."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a call is given beside its body. `place` is path, query or header."""

    name: str
    place: str
    type: Any
    description: str


@dataclass(frozen=True, slots=True)
class Reply:
    """A way in which a call is answered: what its status means, the type of each kind of content, headers.

    `links` names operations that take the id of the request that came.
    """

    description: str
    content: Mapping[str, Any] = field(default_factory=dict)
    headers: tuple[str, ...] = ()
    links: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """A call. What is in braces in `path` is among the parameters."""

    method: str
    path: str
    name: str
    group: str
    summary: str
    description: str
    replies: Mapping[HTTPStatus, Reply]
    parameters: tuple[Parameter, ...] = ()
    query: type[Form] | None = None
    body: type[Form] | None = None
    needs_key: bool = True


def _json(description: str, schema: Any, *headers: str, links: tuple[str, ...] = ()) -> Reply:
    return Reply(description, {JSON: schema}, headers, links)


def _problem(description: str, *headers: str) -> Reply:
    return Reply(description, {PROBLEM_JSON: ProblemDocument}, headers)


def _page(description: str, *headers: str) -> Reply:
    # What is no HTTP at all is refused before anybody knows that a page was wanted.
    return Reply(description, {HTML: str, PROBLEM_JSON: ProblemDocument}, headers)


_ID = Parameter("id", "path", Reference, "`payment_request_id`")
_EVENT_ID = Parameter("event_id", "path", EventReference, "`event_id`, which is the webhook's `webhook-id`")
_IF_NONE_MATCH = Parameter("If-None-Match", "header", str, "An `ETag` from before")
_IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key",
    "header",
    Annotated[str, Field(pattern="^[ -~]+$", min_length=1, max_length=255)],
    "A name of your own for this request, such as your order's number: the same key and body again, however "
    "often, is the same request",
)
_LANG = Parameter("lang", "query", str, "`en`, `de`, `fr` or `es`, in place of the browser's language")

_UNREADABLE = _problem("It can't be read")
_NO_DATABASE = _problem("The database is not available; nothing was used up, try again", "Retry-After")
_OPEN = {HTTPStatus.BAD_REQUEST: _UNREADABLE, HTTPStatus.SERVICE_UNAVAILABLE: _NO_DATABASE}
_KEYED = {**_OPEN, HTTPStatus.UNAUTHORIZED: _problem("No key, or nobody's", "WWW-Authenticate")}
_NOT_FOUND = {HTTPStatus.NOT_FOUND: _problem("There is nothing of that id, or not for this key")}
_INVALID = {HTTPStatus.UNPROCESSABLE_ENTITY: _problem("It can be read, but not done; `errors` says why")}
_TOO_LARGE = {HTTPStatus.REQUEST_ENTITY_TOO_LARGE: _problem("The body has more than 16 KiB")}
_TOO_MANY = {HTTPStatus.TOO_MANY_REQUESTS: _problem("Too many such requests wait already", "Retry-After")}
_UNCHANGED = {HTTPStatus.NOT_MODIFIED: Reply("It is as it was when you got this `ETag`", headers=("ETag",))}

_TAKES_AN_ID = ("getPayment", "lookAtTransaction", "acceptLatePayment", "listEvents", "getCheckoutStatus")

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "POST",
        "/api/v1/payments",
        "createPayment",
        "Payments",
        "Ask for a payment",
        "Fixes the price, and gives the request an address of its own. Show the customer the address and the "
        "amount, or send them to `checkout_url`.",
        {
            HTTPStatus.CREATED: _json("The new request", Payment, "Location", links=_TAKES_AN_ID),
            HTTPStatus.OK: _json("The request that this `Idempotency-Key` made before", Payment, "Location"),
            **_KEYED,
            **_TOO_LARGE,
            **_INVALID,
            HTTPStatus.FORBIDDEN: _problem("`seller_id` is not the seller whose key this is"),
            HTTPStatus.TOO_MANY_REQUESTS: _problem("This key asks for too much", "Retry-After"),
            HTTPStatus.SERVICE_UNAVAILABLE: _problem(
                "No fresh price, no free address, or no database; nothing was used up, try again",
                "Retry-After",
            ),
        },
        parameters=(_IDEMPOTENCY_KEY,),
        body=PaymentForm,
    ),
    Operation(
        "GET",
        "/api/v1/payments",
        "listPayments",
        "Payments",
        "Find payments",
        "Newest first, a page at a time. Follow `next_cursor` until it is null; requests made meanwhile "
        "disturb nothing.",
        {
            HTTPStatus.OK: _json("A page", PaymentList),
            **_KEYED,
            **_INVALID,
            HTTPStatus.TOO_MANY_REQUESTS: _problem("A search of this seller is still running", "Retry-After"),
        },
        query=Filters,
    ),
    Operation(
        "GET",
        "/api/v1/payments/{id}",
        "getPayment",
        "Payments",
        "See how a payment stands",
        "Deliver when `status` is `confirmed`, and not before: until then a double-spend can take it back.",
        {HTTPStatus.OK: _json("The request", Payment, "ETag"), **_UNCHANGED, **_KEYED, **_NOT_FOUND},
        parameters=(_ID, _IF_NONE_MATCH),
    ),
    Operation(
        "POST",
        "/api/v1/payments/{id}/transactions",
        "lookAtTransaction",
        "Payments",
        "Have a transaction looked at",
        "Nodetill finds payments by itself; this only makes it look sooner. It asks bitcoind and believes "
        "nothing else, so an invented transaction changes nothing.",
        {
            HTTPStatus.ACCEPTED: _json("It will be looked at. The request, as it stands", Payment),
            **_KEYED,
            **_NOT_FOUND,
            **_TOO_LARGE,
            **_INVALID,
            **_TOO_MANY,
        },
        parameters=(_ID,),
        body=TransactionForm,
    ),
    Operation(
        "POST",
        "/api/v1/payments/{id}/accept",
        "acceptLatePayment",
        "Payments",
        "Count late money",
        "Money that comes after `expires_at` counts only if you say so: the price was that of another day. "
        "The status follows a moment later.",
        {
            HTTPStatus.OK: _json("It is accepted. The request, as it stands", Payment),
            **_KEYED,
            **_NOT_FOUND,
            HTTPStatus.CONFLICT: _problem("The request is not late"),
        },
        parameters=(_ID,),
    ),
    Operation(
        "GET",
        "/api/v1/payments/{id}/events",
        "listEvents",
        "Events",
        "See what happened, and who was told",
        "Each event with its deliveries. They are kept for 30 days after the request has closed.",
        {HTTPStatus.OK: _json("The events", EventList), **_KEYED, **_NOT_FOUND},
        parameters=(_ID,),
    ),
    Operation(
        "POST",
        "/api/v1/payments/{id}/events/{event_id}/redeliver",
        "redeliverEvent",
        "Events",
        "Send a webhook again",
        "It keeps its `webhook-id`, so a receiver that has it already knows.",
        {
            HTTPStatus.ACCEPTED: _json("It will be sent", Redelivery),
            **_KEYED,
            **_NOT_FOUND,
            **_TOO_MANY,
            HTTPStatus.CONFLICT: _problem("The event has no webhook, or none any more"),
        },
        parameters=(_ID, _EVENT_ID),
    ),
    Operation(
        "GET",
        "/api/v1/rates",
        "listRates",
        "Prices",
        "See today's prices",
        "What a new request would be made at.",
        {HTTPStatus.OK: _json("Each currency that has a price now", RateList), **_KEYED},
    ),
    Operation(
        "GET",
        "/pay/{id}",
        "getCheckoutPage",
        "Checkout",
        "The page for the customer",
        "What to pay, where to, and how it goes on; in the customer's language.",
        {
            HTTPStatus.OK: Reply("The page", {HTML: str}),
            HTTPStatus.BAD_REQUEST: _page("It can't be read"),
            HTTPStatus.NOT_FOUND: _page("There is no such payment"),
            HTTPStatus.UNPROCESSABLE_ENTITY: _page("A parameter is there twice"),
            HTTPStatus.SERVICE_UNAVAILABLE: _page("The database is not available", "Retry-After"),
        },
        parameters=(_ID, _LANG),
        needs_key=False,
    ),
    Operation(
        "GET",
        "/pay/{id}/status",
        "getCheckoutStatus",
        "Checkout",
        "What that page asks after",
        "It tells nothing of the seller, the note or the metadata.",
        {
            HTTPStatus.OK: _json("What a customer may know", CheckoutStatus, "ETag"),
            **_UNCHANGED,
            **_OPEN,
            **_NOT_FOUND,
        },
        parameters=(_ID, _IF_NONE_MATCH),
        needs_key=False,
    ),
    Operation(
        "GET",
        "/pay/{id}/qr.svg",
        "getQrCode",
        "Checkout",
        "The payment as a QR code",
        "The BIP21 URI of what is to be paid now.",
        {
            HTTPStatus.OK: Reply("The picture", {SVG: str}),
            **_OPEN,
            **_NOT_FOUND,
            HTTPStatus.GONE: _problem("Nothing is to be paid any more"),
        },
        parameters=(_ID,),
        needs_key=False,
    ),
    Operation(
        "GET",
        "/health",
        "getHealth",
        "Server",
        "See whether all is well",
        "For a monitor. `problems` names the parts that are ill. With METRICS_TOKEN as Bearer, and to the "
        "operator, it says what is wrong and what to do.",
        {
            HTTPStatus.OK: _json("All is well", Health),
            HTTPStatus.BAD_REQUEST: _UNREADABLE,
            HTTPStatus.SERVICE_UNAVAILABLE: _json("Something is not", Health),
        },
        needs_key=False,
    ),
    Operation(
        "GET",
        "/metrics",
        "getMetrics",
        "Server",
        "Figures for Prometheus",
        "In its text format; `monitoring/` has alerts and a dashboard. Answered with METRICS_TOKEN as "
        "Bearer, to the operator who is logged in, and to this machine where PUBLIC_URL is local, too.",
        {
            HTTPStatus.OK: Reply("The figures", {PROMETHEUS: str}),
            HTTPStatus.UNAUTHORIZED: _problem("It is not for you", "WWW-Authenticate"),
            **_OPEN,
        },
        needs_key=False,
    ),
    Operation(
        "GET",
        "/",
        "getOperatorPage",
        "Server",
        "The operator's page",
        "Behind `OPERATOR_PASSWORD`, for a browser: payments, what needs a decision, money received, health.",
        {
            HTTPStatus.OK: Reply("The page", {HTML: str}),
            HTTPStatus.SEE_OTHER: Reply("To the login", headers=("Location",)),
            HTTPStatus.BAD_REQUEST: _page("It can't be read"),
            HTTPStatus.NOT_FOUND: _page("There is no `OPERATOR_PASSWORD`, and so no such page"),
            HTTPStatus.UNPROCESSABLE_ENTITY: _page("A filter is none; the page says why"),
            HTTPStatus.SERVICE_UNAVAILABLE: _page("The database is not available", "Retry-After"),
        },
        needs_key=False,
    ),
    Operation(
        "GET",
        "/openapi.json",
        "getDescription",
        "Server",
        "This description, for programs",
        "OpenAPI 3.1.",
        {HTTPStatus.OK: _json("The description", dict[str, Any]), **_OPEN},
        needs_key=False,
    ),
    Operation(
        "GET",
        "/docs",
        "getManual",
        "Server",
        "This description, for people",
        "A page that is made of it.",
        {HTTPStatus.OK: Reply("The page", {HTML: str}), **_OPEN},
        needs_key=False,
    ),
)
