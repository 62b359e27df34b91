"""Common parts of the operations of BTCPay's Greenfield API, for the API's description."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any

from pydantic import Field

from web.description.greenfield.schemas import GreenfieldError, InvalidMember
from web.description.operation import Operation, Parameter, Reply
from web.description.replies import json_reply
from web.http.responses import JSON

GROUP = "BTCPay's Greenfield API"
STORE_PATH = "/api/v1/stores/{store}"

Id = Annotated[str, Field(pattern="^[A-Za-z0-9._-]+$")]
STORE = Parameter("store", "path", Id, "`id` of the store, which is the seller's id")


def error(description: str, *headers: str) -> Reply:
    return Reply(description, {JSON: GreenfieldError}, headers)


_INVALID = {
    HTTPStatus.UNPROCESSABLE_ENTITY: json_reply("A member or a parameter is invalid", list[InvalidMember])
}
OPEN: Mapping[HTTPStatus, Reply] = {
    **_INVALID,
    HTTPStatus.BAD_REQUEST: error("The HTTP of the request is malformed"),
    HTTPStatus.SERVICE_UNAVAILABLE: error("The database is not available; try again", "Retry-After"),
}
KEYED: Mapping[HTTPStatus, Reply] = {
    **OPEN,
    HTTPStatus.UNAUTHORIZED: error("The key is missing or invalid", "WWW-Authenticate"),
}
IN_STORE: Mapping[HTTPStatus, Reply] = {
    **KEYED,
    HTTPStatus.FORBIDDEN: error("The key lacks the permission, or belongs to another store"),
}
TOO_LARGE = {HTTPStatus.REQUEST_ENTITY_TOO_LARGE: error("The body has more than 64 KiB")}
TOO_MANY = {HTTPStatus.TOO_MANY_REQUESTS: error("Too many such calls; try again", "Retry-After")}
DONE = Reply("Done. The body is empty")


def operation(
    method: str,
    path: str,
    name: str,
    summary: str,
    description: str,
    reply: Reply,
    others: Mapping[HTTPStatus, Reply],
    *parameters: Parameter,
    **more: Any,
) -> Operation:
    replies = {HTTPStatus.OK: reply, **others}
    return Operation(method, path, name, GROUP, summary, description, replies, parameters, **more)
