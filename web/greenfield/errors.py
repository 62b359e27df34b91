"""Errors in the forms of BTCPay's Greenfield API, and the headers for browsers of other sites.

422 is an array of fields. Every other error is an object with a code and a message. The clients cannot parse
other errors, so no problem document (RFC 9457) appears under these paths.
"""

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from web.greenfield.paths import is_greenfield
from web.http.request import Environ
from web.http.responses import JSON, PROBLEM_JSON, Answer, Content, FieldError, Problem, encoded, invalid
from web.http.strict_json import Limits

LIMITS = Limits(size_bytes=64 * 1024, nesting=32)
"""A body with customer data and a long posData has some 20 KB."""

CORS: Mapping[str, str] = MappingProxyType(
    {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Retry-After"}
)
"""Headers that let scripts of any site read the response. This API accepts no cookie, so this is safe."""

_PREFLIGHT: Mapping[str, str] = MappingProxyType(
    {
        **CORS,
        "Access-Control-Allow-Headers": "authorization, content-type",
        "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE, OPTIONS",
        "Access-Control-Max-Age": "86400",
    }
)

_TEXT = "text/plain; charset=utf-8"
_NOT_OFFERED = (
    "Nodetill does not offer this call of BTCPay's API; GET /openapi.json lists the calls that it offers"
)

_CODES: Mapping[str, str] = MappingProxyType(
    {
        "unauthorized": "unauthenticated",
        "bad-request": "generic-error",
    }
)
"""BTCPay's code for a type of problem. For any other type, the code is the type."""

_PATHS: Mapping[str, str] = MappingProxyType(
    {
        "amount_fiat": "amount",
        "confirmations": "checkout.speedPolicy",
        "expires_in": "checkout.expirationMinutes",
    }
)
"""This API's names of fields of the native API."""


def ok(document: Mapping[str, Any] | list[Any]) -> Content:
    """Return a response with 200, because BTCPay's PHP library refuses every other status."""
    return Content(HTTPStatus.OK, encoded(document), JSON, CORS)


def empty() -> Content:
    """Return 200 without a document. The type is not JSON, because clients cannot parse empty JSON."""
    return Content(HTTPStatus.OK, b"", _TEXT, CORS)


def wrong(path: str, message: str) -> Problem:
    """Return 422 for one field. `path` has BTCPay's notation, such as checkout.paymentMethods[0]."""
    return invalid([FieldError(path, message)])


def missing(kind: str, detail: str) -> Problem:
    """Return 404 for an object of the caller's own store. `kind` is BTCPay's word, such as invoice."""
    return Problem(HTTPStatus.NOT_FOUND, "not-found", detail, members={"code": f"{kind}-not-found"})


def in_greenfield_form(answer: Answer, _environ: Environ) -> Content:
    """Convert a problem to an error of BTCPay's API."""
    if answer.content_type != PROBLEM_JSON:
        return Content(answer.status, answer.body, answer.content_type, {**answer.headers, **CORS})
    problem = answer.document
    if _type(problem) == "malformed":
        # BTCPay returns 422 for an unreadable body or query, with an empty path.
        fields = [{"path": "", "message": problem["detail"]}]
        return Content(HTTPStatus.UNPROCESSABLE_ENTITY, encoded(fields), JSON, CORS)
    return Content(answer.status, encoded(_error(answer)), JSON, {**answer.headers, **CORS})


def misdirected(answer: Answer, environ: Environ) -> Content:
    """Return the response to an unknown path or method, or to a CORS preflight."""
    if environ["REQUEST_METHOD"] == "OPTIONS":
        return Content(HTTPStatus.OK, b"", _TEXT, _PREFLIGHT)
    if answer.status != HTTPStatus.NOT_FOUND:
        return in_greenfield_form(answer, environ)
    return Content(answer.status, encoded({"code": "not-found", "message": _NOT_OFFERED}), JSON, CORS)


def refusal(problem: Problem, path: str) -> Content:
    """Return the response to a request that the HTTP server refuses before it calls the application."""
    return in_greenfield_form(problem.answer, {}) if is_greenfield(path) else problem.answer


def _error(answer: Answer) -> dict[str, Any] | list[dict[str, str]]:
    problem, name = answer.document, _type(answer.document)
    if answer.status == HTTPStatus.UNPROCESSABLE_ENTITY:
        errors = problem.get("errors", [{"field": "", "message": problem["detail"]}])
        return [
            {"path": _PATHS.get(each["field"], each["field"]), "message": each["message"]} for each in errors
        ]
    message = problem["detail"]
    if answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        message = f"a body has at most {LIMITS.size_bytes} bytes"
    error = {"code": problem.get("code") or _CODES.get(name, name), "message": message}
    if "missing_permission" in problem:
        error["missingPermission"] = problem["missing_permission"]
    return error


def _type(problem: Mapping[str, Any]) -> str:
    name: str = problem["type"].rpartition(":")[2]
    return name
