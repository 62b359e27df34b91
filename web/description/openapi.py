"""The API's description in OpenAPI 3.1, from operations.py and the code's own forms and schemas."""

from collections.abc import Iterable, Mapping
from functools import cache
from http import HTTPStatus
from typing import Annotated, Any

from pydantic import Field, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from web.api.link_schemas import LinkWebhookEvent
from web.api.schemas import EventReference, WebhookEvent
from web.description import examples
from web.description.greenfield.operations import GREENFIELD_OPERATIONS
from web.description.meanings import (
    EVENT_MEANINGS,
    LINK_EVENT_MEANINGS,
    LINK_STATUS_MEANINGS,
    STATUS_MEANINGS,
    Meaning,
)
from web.description.operation import HEADERS, Operation, Parameter, Reply
from web.description.operations import OPERATIONS
from web.http.request import Request
from web.http.responses import JSON, PROBLEM_JSON, Response, encoded

ALL_OPERATIONS = OPERATIONS + GREENFIELD_OPERATIONS
_REF = "#/components/schemas/{model}"

_INTRODUCTION = """\
Create a payment request in any currency. Nodetill returns an address and an amount in bitcoin, and notifies \
you when the request is paid.

Requests and responses are JSON in UTF-8. Decimal amounts are text, and satoshis are whole numbers. Times \
are RFC 3339 in UTC, except `price_timestamp`, which is in seconds since 1970. Errors are JSON (RFC 9457). \
They list every fault of the request at once, and what to do. `503` with `Retry-After` means that nothing \
was used up, so try again."""

_WEBHOOK = """\
Nodetill posts each event to the URL that the operator has set for you. The signature follows Standard \
Webhooks (https://www.standardwebhooks.com). Respond with any 2xx within 10 seconds. An event may arrive \
more than once, always with the same `webhook-id`."""

_LINK_WEBHOOK = """\
Nodetill also posts when an invoice becomes paid, and when its money is taken back. `data` is the link. The \
events of its payment requests come as before, with `link_id` in `data`."""

_WEBHOOK_HEADERS = (
    Parameter(
        "webhook-id", "header", EventReference, "The id of the event. It stays the same in each attempt"
    ),
    Parameter(
        "webhook-timestamp",
        "header",
        int,
        "The time of this attempt, in seconds since 1970. Refuse old timestamps",
    ),
    Parameter(
        "webhook-signature",
        "header",
        Annotated[str, Field(pattern="^v1,[A-Za-z0-9+/]{43}=( v1,[A-Za-z0-9+/]{43}=)*$")],
        "HMAC-SHA256 of id, timestamp and body, joined by dots; one signature for each secret in use",
    ),
)


def show(request: Request) -> Response:
    """GET /openapi.json."""
    return Response(HTTPStatus.OK, _encoded(request.settings.public_url), JSON)


@cache
def _encoded(public_url: str) -> bytes:
    return encoded(description(public_url))


@cache
def description(public_url: str) -> dict[str, Any]:
    """Return the OpenAPI document. Links start with `public_url`."""
    schemas = _Schemas()
    paths: dict[str, dict[str, Any]] = {}
    for operation in ALL_OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schemas)
    webhook = _webhook(schemas)
    link_webhook = _link_webhook(schemas)
    _describe_values(schemas)
    _add_examples(paths, webhook, public_url)
    return {
        "openapi": "3.1.1",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {"title": "Nodetill", "version": "1", "description": _INTRODUCTION},
        "servers": [{"url": public_url}],
        "tags": [{"name": group} for group in dict.fromkeys(operation.group for operation in ALL_OPERATIONS)],
        "paths": paths,
        "webhooks": {"payment": {"post": webhook}, "link": {"post": link_webhook}},
        "components": {
            "schemas": schemas.definitions,
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Your API key, from the operator. It acts only for you",
                }
            },
        },
    }


class _Generator(GenerateJsonSchema):
    """A generator that omits titles and null defaults."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        """Return False, because a title would only repeat the name."""
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Omit the default None, which only marks a missing field."""
        if schema.get("default", ...) is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)


class _Schemas:
    """JSON schemas of types. Named schemas become definitions, and other schemas refer to them."""

    def __init__(self) -> None:
        self.definitions: dict[str, Any] = {}

    def of(self, kind: Any) -> dict[str, Any]:
        """Return the schema of a type, or a reference to it."""
        schema = TypeAdapter(kind).json_schema(ref_template=_REF, schema_generator=_Generator)
        self.definitions.update(schema.pop("$defs", {}))
        name = schema.pop("title", None)
        if name is None:
            return schema
        self.definitions[name] = schema
        return {"$ref": _REF.format(model=name)}


