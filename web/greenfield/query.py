"""Reads the query of a call of BTCPay's Greenfield API. Names have any case, and may be repeated."""

from collections.abc import Mapping
from datetime import datetime
from urllib.parse import parse_qsl

from models.db.connection import from_microseconds
from web.greenfield.errors import wrong
from web.http.request import Request
from web.http.responses import malformed

_MAX_PARAMETERS = 200
_MAX_TIME = 253_402_300_000
"""The end of the year 9999, in seconds since 1970."""
_MAX_DIGITS = 15
_BOOLEANS: Mapping[str, bool] = {"true": True, "1": True, "false": False, "0": False, "": False}


class Query:
    """The parameters of a query. Each method takes a name in lower case. Unknown names have no effect."""

    def __init__(self, request: Request) -> None:
        raw = request.environ.get("QUERY_STRING", "").encode("latin-1")
        try:
            pairs = parse_qsl(
                raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS
            )
        except ValueError as error:
            raise malformed("the query is not UTF-8, or has too many parameters") from error
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            # PHP's http_build_query adds [] or [0] to the name of a list.
            self._values.setdefault(name.lower().partition("[")[0], []).append(value)

    def all(self, name: str) -> list[str]:
        """Return the values of a parameter, without empty values."""
        return [value for value in self._values.get(name.lower(), []) if value]

    def text(self, name: str) -> str | None:
        """Return the last value of a parameter, or None if it is missing or empty."""
        values = self.all(name)
        return values[-1] if values else None

    def flag(self, name: str) -> bool:
        """Return a parameter that is true or false, or False if it is missing. Raise Problem 422."""
        value = self._values.get(name.lower(), [""])[-1].lower()
        if value not in _BOOLEANS:
            raise wrong(name, "must be true or false")
        return _BOOLEANS[value]

    def number(self, name: str, default: int, most: int) -> int:
        """Return a parameter that is a whole number, reduced to at most `most`. Raise Problem 422."""
        value = self.text(name)
        if value is None:
            return default
        if not _is_whole_number(value):
            raise wrong(name, "must be a whole number of 0 or more")
        return min(int(value), most)

    def time(self, name: str) -> datetime | None:
        """Return a parameter that is a time in seconds since 1970, or None. Raise Problem 422."""
        value = self.text(name)
        if value is None:
            return None
        # A client that uses floating-point numbers sends 1796900000.0.
        whole = value.removesuffix(".0")
        if not _is_whole_number(whole) or int(whole) > _MAX_TIME:
            raise wrong(name, "must be a time in seconds since 1970")
        return from_microseconds(int(whole) * 1_000_000)


def _is_whole_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS
