"""Responses and parameters that several operations share. operations.py has the operations."""

from http import HTTPStatus
from typing import Annotated, Any

from pydantic import Field

from web.api.idempotency import MAX_KEY_CHARACTERS
from web.api.schemas import ProblemDocument
from web.description.operation import Parameter, Reply
from web.http.responses import HTML, JSON, PROBLEM_JSON


def json_reply(description: str, schema: Any, *headers: str, links: tuple[str, ...] = ()) -> Reply:
    return Reply(description, {JSON: schema}, headers, links)


def problem_reply(description: str, *headers: str) -> Reply:
    return Reply(description, {PROBLEM_JSON: ProblemDocument}, headers)


def page_reply(description: str, *headers: str) -> Reply:
    # The server refuses malformed HTTP before it reads the path, so that response is no page.
    return Reply(description, {HTML: str, PROBLEM_JSON: ProblemDocument}, headers)


def key_parameter(description: str) -> Parameter:
    """Return the header `Idempotency-Key`."""
    schema = Annotated[str, Field(pattern="^[ -~]+$", min_length=1, max_length=MAX_KEY_CHARACTERS)]
    return Parameter("Idempotency-Key", "header", schema, description)


IF_NONE_MATCH = Parameter("If-None-Match", "header", str, "The `ETag` of an earlier response")
LANG = Parameter("lang", "query", str, "`en`, `de`, `fr` or `es`, instead of the browser's language")

UNREADABLE = problem_reply("The request is malformed")
NO_DATABASE = problem_reply("The database is not available; nothing was used up, try again", "Retry-After")
OPEN = {HTTPStatus.BAD_REQUEST: UNREADABLE, HTTPStatus.SERVICE_UNAVAILABLE: NO_DATABASE}
KEYED = {
    **OPEN,
    HTTPStatus.UNAUTHORIZED: problem_reply("The key is missing or invalid", "WWW-Authenticate"),
    HTTPStatus.FORBIDDEN: problem_reply("The key lacks a permission, which `missing_permission` names"),
}
NOT_FOUND = {HTTPStatus.NOT_FOUND: problem_reply("No object of this key has that id")}
INVALID = {
    HTTPStatus.UNPROCESSABLE_ENTITY: problem_reply("The request is understood but invalid; see `errors`")
}
TOO_LARGE = {HTTPStatus.REQUEST_ENTITY_TOO_LARGE: problem_reply("The body has more than 16 KiB")}
TOO_MANY = {HTTPStatus.TOO_MANY_REQUESTS: problem_reply("Too many such requests already wait", "Retry-After")}
UNCHANGED = {
    HTTPStatus.NOT_MODIFIED: Reply(
        "Nothing has changed since the response with this `ETag`", headers=("ETag",)
    )
}
