"""All operations of the API with all their responses. openapi.py creates the API's description from them.

One test compares the operations with the routes of web/app.py. Another compares them with real responses.
"""

from http import HTTPStatus
from typing import Any

from web.api.forms import PaymentForm, TransactionForm
from web.api.payment_list import Filters
from web.api.schemas import (
    CheckoutStatus,
    EventList,
    EventReference,
    Health,
    Payment,
    PaymentList,
    RateList,
    Redelivery,
    Reference,
)
from web.description.link_operations import LINK_OPERATIONS
from web.description.operation import Operation, Parameter, Reply
from web.description.replies import (
    IF_NONE_MATCH,
    INVALID,
    KEYED,
    LANG,
    NOT_FOUND,
    OPEN,
    TOO_LARGE,
    TOO_MANY,
    UNCHANGED,
    UNREADABLE,
    json_reply,
    key_parameter,
    page_reply,
    problem_reply,
)
from web.http.responses import HTML, PROMETHEUS, SVG

_ID = Parameter("id", "path", Reference, "`payment_request_id`")
_EVENT_ID = Parameter(
    "event_id", "path", EventReference, "`event_id`, the same as the `webhook-id` of the webhook"
)
_IDEMPOTENCY_KEY = key_parameter(
    "Your own name for this request, such as an order number. The same key and body always return the same "
    "request, because Nodetill keeps a key for ever. If that request has expired and no money came for it, "
    "send a new key",
)
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
            HTTPStatus.CREATED: json_reply("The new request", Payment, "Location", links=_TAKES_AN_ID),
            HTTPStatus.OK: json_reply("The earlier request of this `Idempotency-Key`", Payment, "Location"),
            **KEYED,
            **TOO_LARGE,
            HTTPStatus.UNPROCESSABLE_ENTITY: problem_reply(
                "The request is understood but invalid; see `errors`. Or its `Idempotency-Key` belongs to "
                "a request with another body, or to a request that expired unpaid"
            ),
            HTTPStatus.FORBIDDEN: problem_reply(
                "The key belongs to another seller than `seller_id`, or lacks a permission"
            ),
            HTTPStatus.TOO_MANY_REQUESTS: problem_reply(
                "This seller has too many open or recent requests", "Retry-After"
            ),
            HTTPStatus.SERVICE_UNAVAILABLE: problem_reply(
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
            HTTPStatus.OK: json_reply("A page", PaymentList),
            **KEYED,
            **INVALID,
            HTTPStatus.TOO_MANY_REQUESTS: problem_reply(
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
        {HTTPStatus.OK: json_reply("The request", Payment, "ETag"), **UNCHANGED, **KEYED, **NOT_FOUND},
        parameters=(_ID, IF_NONE_MATCH),
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
            HTTPStatus.ACCEPTED: json_reply(
                "Nodetill will check the transaction. The response is the request at present", Payment
            ),
            **KEYED,
            **NOT_FOUND,
            **TOO_LARGE,
            **INVALID,
            **TOO_MANY,
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
            HTTPStatus.OK: json_reply(
                "The money is accepted. The response is the request at present", Payment
            ),
            **KEYED,
            **NOT_FOUND,
            HTTPStatus.CONFLICT: problem_reply("The request is not late"),
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
            HTTPStatus.ACCEPTED: json_reply(
                "Nodetill will cancel the request. The response is the request at present", Payment
            ),
            HTTPStatus.OK: json_reply("The request is cancelled already", Payment),
            **KEYED,
            **NOT_FOUND,
            **TOO_MANY,
            HTTPStatus.CONFLICT: problem_reply("Money has come to the request, or it has expired"),
        },
        parameters=(_ID,),
    ),
    Operation(
        "GET",
        "/api/v1/payments/{id}/events",
        "listEvents",
        "Events",
        "List events and deliveries",
        "Returns each event with its deliveries. Nodetill deletes a delivered message when the delivery and "
        "the close of the request are both more than 30 days old.",
        {HTTPStatus.OK: json_reply("The events", EventList), **KEYED, **NOT_FOUND},
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
            HTTPStatus.ACCEPTED: json_reply("Nodetill will send the webhook", Redelivery),
            **KEYED,
            **NOT_FOUND,
            **TOO_MANY,
            HTTPStatus.CONFLICT: problem_reply("The event has no webhook, or its webhook was deleted"),
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
        {HTTPStatus.OK: json_reply("The price in each currency that has one now", RateList), **KEYED},
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
            HTTPStatus.BAD_REQUEST: page_reply("The request is malformed"),
            HTTPStatus.NOT_FOUND: page_reply("There is no such payment request"),
            HTTPStatus.UNPROCESSABLE_ENTITY: page_reply("A parameter occurs twice"),
            HTTPStatus.SERVICE_UNAVAILABLE: page_reply("The database is not available", "Retry-After"),
        },
        parameters=(_ID, LANG),
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
            HTTPStatus.OK: json_reply("The public fields", CheckoutStatus, "ETag"),
            **UNCHANGED,
            **OPEN,
            **NOT_FOUND,
        },
        parameters=(_ID, IF_NONE_MATCH),
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
            **OPEN,
            **NOT_FOUND,
            HTTPStatus.GONE: problem_reply("Nothing is payable any more"),
        },
        parameters=(_ID,),
        needs_key=False,
    ),
    *LINK_OPERATIONS,
    Operation(
        "GET",
        "/health",
        "getHealth",
        "Server",
        "Health",
        "For a monitor. `problems` names the affected parts. With METRICS_TOKEN as Bearer, and for the "
        "operator, it lists each problem with its cure.",
        {
            HTTPStatus.OK: json_reply("There are no problems", Health),
            HTTPStatus.BAD_REQUEST: UNREADABLE,
            HTTPStatus.SERVICE_UNAVAILABLE: json_reply("There are problems", Health),
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
            HTTPStatus.UNAUTHORIZED: problem_reply(
                "The credentials are missing or invalid", "WWW-Authenticate"
            ),
            **OPEN,
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
            HTTPStatus.BAD_REQUEST: page_reply("The request is malformed"),
            HTTPStatus.UNPROCESSABLE_ENTITY: page_reply("A filter is invalid; the page gives the reason"),
            HTTPStatus.SERVICE_UNAVAILABLE: page_reply("The database is not available", "Retry-After"),
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
        {HTTPStatus.OK: json_reply("The description", dict[str, Any]), **OPEN},
        needs_key=False,
    ),
    Operation(
        "GET",
        "/docs",
        "getManual",
        "Server",
        "API description for people",
        "A page with a guide, and with the content of `openapi.json`.",
        {HTTPStatus.OK: Reply("The page", {HTML: str}), **OPEN},
        needs_key=False,
    ),
)
