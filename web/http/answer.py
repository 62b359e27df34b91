"""What a call is answered with: a JSON document, or a problem that says what to do."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

JSON = "application/json"
PROBLEM_JSON = "application/problem+json"

# An answer holds a seller's data and is nobody's page: it is not kept, not framed, and runs nothing.
COMMON_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Cache-Control": "no-store",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
)
RETRY_AFTER_SECONDS = 10

# json.dumps makes a new one for each document, which takes as long as to write it.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, the JSON document that goes with it, and headers beside the common ones."""

    status: int
    document: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = JSON

    @property
    def body(self) -> bytes:
        """The document in UTF-8; none where HTTP has none."""
        return b"" if self.status == HTTPStatus.NOT_MODIFIED else encoded(self.document)

    @property
    def all_headers(self) -> dict[str, str]:
        """Its own headers go before the common ones."""
        return {**COMMON_HEADERS, "Content-Type": self.content_type, **self.headers}


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field of a body or one parameter."""

    field: str
    message: str


class Problem(Exception):
    """A refusal, as RFC 9457 has it. `name` makes the `type`; `detail` says what is wrong and what to do."""

    def __init__(
        self,
        status: HTTPStatus,
        name: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.name = name
        self.detail = detail
        self.errors = errors
        self.headers = headers or {}

    @property
    def answer(self) -> Answer:
        """What the client gets."""
        document: dict[str, Any] = {
            "type": f"urn:nodetill:problem:{self.name}",
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": self.detail,
        }
        if self.errors:
            document["errors"] = [{"field": e.field, "message": e.message} for e in self.errors]
        return Answer(self.status.value, document, self.headers, PROBLEM_JSON)


def encoded(document: Mapping[str, Any]) -> bytes:
    """JSON in UTF-8, as compact as it goes."""
    return _ENCODER.encode(document).encode()


def refused(status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> Problem:
    """A problem that needs no other name than its status's: "Not Found" is not-found."""
    return Problem(status, status.name.lower().replace("_", "-"), detail, headers=headers)


def malformed(detail: str) -> Problem:
    """400: it can't be read at all."""
    return Problem(HTTPStatus.BAD_REQUEST, "malformed", detail)


def invalid(errors: Sequence[FieldError]) -> Problem:
    """422: it can be read, but not done."""
    detail = "; ".join(f"{error.field}: {error.message}" for error in errors)
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", detail, errors=errors)


def not_found() -> Problem:
    """404, the same for what is missing and for what is another's."""
    return refused(HTTPStatus.NOT_FOUND, "there is nothing here under this address, or not for this key")


def unavailable(name: str, detail: str, retry_after_seconds: int = RETRY_AFTER_SECONDS) -> Problem:
    """503: nothing was used up, and the same request may succeed later."""
    headers = {"Retry-After": str(retry_after_seconds)}
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, name, detail, headers=headers)
