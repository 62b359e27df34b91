"""An operation of the API, and its parts. operations.py lists the operations."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import Field

from web.api.forms import Form

HEADERS: Mapping[str, tuple[str, Any]] = MappingProxyType(
    {
        "ETag": ("The version of this response. Send it as `If-None-Match`", str),
        "Location": ("The URL of the request or page", str),
        "Retry-After": ("Seconds to wait before the next attempt", Annotated[int, Field(ge=0)]),
        "WWW-Authenticate": ("The required credentials (RFC 6750)", str),
    }
)
"""The headers of responses: their meaning and type."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of an operation. `place` is path, query or header."""

    name: str
    place: str
    type: Any
    description: str


@dataclass(frozen=True, slots=True)
class Reply:
    """A response: the meaning of its status, the type of each kind of content, and its headers.

    `links` names operations that take the id of the request in the response.
    """

    description: str
    content: Mapping[str, Any] = field(default_factory=dict)
    headers: tuple[str, ...] = ()
    links: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation. Each name in braces in `path` is a parameter."""

    method: str
    path: str
    name: str
    group: str
    summary: str
    description: str
    replies: Mapping[HTTPStatus, Reply]
    parameters: tuple[Parameter, ...] = ()
    query: type[Form] | None = None
    body: Any = None
    needs_key: bool = True