def _describe_values(schemas: _Schemas) -> None:
    """Add a description of each value to the schemas of statuses and events."""
    kinds: tuple[tuple[str, Mapping[Any, Meaning]], ...] = (
        ("Status", STATUS_MEANINGS),
        ("EventType", EVENT_MEANINGS),
        ("LinkStatus", LINK_STATUS_MEANINGS),
        ("LinkEvent", LINK_EVENT_MEANINGS),
    )
    for name, meanings in kinds:
        schemas.definitions[name]["oneOf"] = [
            {"const": value.value, "description": f"{each.meaning} {each.action}"}
            for value, each in meanings.items()
        ]


def _add_examples(paths: Mapping[str, Any], webhook: Mapping[str, Any], public_url: str) -> None:
    create = paths["/api/v1/payments"]["post"]
    create["requestBody"]["content"][JSON]["example"] = {**examples.CREATE_BODY}
    create["responses"]["201"]["content"][JSON]["example"] = examples.new_payment(public_url)
    create["responses"]["422"]["content"][PROBLEM_JSON]["example"] = examples.problem()
    webhook["requestBody"]["content"][JSON]["example"] = examples.webhook_event(public_url)


def _operation(operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.group],
        "summary": operation.summary,
        "description": operation.description,
        "security": [{"key": []}] if operation.needs_key else [],
        "responses": {
            str(status.value): _reply(reply, schemas) for status, reply in sorted(operation.replies.items())
        },
    }
    parameters = [_parameter(each, schemas) for each in operation.parameters]
    if operation.query is not None:
        parameters.extend(_query(operation, schemas))
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        described["requestBody"] = _body(schemas.of(operation.body))
    return described


def _parameter(parameter: Parameter, schemas: _Schemas, *, is_required: bool = False) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": is_required or parameter.place == "path",
        "description": parameter.description,
        "schema": schemas.of(parameter.type),
    }


def _query(operation: Operation, schemas: _Schemas) -> Iterable[dict[str, Any]]:
    """Yield the parameters of a form that the query contains."""
    form = schemas.of(operation.query)
    fields = schemas.definitions.pop(form["$ref"].rpartition("/")[2])["properties"]
    for name, schema in fields.items():
        text = schema.pop("description")
        yield {"name": name, "in": "query", "required": False, "description": text, "schema": schema}


def _body(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {JSON: {"schema": schema}}}


def _reply(reply: Reply, schemas: _Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {"description": reply.description}
    if reply.content:
        described["content"] = {
            kind.partition(";")[0]: {"schema": schemas.of(type_)} for kind, type_ in reply.content.items()
        }
    if reply.headers:
        described["headers"] = {name: _header(name, schemas) for name in reply.headers}
    if reply.links:
        described["links"] = {name: _link(name) for name in reply.links}
    return described


def _header(name: str, schemas: _Schemas) -> dict[str, Any]:
    meaning, type_ = HEADERS[name]
    return {"description": meaning, "required": True, "schema": schemas.of(type_)}


def _link(name: str) -> dict[str, Any]:
    return {"operationId": name, "parameters": {"id": "$response.body#/payment_request_id"}}


def _link_webhook(schemas: _Schemas) -> dict[str, Any]:
    return {
        **_webhook(schemas),
        "operationId": "linkEvent",
        "tags": ["Links"],
        "summary": "Webhooks of links",
        "description": _LINK_WEBHOOK,
        "requestBody": _body(schemas.of(LinkWebhookEvent)),
    }


def _webhook(schemas: _Schemas) -> dict[str, Any]:
    return {
        "operationId": "paymentEvent",
        "tags": ["Events"],
        "summary": "Webhooks",
        "description": _WEBHOOK,
        "security": [],
        "parameters": [_parameter(each, schemas, is_required=True) for each in _WEBHOOK_HEADERS],
        "requestBody": _body(schemas.of(WebhookEvent)),
        "responses": {
            "2XX": {"description": "Accepted. Nodetill does not send it again"},
            "410": {"description": "Refused. Nodetill never sends it again"},
            "default": {
                "description": "Nodetill sends it again after 5 s, then at growing intervals, for a day"
            },
        },
    }
