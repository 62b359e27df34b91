"""The page /docs: a guide by examples, and then the OpenAPI document for people."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from html import escape
from http import HTTPStatus
from threading import Lock
from typing import Any

from web.description.guide import guide
from web.description.openapi import description
from web.html.languages import languages
from web.html.templates import page, template
from web.http.request import Request
from web.http.responses import JSON, Response

_PAGE = template("docs_page.tpl")
_CODE = re.compile(r"`([^`]+)`")
_STRONG = re.compile(r"\*\*([^*]+)\*\*")
_MAX_CHOICES = 8
_RENDERING = Lock()

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    """A row of a table: a field and its values. `kind` is HTML, `description` is plain text."""

    name: str
    kind: str
    description: str
    is_required: bool


@dataclass(frozen=True, slots=True)
class ResponseDoc:
    """A possible response of an operation. `kind` is HTML."""

    status: str
    description: str
    kind: str
    headers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OperationDoc:
    """An operation, or the webhook."""

    name: str
    method: str
    path: str
    summary: str
    description: str
    needs_key: bool
    parameters: tuple[Field, ...]
    body: tuple[Field, ...]
    body_kind: str
    responses: tuple[ResponseDoc, ...]


def show(request: Request) -> Response:
    """GET /docs."""
    # One thread renders the page. Other threads wait for the result instead of rendering it again.
    with _RENDERING:
        return _rendered(request.settings.public_url)


@cache
def _rendered(public_url: str) -> Response:
    document = description(public_url)
    return page(
        _PAGE,
        languages()["en"],
        status=HTTPStatus.OK,
        introduction=document["info"]["description"].split("\n\n"),
        groups={tag["name"]: [*_operations(document, tag["name"])] for tag in document["tags"]},
        schemas={
            name: (schema.get("description", ""), [*_fields(schema)], _kind(schema))
            for name, schema in sorted(document["components"]["schemas"].items())
        },
        marked=_marked,
        **guide(public_url),
    )


def _operations(document: Mapping[str, Any], group: str) -> Iterator[OperationDoc]:
    all_methods = [
        *document["paths"].items(),
        *((name, methods) for name, methods in document["webhooks"].items()),
    ]
    for path, methods in all_methods:
        for method, operation in methods.items():
            if group in operation["tags"]:
                yield _operation_doc(document, method.upper(), path, operation)


def _operation_doc(document: Mapping[str, Any], method: str, path: str, operation: Schema) -> OperationDoc:
    schema = operation["requestBody"]["content"][JSON]["schema"] if "requestBody" in operation else {}
    name = _name(schema)
    parts = document["components"]["schemas"].get(name, {})
    return OperationDoc(
        name=operation["operationId"],
        method=method,
        path=path if path.startswith("/") else "to your server",
        summary=operation["summary"],
        description=operation["description"],
        needs_key=bool(operation["security"]),
        parameters=tuple(
            Field(each["name"], _kind(each["schema"]), each["description"], each["required"])
            for each in operation.get("parameters", [])
        ),
        body=tuple(_fields(parts)),
        body_kind=name,
        responses=tuple(_response_doc(status, reply) for status, reply in operation["responses"].items()),
    )


def _response_doc(status: str, reply: Schema) -> ResponseDoc:
    content = reply.get("content", {})
    kinds = [
        _kind(part["schema"]) if _name(part["schema"]) else escape(kind) for kind, part in content.items()
    ]
    return ResponseDoc(status, reply["description"], " or ".join(kinds), tuple(reply.get("headers", {})))


def _fields(schema: Schema) -> Iterator[Field]:
    for value in schema.get("oneOf", []):
        yield Field(value["const"], "", value["description"], is_required=True)
    for name, part in schema.get("properties", {}).items():
        is_required = name in schema.get("required", [])
        yield Field(name, _kind(part), part.get("description", ""), is_required)


def _kind(schema: Schema) -> str:
    """Describe the values that a schema allows, as HTML."""
    name = _name(schema)
    if name:
        return f'<a href="#{escape(name)}">{escape(name)}</a>'
    if "anyOf" in schema:
        return " or ".join(_kind(choice) for choice in schema["anyOf"])
    if "enum" in schema:
        return _choices(schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    bounds = ", ".join(_bounds(schema))
    kind = _KINDS.get(schema.get("format", "")) or _KINDS.get(schema.get("type", ""), "anything")
    return escape(f"{kind}, {bounds}" if bounds else kind)


_KINDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "object",
    "null": "null",
    "date-time": "time",
    "uri": "URL",
}


def _choices(values: list[str]) -> str:
    shown = [f"<code>{escape(value)}</code>" for value in values[:_MAX_CHOICES]]
    left = len(values) - len(shown)
    return "one of " + ", ".join(shown) + (f" and {left} more" if left else "")


def _bounds(schema: Schema) -> Iterator[str]:
    if "exclusiveMinimum" in schema:
        yield f"above {schema['exclusiveMinimum']}"
    if "maximum" in schema:
        yield f"{schema['minimum']} to {schema['maximum']}"
    elif schema.get("minimum"):
        yield f"at least {schema['minimum']}"
    if "maxLength" in schema:
        yield f"at most {schema['maxLength']} characters"
    if "examples" in schema:
        yield f"such as {json.dumps(schema['examples'][0], ensure_ascii=False)}"


def _name(schema: Schema) -> str:
    reference: str = schema.get("$ref", "")
    return reference.rpartition("/")[2]


def _marked(text: str) -> str:
    """Convert plain text to HTML. Text between backticks becomes code, and between asterisks strong."""
    return _STRONG.sub(r"<strong>\1</strong>", _CODE.sub(r"<code>\1</code>", escape(text)))
