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
from web.http.responses import (
    JSON,
    PROBLEM_JSON,
    FieldError,
    JsonResponse,
    Problem,
    Response,
    encoded,
    invalid,
)
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


def ok(document: Mapping[str, Any] | list[Any]) -> Response:
    """Return a response with 200, because BTCPay's PHP library refuses every other status."""
    return Response(HTTPStatus.OK, encoded(document), JSON, CORS)


def empty() -> Response:
    """Return 200 without a document. The type is not JSON, because clients cannot parse empty JSON."""
    return Response(HTTPStatus.OK, b"", _TEXT, CORS)


def wrong(path: str, message: str) -> Problem:
    """Return 422 for one field. `path` has BTCPay's notation, such as checkout.paymentMethods[0]."""
    return invalid([FieldError(path, message)])


def missing(kind: str, detail: str) -> Problem:
    """Return 404 for an object of the caller's own store. `kind` is BTCPay's word, such as invoice."""
    return Problem(HTTPStatus.NOT_FOUND, "not-found", detail, members={"code": f"{kind}-not-found"})


def in_greenfield_form(response: JsonResponse, _environ: Environ) -> Response:
    """Convert a problem to an error of BTCPay's API."""
    if response.content_type != PROBLEM_JSON:
        return Response(response.status, response.body, response.content_type, {**response.headers, **CORS})
    problem = response.document
    if _type(problem) == "malformed":
        # BTCPay returns 422 for an unreadable body or query, with an empty path.
        fields = [{"path": "", "message": problem["detail"]}]
        return Response(HTTPStatus.UNPROCESSABLE_ENTITY, encoded(fields), JSON, CORS)
    return Response(response.status, encoded(_error(response)), JSON, {**response.headers, **CORS})


def misdirected(response: JsonResponse, environ: Environ) -> Response:
    """Return the response to an unknown path or method, or to a CORS preflight."""
    if environ["REQUEST_METHOD"] == "OPTIONS":
        return Response(HTTPStatus.OK, b"", _TEXT, _PREFLIGHT)
    if response.status != HTTPStatus.NOT_FOUND:
        return in_greenfield_form(response, environ)
    return Response(response.status, encoded({"code": "not-found", "message": _NOT_OFFERED}), JSON, CORS)


def refusal(problem: Problem, path: str) -> Response:
    """Return the response to a request that the HTTP server refuses before it calls the application."""
    return in_greenfield_form(problem.response, {}) if is_greenfield(path) else problem.response


def _error(response: JsonResponse) -> dict[str, Any] | list[dict[str, str]]:
    problem, name = response.document, _type(response.document)
    if response.status == HTTPStatus.UNPROCESSABLE_ENTITY:
        errors = problem.get("errors", [{"field": "", "message": problem["detail"]}])
        return [
            {"path": _PATHS.get(each["field"], each["field"]), "message": each["message"]} for each in errors
        ]
    message = problem["detail"]
    if response.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        message = f"a body has at most {LIMITS.size_bytes} bytes"
    error = {"code": problem.get("code") or _CODES.get(name, name), "message": message}
    if "missing_permission" in problem:
        error["missingPermission"] = problem["missing_permission"]
    return error


def _type(problem: Mapping[str, Any]) -> str:
    name: str = problem["type"].rpartition(":")[2]
    return name
