"""A call as a handler sees it: what came with it, who makes it, and when."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from config import Settings
from models.seller import Seller
from web import strict_json
from web.answer import FieldError, invalid, malformed
from web.database import Writers

Environ = Mapping[str, Any]
"""WSGI's environment (PEP 3333)."""

_MOST_PARAMETERS = 20


@dataclass(frozen=True, slots=True)
class Call:
    """One call. `now` is aware UTC and the same throughout; `caller` is None where anyone may call."""

    settings: Settings
    now: datetime
    environ: Environ
    writers: Writers
    caller: Seller | None

    @property
    def seller(self) -> Seller:
        """The seller whose key came with it."""
        if self.caller is None:
            raise LookupError("this route is open to anyone and has no seller")
        return self.caller

    def header(self, name: str) -> str | None:
        """The header's value, or None where it was not sent."""
        value: str | None = self.environ.get(f"HTTP_{name.upper().replace('-', '_')}")
        return value

    def body(self) -> dict[str, Any]:
        """The JSON object that was sent. Raises Problem 400 or 413."""
        length = int(self.environ.get("CONTENT_LENGTH") or 0)
        if length > strict_json.BODY_LIMIT_BYTES:
            raise strict_json.too_large()
        return strict_json.read_object(self.environ["wsgi.input"].read(length))

    def parameters(self) -> dict[str, str]:
        """What stands behind the `?`, each name once. Raises Problem 400 or 422."""
        # WSGI has the bytes of the URL as Latin-1.
        raw = self.environ.get("QUERY_STRING", "").encode("latin-1")
        try:
            pairs = parse_qsl(
                raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARAMETERS
            )
        except ValueError as error:
            raise malformed("the query is not UTF-8, or has too many parameters") from error
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise invalid([FieldError(name, "may be given once only") for name in twice])
        return dict(pairs)
