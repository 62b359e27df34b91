"""The operations on payment links, and their pages. operations.py has the other operations."""

from http import HTTPStatus

from web.api.link_forms import LinkForm
from web.api.link_schemas import LinkList, PaymentLink
from web.api.links import LinkFilters
from web.api.schemas import LinkReference
from web.description.operation import Operation, Parameter, Reply
from web.description.replies import (
    IF_NONE_MATCH,
    INVALID,
    KEYED,
    LANG,
    NOT_FOUND,
    OPEN,
    TOO_LARGE,
    UNCHANGED,
    json_reply,
    key_parameter,
    page_reply,
    problem_reply,
)
from web.http.responses import HTML, SVG

_ID = Parameter("id", "path", LinkReference, "`link_id`")
_IDEMPOTENCY_KEY = key_parameter(
    "Your own name for this link, such as the number of the invoice. The same key and body always return the "
    "same link. A payment request can have the same key"
)
_NO_PAGE = {
    HTTPStatus.BAD_REQUEST: page_reply("The request is malformed"),
    HTTPStatus.NOT_FOUND: page_reply("There is no such link"),
}

LINK_OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "POST",
        "/api/v1/links",
        "createLink",
        "Links",
        "Create a payment link",
        'For an invoice, a donation or a price tag. A link has no price and no address. Each press of "Pay" '
        "on its page makes a payment request with both. Send the payer `url`, or print it as a QR code.",
        {
            HTTPStatus.CREATED: json_reply("The new link", PaymentLink, "Location"),
            HTTPStatus.OK: json_reply("The earlier link of this `Idempotency-Key`", PaymentLink, "Location"),
            **KEYED,
            **TOO_LARGE,
            HTTPStatus.UNPROCESSABLE_ENTITY: problem_reply(
                "The request is understood but invalid; see `errors`. Or its `Idempotency-Key` belongs to a "
                "link with another body"
            ),
            HTTPStatus.FORBIDDEN: problem_reply("The key belongs to another seller than `seller_id`"),
        },
        parameters=(_IDEMPOTENCY_KEY,),
        body=LinkForm,
    ),
    Operation(
        "GET",
        "/api/v1/links",
        "listLinks",
        "Links",
        "List payment links",
        "Returns pages, newest first. Follow `next_cursor` until it is null.",
        {HTTPStatus.OK: json_reply("A page", LinkList), **KEYED, **INVALID},
        query=LinkFilters,
    ),
    Operation(
        "GET",
        "/api/v1/links/{id}",
        "getLink",
        "Links",
        "Read a payment link",
        "Deliver only when `status` is `paid`. A reusable link is never `paid`, so read the status of each "
        "request that it made. `link_id` of a request names the link, and lists of requests have the filter "
        "`link_id`.",
        {HTTPStatus.OK: json_reply("The link", PaymentLink, "ETag"), **UNCHANGED, **KEYED, **NOT_FOUND},
        parameters=(_ID, IF_NONE_MATCH),
    ),
    Operation(
        "POST",
        "/api/v1/links/{id}/close",
        "closeLink",
        "Links",
        "Close a payment link",
        "The link makes no more requests, and Nodetill cancels those to which nothing came. Money that came "
        "counts as before. A repeated call has no further effect.",
        {HTTPStatus.OK: json_reply("The closed link", PaymentLink), **KEYED, **NOT_FOUND},
        parameters=(_ID,),
    ),
    Operation(
        "GET",
        "/l/{id}",
        "getLinkPage",
        "Links",
        "Page of a link",
        "Shows the title, the amount or a field for it, and the money that came, in the payer's language.",
        {
            HTTPStatus.OK: Reply("The page", {HTML: str}),
            **_NO_PAGE,
            HTTPStatus.UNPROCESSABLE_ENTITY: page_reply("A parameter occurs twice"),
            HTTPStatus.SERVICE_UNAVAILABLE: page_reply("The database is not available", "Retry-After"),
        },
        parameters=(_ID, LANG),
        needs_key=False,
    ),
    Operation(
        "GET",
        "/l/{id}/qr.svg",
        "getLinkQrCode",
        "Links",
        "QR code of a link",
        "Encodes the address of the link's page, for paper.",
        {HTTPStatus.OK: Reply("The picture", {SVG: str}), **OPEN, **NOT_FOUND},
        parameters=(_ID,),
        needs_key=False,
    ),
    Operation(
        "GET",
        "/l/{id}/pay",
        "getLinkPay",
        "Links",
        "Back to the page of a link",
        'Makes no request. A browser that reloads the answer to "Pay" gets the page of the link.',
        {
            HTTPStatus.SEE_OTHER: Reply("A redirect to the page of the link", headers=("Location",)),
            **_NO_PAGE,
            HTTPStatus.SERVICE_UNAVAILABLE: page_reply("The database is not available", "Retry-After"),
        },
        parameters=(_ID,),
        needs_key=False,
    ),
    Operation(
        "POST",
        "/l/{id}/pay",
        "payLink",
        "Links",
        "Pay a link",
        "The form of the link's page, with the field `amount` where the payer chooses it. It makes a payment "
        "request, or finds the request that waits for money, and redirects to its checkout page. A "
        "single-use link has one request at a time. A reusable link makes at most 10 requests a minute, and "
        "at most 30 of them wait for money. All links together leave half of the free addresses to the "
        "calls of sellers.",
        {
            HTTPStatus.SEE_OTHER: Reply("A redirect to the checkout page", headers=("Location",)),
            **_NO_PAGE,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE: page_reply("The body has more than 16 KiB"),
            HTTPStatus.UNPROCESSABLE_ENTITY: page_reply(
                "The link does not allow this amount; the page gives the reason"
            ),
            HTTPStatus.TOO_MANY_REQUESTS: page_reply("Too many people pay this link now", "Retry-After"),
            HTTPStatus.SERVICE_UNAVAILABLE: page_reply(
                "No fresh price, no free address, or no database; nothing was used up", "Retry-After"
            ),
        },
        parameters=(_ID,),
        needs_key=False,
    ),
)
