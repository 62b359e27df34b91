"""A request as its handler receives it: its content, its caller and its time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from config import Settings
from models.api_key import ApiKey
from models.seller import Seller
from web.http import strict_json
from web.http.database import Writers
from web.http.responses import FieldError, invalid, malformed

Environ = Mapping[str, Any]
"""WSGI's environment (PEP 3333)."""

_MAX_PARAMETERS = 20
_MAX_FIELDS = 250


@dataclass(frozen=True, slots=True)
class BrowserSession:
    """A browser that requests the operator's pages. `is_known`: the operator has logged in with it before."""

    id: str
    is_known: bool
    form: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """A program with an API key. `key` is the key as the call has it, and `api_key` is its row."""

    api_key: ApiKey
    key: str = field(repr=False)

    @property
    def seller(self) -> Seller:
        """The seller to whom the key belongs."""
        seller: Seller = self.api_key.seller
        return seller


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `now` is aware UTC and constant. `caller` is None where anyone may call."""

    settings: Settings
    now: datetime
    environ: Environ
    writers: Writers
    caller: KeyHolder | BrowserSession | None = None

    @property
    def key_holder(self) -> KeyHolder:
        """The program whose key the request has."""
        assert isinstance(self.caller, KeyHolder), "the route's access admits callers without a key"
        return self.caller

    @property
    def seller(self) -> Seller:
        """The seller whose key the request has."""
        return self.key_holder.seller

    @property
    def session(self) -> BrowserSession:
        """The browser that sent the request."""
        assert isinstance(self.caller, BrowserSession), "the route is none of the operator's pages"
        return self.caller

    def header(self, name: str) -> str | None:
        """Return the header's value, or None without that header."""
        value: str | None = self.environ.get(f"HTTP_{name.upper().replace('-', '_')}")
        return value

    def cookie(self, name: str) -> str | None:
        """Return the cookie's value (RFC 6265, 5.4), or None without that cookie."""
        pairs = (pair.strip().partition("=") for pair in self.environ.get("HTTP_COOKIE", "").split(";"))
        return next((value for key, _, value in pairs if key == name), None)

    def body(self, limits: strict_json.Limits = strict_json.LIMITS) -> dict[str, Any]:
        """Return the JSON object of the body. Raise Problem 400 or 413."""
        return strict_json.read_object(self._bytes(limits.size_bytes), limits)

    def form(self) -> dict[str, str]:
        """Return the fields of an HTML form. Each name may occur once. Raise Problem 400, 413 or 422."""
        return _fields(self._bytes(strict_json.MAX_BODY_BYTES), _MAX_FIELDS)

    def parameters(self) -> dict[str, str]:
        """Return the parameters of the query. Each name may occur once. Raise Problem 400 or 422."""
        # WSGI decodes the bytes of the URL as Latin-1.
        return _fields(self.environ.get("QUERY_STRING", "").encode("latin-1"), _MAX_PARAMETERS)

    def page_parameters(self) -> dict[str, str]:
        """Return the query's parameters for a page that people read.

        Other sites add their own parameters to links. A page ignores them, so this method refuses nothing.
        The first value of a name counts, and an invalid byte becomes U+FFFD.
        """
        return dict(reversed(query_pairs(self.environ.get("QUERY_STRING", ""))))

    def _bytes(self, limit_bytes: int) -> bytes:
        length = int(self.environ.get("CONTENT_LENGTH") or 0)
        if length > limit_bytes:
            raise strict_json.too_large(limit_bytes)
        body: bytes = self.environ["wsgi.input"].read(length)
        return body


def query_pairs(query: str) -> list[tuple[str, str]]:
    """Return the names and values of a query as WSGI has it. An invalid byte becomes U+FFFD."""
    text = query.encode("latin-1").decode(errors="replace")
    return parse_qsl(text, keep_blank_values=True, errors="replace")


def _fields(raw: bytes, most: int) -> dict[str, str]:
    """Parse name=value&… in UTF-8."""
    try:
        pairs = parse_qsl(raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=most)
    except ValueError as error:
        raise malformed("the query is not UTF-8, or has too many parameters") from error
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise invalid([FieldError(name, "may occur only once") for name in twice])
    return dict(pairs)
