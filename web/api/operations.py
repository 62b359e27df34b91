"""All operations of the API with all their responses. openapi.py creates the API's description from them.

One test compares the operations with the routes of web/app.py. Another compares them with real responses.
"""

from http import HTTPStatus
from typing import Annotated, Any

from pydantic import Field

from web.api.forms import PaymentForm, TransactionForm
from web.api.operation import Operation, Parameter, Reply
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


def _json(description: str, schema: Any, *headers: str, links: tuple[str, ...] = ()) -> Reply:
    return Reply(description, {JSON: schema}, headers, links)


def _problem(description: str, *headers: str) -> Reply:
    return Reply(description, {PROBLEM_JSON: ProblemDocument}, headers)


def _page(description: str, *headers: str) -> Reply:
    # The server refuses malformed HTTP before it reads the path, so that response is no page.
    return Reply(description, {HTML: str, PROBLEM_JSON: ProblemDocument}, headers)


_ID = Parameter("id", "path", Reference, "`payment_request_id`")
_EVENT_ID = Parameter(
    "event_id", "path", EventReference, "`event_id`, the same as the `webhook-id` of the webhook"
)
_IF_NONE_MATCH = Parameter("If-None-Match", "header", str, "The `ETag` of an earlier response")
_IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key",
    "header",
    Annotated[str, Field(pattern="^[ -~]+$", min_length=1, max_length=255)],
    "Your own name for this request, such as an order number. The same key and body always return the same "
    "request, because Nodetill keeps a key for ever. If that request has expired and no money came for it, "
    "send a new key",
)
_LANG = Parameter("lang", "query", str, "`en`, `de`, `fr` or `es`, instead of the browser's language")

_UNREADABLE = _problem("The request is malformed")
_NO_DATABASE = _problem("The database is not available; nothing was used up, try again", "Retry-After")
_OPEN = {HTTPStatus.BAD_REQUEST: _UNREADABLE, HTTPStatus.SERVICE_UNAVAILABLE: _NO_DATABASE}
_KEYED = {
    **_OPEN,
    HTTPStatus.UNAUTHORIZED: _problem("The key is missing or invalid", "WWW-Authenticate"),
    HTTPStatus.FORBIDDEN: _problem("The key lacks a permission, which `missing_permission` names"),
}
_NOT_FOUND = {HTTPStatus.NOT_FOUND: _problem("No object of this key has that id")}
_INVALID = {HTTPStatus.UNPROCESSABLE_ENTITY: _problem("The request is understood but invalid; see `errors`")}
_TOO_LARGE = {HTTPStatus.REQUEST_ENTITY_TOO_LARGE: _problem("The body has more than 16 KiB")}
_TOO_MANY = {HTTPStatus.TOO_MANY_REQUESTS: _problem("Too many such requests already wait", "Retry-After")}
_UNCHANGED = {
    HTTPStatus.NOT_MODIFIED: Reply(
        "Nothing has changed since the response with this `ETag`", headers=("ETag",)
    )
}

