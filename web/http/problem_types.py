"""The types of problems (RFC 9457): the title of each, its meaning and its cure. /docs shows them."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class ProblemType:
    """A type of problem. Text between backticks is code."""

    status: int
    title: str
    meaning: str
    cure: str


PROBLEM_TYPES: Mapping[str, ProblemType] = MappingProxyType(
    {
        "malformed": ProblemType(
            400,
            "Malformed request",
            "Nodetill can't parse the body, the query or a header. `detail` names the place.",
            "Send one JSON object in UTF-8, and each name once.",
        ),
        "bad-request": ProblemType(
            400,
            "Malformed HTTP",
            "A proxy could read this HTTP request differently.",
            "Use an ordinary HTTP library.",
        ),
        "unauthorized": ProblemType(
            401,
            "Key missing or invalid",
            "The call has no API key, or a key that does not exist any more.",
            "Send `Authorization: Bearer KEY`. The operator can give you a new key.",
        ),
        "forbidden": ProblemType(
            403,
            "Key of another seller",
            "The key does not belong to `seller_id`.",
            "Leave `seller_id` out, because the key names the seller.",
        ),
        "missing-permission": ProblemType(
            403,
            "Key lacks a permission",
            "The key may not make this call. `missing_permission` names the permission that it lacks.",
            "Use another key. The operator can make one with this permission.",
        ),
        "not-found": ProblemType(
            404,
            "Not found",
            "Nothing exists at this address, or your key has no access to it.",
            "Compare the id, and use the key that created the request.",
        ),
        "method-not-allowed": ProblemType(
            405,
            "Method not allowed",
            "The address exists, but does not accept this method.",
            "Use a method of the header `Allow`.",
        ),
        "request-timeout": ProblemType(
            408, "Request too slow", "The body took too long to arrive.", "Send the same call again."
        ),
        "not-late": ProblemType(
            409,
            "Request is not late",
            "`accept` counts late money, and this request has none.",
            "Call `accept` only while `late` is true.",
        ),
        "not-cancellable": ProblemType(
            409,
            "Request not cancellable",
            "Money has come, or the request has expired. `detail` names the reason.",
            "Read the request, and act on its status.",
        ),
        "nothing-to-redeliver": ProblemType(
            409,
            "No webhook to send again",
            "The event had no webhook, or Nodetill has deleted the webhook.",
            "Read the payment request instead.",
        ),
        "nothing-to-pay": ProblemType(
            410,
            "Nothing to pay",
            "The request is paid, or its price has expired.",
            "Show no QR code. Show `checkout_url`.",
        ),
        "request-entity-too-large": ProblemType(
            413,
            "Body too large",
            "The body has more than 16 KiB.",
            "Store large data in your shop, and its id in `metadata`.",
        ),
        "invalid": ProblemType(
            422,
            "Invalid values",
            "Nodetill understands the call, but some values are not allowed. `errors` lists every field.",
            "Correct each field as its `message` describes.",
        ),
        "idempotency-key-reused": ProblemType(
            422,
            "Idempotency-Key of another request",
            "An earlier request has this key, and its body was different. `payment_request_id` and "
            "`payment_status` name that request, or `link_id` names the link.",
            "Repeat the body of that request, or send a new key.",
        ),
        "idempotency-key-expired": ProblemType(
            422,
            "Idempotency-Key of an expired request",
            "The request of this key has expired, and no money came for it. `payment_request_id` and "
            "`payment_status` name that request.",
            "Send a new key, such as `order-4711-2`.",
        ),
        "too-many-requests": ProblemType(
            429,
            "Too many requests",
            "The seller of your key has reached a limit. `detail` names the limit.",
            "Wait for the seconds in `Retry-After`, then try again.",
        ),
        "request-header-fields-too-large": ProblemType(
            431,
            "Headers too large",
            "The URL and the headers together have more than 16 KiB.",
            "Send fewer or shorter headers.",
        ),
        "internal-server-error": ProblemType(
            500,
            "Error in Nodetill",
            "Nodetill has a bug. Its log has the details.",
            "Inform the operator. Repeat the call with the same `Idempotency-Key`.",
        ),
        "no-price": ProblemType(
            503,
            "No fresh price",
            "No price source has answered recently for this currency. Nothing was used up.",
            "Try again after the seconds in `Retry-After`.",
        ),
        "no-address": ProblemType(
            503,
            "No free address",
            "All prepared addresses are in use. Nothing was used up.",
            "Try again after the seconds in `Retry-After`. If it stays so, inform the operator.",
        ),
        "no-database": ProblemType(
            503,
            "Database not available",
            "The database is busy or away. Nothing was used up.",
            "Try again after the seconds in `Retry-After`.",
        ),
        "search-too-long": ProblemType(
            503,
            "Search took too long",
            "Nodetill stopped the search after 3 seconds.",
            "Narrow the search by time, status or currency.",
        ),
        "away": ProblemType(
            503,
            "Nodetill is restarting",
            "The web server in front can't reach Nodetill at the moment.",
            "Try again after the seconds in `Retry-After`, with the same `Idempotency-Key`.",
        ),
    }
)
"""The types that a program can receive, by the end of their `type`."""

_PAGE_TITLES: Mapping[str, str] = MappingProxyType(
    {
        "foreign-form": "Form of another site",
        "has-changed": "The payment has changed",
        "no-operator-page": "No operator's page",
        "seller-removed": "The seller was removed",
        "sent-twice": "The form was sent twice",
        "wrong-password": "Wrong password",
    }
)
"""Types that only the operator's pages show."""


def title_of(name: str) -> str:
    """Return the title of a type."""
    return _PAGE_TITLES[name] if name in _PAGE_TITLES else PROBLEM_TYPES[name].title
