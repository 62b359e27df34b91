"""Responses: JSON documents, problems, pages and files, all with the common headers."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from web.http.problem_types import title_of

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"
HTML = "text/html; charset=utf-8"
SVG = "image/svg+xml"
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

# A response may hold a seller's data. No cache stores it, no page frames it, and it runs nothing.
COMMON_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Cache-Control": "no-store",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }
)
# A shop may open a checkout page in a frame or in a window, because the page has no form and decides nothing.
# With Cross-Origin-Opener-Policy, the shop would take the open window for a closed one.
_AGAINST_OTHER_SITES = ("X-Frame-Options", "Cross-Origin-Opener-Policy")
FRAMABLE_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        **{name: value for name, value in COMMON_HEADERS.items() if name not in _AGAINST_OTHER_SITES},
        "Content-Security-Policy": "default-src 'none'",
        "Cross-Origin-Resource-Policy": "cross-origin",
    }
)
RETRY_AFTER_SECONDS = 10

# A page loads its own files alone: no inline script or style, and nothing of a third party.
PAGE_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
POLICY_WITH_FORMS = PAGE_POLICY.replace("form-action 'none'", "form-action 'self'")
FRAMABLE_POLICY = PAGE_POLICY.replace("; frame-ancestors 'none'", "")

# json.dumps would create an encoder for each document.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Response:
    """A response: a status, a body, and headers beside the common ones.

    A large body is an iterator. The thread that sends a piece computes it. A page of another site may show
    the response in a frame only if `is_framable`.
    """

    status: int
    body: bytes | Iterator[bytes]
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: tuple[str, ...] = ()
    is_framable: bool = False

    @property
    def all_headers(self) -> dict[str, str]:
        """The common headers, and this response's own headers, which replace them."""
        common = FRAMABLE_HEADERS if self.is_framable else COMMON_HEADERS
        return {**common, "Content-Type": self.content_type, **self.headers}


@dataclass(frozen=True, slots=True)
class JsonResponse(Response):
    """A response whose body is this document. `json_response` makes it."""

    document: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FieldError:
    """The error of one field of a body, or of one parameter."""

    field: str
    message: str


class Problem(Exception):
    """A refusal as RFC 9457 defines it. `name` ends the `type`. `detail` names the error and the cure.

    `members` are further members of the document.
    """

    def __init__(
        self,
        status: HTTPStatus,
        name: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.name = name
        self.title = title_of(name)
        self.detail = detail
        self.errors = errors
        self.headers = headers or {}
        self.members = members or {}

    @property
    def response(self) -> JsonResponse:
        """The response that the client receives."""
        document: dict[str, Any] = {
            "type": f"urn:nodetill:problem:{self.name}",
            "title": self.title,
            "status": self.status.value,
            "detail": self.detail,
            **self.members,
        }
        if self.errors:
            document["errors"] = [{"field": e.field, "message": e.message} for e in self.errors]
        return json_response(self.status.value, document, self.headers, PROBLEM_JSON)


def json_response(
    status: int,
    document: Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
    content_type: str = JSON,
) -> JsonResponse:
    """Return a response whose body is a JSON document."""
    return JsonResponse(status, encoded(document), content_type, headers or {}, document=document)


def encoded(document: Mapping[str, Any] | Sequence[Any]) -> bytes:
    """Encode a document as compact JSON in UTF-8."""
    return _ENCODER.encode(document).encode()


def malformed(detail: str) -> Problem:
    """Return 400, for a request that can't be parsed."""
    return Problem(HTTPStatus.BAD_REQUEST, "malformed", detail)


def invalid(errors: Sequence[FieldError]) -> Problem:
    """Return 422, for a request with invalid values."""
    detail = "; ".join(f"{error.field}: {error.message}" for error in errors)
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", detail, errors=errors)


def not_found() -> Problem:
    """Return 404. The response is the same for a missing object and for an object of another seller."""
    return Problem(HTTPStatus.NOT_FOUND, "not-found", "not found, or your key has no access to it")


def unavailable(name: str, detail: str, retry_after_seconds: int = RETRY_AFTER_SECONDS) -> Problem:
    """Return 503. Nothing was used up, and the same request may succeed later."""
    headers = {"Retry-After": str(retry_after_seconds)}
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, name, detail, headers=headers)