_TAKES_AN_ID = (
    "getPayment",
    "lookAtTransaction",
    "acceptLatePayment",
    "cancelPayment",
    "listEvents",
    "getCheckoutStatus",
)

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "POST",
        "/api/v1/payments",
        "createPayment",
        "Payments",
        "Create a payment request",
        "Fixes the price, and assigns the request its own address. Show the customer the address and the "
        "amount, or redirect the customer to `checkout_url`.",
        {
            HTTPStatus.CREATED: _json("The new request", Payment, "Location", links=_TAKES_AN_ID),
            HTTPStatus.OK: _json("The earlier request of this `Idempotency-Key`", Payment, "Location"),
            **_KEYED,
            **_TOO_LARGE,
            HTTPStatus.UNPROCESSABLE_ENTITY: _problem(
                "The request is understood but invalid; see `errors`. Or its `Idempotency-Key` belongs to "
                "a request with another body, or to a request that expired unpaid"
            ),
            HTTPStatus.FORBIDDEN: _problem(
                "The key belongs to another seller than `seller_id`, or lacks a permission"
            ),
            HTTPStatus.TOO_MANY_REQUESTS: _problem(
                "This seller has too many open or recent requests", "Retry-After"
            ),
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
        "Find payment requests",
        "Returns pages, newest first. Follow `next_cursor` until it is null. New requests do not "
        "shift the pages.",
        {
            HTTPStatus.OK: _json("A page", PaymentList),
            **_KEYED,
            **_INVALID,
            HTTPStatus.TOO_MANY_REQUESTS: _problem(
                "Another search of this seller is still running", "Retry-After"
            ),
        },
        query=Filters,
    ),
    Operation(
        "GET",
        "/api/v1/payments/{id}",
        "getPayment",
        "Payments",
        "Read a payment request",
        "Deliver only when `status` is `confirmed`, because a double-spend can take an earlier payment back.",
        {HTTPStatus.OK: _json("The request", Payment, "ETag"), **_UNCHANGED, **_KEYED, **_NOT_FOUND},
        parameters=(_ID, _IF_NONE_MATCH),
    ),
    Operation(
        "POST",
        "/api/v1/payments/{id}/transactions",
        "lookAtTransaction",
        "Payments",
        "Look up a transaction",
        "Nodetill finds payments by itself. This call only makes it check one transaction sooner. It trusts "
        "only bitcoind, so an invented transaction has no effect.",
        {
            HTTPStatus.ACCEPTED: _json(
                "Nodetill will check the transaction. The response is the request at present", Payment
            ),
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
        "Accept a late payment",
        "Money that comes after `expires_at` counts only if you accept it, because the price may have "
        "changed. The response still has the old status. The new status follows shortly, with its event.",
        {
            HTTPStatus.OK: _json("The money is accepted. The response is the request at present", Payment),
            **_KEYED,
            **_NOT_FOUND,
            HTTPStatus.CONFLICT: _problem("The request is not late"),
        },
        parameters=(_ID,),
    ),
    Operation(
        "POST",
        "/api/v1/payments/{id}/cancel",
        "cancelPayment",
        "Payments",
        "Cancel a payment request",
        "For a customer who chose another way to pay. The price ends at once: `expires_at` becomes the "
        "present, the status becomes `expired` shortly after the response, and the event `payment.expired` "
        "follows. Money that still comes is late, and counts only if you accept it. If money comes at the "
        "same moment, the request is not cancelled. A repeated call has no further effect.",
        {
            HTTPStatus.ACCEPTED: _json(
                "Nodetill will cancel the request. The response is the request at present", Payment
            ),
            HTTPStatus.OK: _json("The request is cancelled already", Payment),
            **_KEYED,
            **_NOT_FOUND,
            **_TOO_MANY,
            HTTPStatus.CONFLICT: _problem("Money has come to the request, or it has expired"),
        },
        parameters=(_ID,),
    ),
    Operation(
        "GET",
        "/api/v1/payments/{id}/events",
        "listEvents",
        "Events",
        "List events and deliveries",
        "Returns each event with its deliveries. Nodetill deletes them 30 days after the request has closed.",
        {HTTPStatus.OK: _json("The events", EventList), **_KEYED, **_NOT_FOUND},
        parameters=(_ID,),
    ),
    Operation(
        "POST",
        "/api/v1/payments/{id}/events/{event_id}/redeliver",
        "redeliverEvent",
        "Events",
        "Send a webhook again",
        "The webhook keeps its `webhook-id`, so a receiver can detect the repetition.",
        {
            HTTPStatus.ACCEPTED: _json("Nodetill will send the webhook", Redelivery),
            **_KEYED,
            **_NOT_FOUND,
            **_TOO_MANY,
            HTTPStatus.CONFLICT: _problem("The event has no webhook, or its webhook was deleted"),
        },
        parameters=(_ID, _EVENT_ID),
    ),
    Operation(
        "GET",
        "/api/v1/rates",
        "listRates",
        "Prices",
        "List prices",
        "Returns the present prices for new requests.",
        {HTTPStatus.OK: _json("The price in each currency that has one now", RateList), **_KEYED},
    ),
    Operation(
        "GET",
        "/pay/{id}",
        "getCheckoutPage",
        "Checkout",
        "Checkout page",
        "Shows the amount, the address and the status, in the customer's language.",
        {
            HTTPStatus.OK: Reply("The page", {HTML: str}),
            HTTPStatus.BAD_REQUEST: _page("The request is malformed"),
            HTTPStatus.NOT_FOUND: _page("There is no such payment request"),
            HTTPStatus.UNPROCESSABLE_ENTITY: _page("A parameter occurs twice"),
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
        "Checkout status",
        "Returns only public fields, without the seller, the note and the metadata.",
        {
            HTTPStatus.OK: _json("The public fields", CheckoutStatus, "ETag"),
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
        "QR code",
        "Encodes the BIP21 URI of the payable amount.",
        {
            HTTPStatus.OK: Reply("The picture", {SVG: str}),
            **_OPEN,
            **_NOT_FOUND,
            HTTPStatus.GONE: _problem("Nothing is payable any more"),
        },
        parameters=(_ID,),
        needs_key=False,
    ),
    Operation(
        "GET",
        "/health",
        "getHealth",
        "Server",
        "Health",
        "For a monitor. `problems` names the affected parts. With METRICS_TOKEN as Bearer, and for the "
        "operator, it lists each problem with its cure.",
        {
            HTTPStatus.OK: _json("There are no problems", Health),
            HTTPStatus.BAD_REQUEST: _UNREADABLE,
            HTTPStatus.SERVICE_UNAVAILABLE: _json("There are problems", Health),
        },
        needs_key=False,
    ),
    Operation(
        "GET",
        "/metrics",
        "getMetrics",
        "Server",
        "Metrics for Prometheus",
        "Returns the text format of Prometheus. `monitoring/` has alerts and a dashboard. Needs "
        "METRICS_TOKEN as Bearer, or the operator's login. If PUBLIC_URL is local, programs on this machine "
        "need neither.",
        {
            HTTPStatus.OK: Reply("The metrics", {PROMETHEUS: str}),
            HTTPStatus.UNAUTHORIZED: _problem("The credentials are missing or invalid", "WWW-Authenticate"),
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
        "For a browser, with `OPERATOR_PASSWORD`: payments, open decisions, money received and health. "
        "A visitor who is not logged in gets a short neutral page.",
        {
            HTTPStatus.OK: Reply("The page", {HTML: str}),
            HTTPStatus.SEE_OTHER: Reply(
                "A redirect to the login, for a list with a filter", headers=("Location",)
            ),
            HTTPStatus.BAD_REQUEST: _page("The request is malformed"),
            HTTPStatus.UNPROCESSABLE_ENTITY: _page("A filter is invalid; the page gives the reason"),
            HTTPStatus.SERVICE_UNAVAILABLE: _page("The database is not available", "Retry-After"),
        },
        needs_key=False,
    ),
    Operation(
        "GET",
        "/openapi.json",
        "getDescription",
        "Server",
        "API description for programs",
        "OpenAPI 3.1.",
        {HTTPStatus.OK: _json("The description", dict[str, Any]), **_OPEN},
        needs_key=False,
    ),
    Operation(
        "GET",
        "/docs",
        "getManual",
        "Server",
        "API description for people",
        "A page with a guide, and with the content of `openapi.json`.",
        {HTTPStatus.OK: Reply("The page", {HTML: str}), **_OPEN},
        needs_key=False,
    ),
)
