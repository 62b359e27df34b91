"""A strict JSON parser (RFC 8259). It refuses input that parsers may read differently."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from http import HTTPStatus
from typing import Any, NoReturn

from payments.money import ExponentDecimal
from web.http.responses import Problem, malformed

MAX_BODY_BYTES = 16 * 1024
MAX_NESTING = 8
MAX_NUMBER_CHARACTERS = 64

# A string without an end reaches to the end of the text, so that the search reads each character once.
_STRING_OR_BRACKET = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
_EXPONENT = re.compile("[eE]")


@dataclass(frozen=True, slots=True)
class Limits:
    """The maximum size of a body, and the maximum number of its nested levels."""

    size_bytes: int = MAX_BODY_BYTES
    nesting: int = MAX_NESTING


LIMITS = Limits()


def read_object(body: bytes, limits: Limits = LIMITS) -> dict[str, Any]:
    """Return the JSON object in a body. Numbers with a point or an exponent become Decimal.

    Raise Problem 413 for a body above the limit. Raise Problem 400 unless the body is one object in strict
    JSON. Strict JSON excludes duplicate keys, NaN, Infinity, trailing bytes and lone surrogates.
    """
    if len(body) > limits.size_bytes:
        raise too_large(limits.size_bytes)
    text = _text(body)
    _check_nesting(text, limits.nesting)
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        # The error's text differs between versions of Python.
        place = f"line {error.lineno}, column {error.colno}"
        raise malformed(f"the body is not JSON: look at {place} or just before it") from error
    if not isinstance(value, dict):
        raise malformed("the body must be a JSON object")
    # Valid UTF-8 has no lone surrogates, so only an escape can create one.
    if "\\u" in text:
        _check_characters(value)
    return value


def canonical(value: Any) -> bytes:
    """Return the same bytes for the same JSON, regardless of its spaces and the order of its keys.

    Numbers and text stay different, so 5.00 and "5.00" have different bytes.
    """
    return _canonical(value).encode()


def _canonical(value: Any) -> str:
    match value:
        case dict():
            pairs = (f"{_ENCODER.encode(key)}:{_canonical(value[key])}" for key in sorted(value))
            return "{" + ",".join(pairs) + "}"
        case list():
            return "[" + ",".join(_canonical(item) for item in value) + "]"
        case Decimal():
            return str(value)
    return _ENCODER.encode(value)


def too_large(limit_bytes: int = MAX_BODY_BYTES) -> Problem:
    """Return the problem of a body above the limit."""
    detail = f"a body has at most {limit_bytes} bytes"
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "request-entity-too-large", detail)


def _text(body: bytes) -> str:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise malformed(f"the body is not UTF-8: look at byte {error.start}") from error
    if text.startswith("\ufeff"):
        raise malformed("the body must not begin with a byte order mark")
    return text


def _check_nesting(text: str, limit: int) -> None:
    """Refuse deep nesting before the parser runs, because the parser is recursive.

    Up to the first error in the JSON, this check and the parser count the same brackets.
    """
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        if match[0] in ("[", "{"):
            depth += 1
        elif match[0] in ("]", "}"):
            depth -= 1
        if depth > limit:
            raise malformed(f"the body is nested more than {limit} levels deep")


def _decimal(text: str) -> Decimal:
    _check_length(text)
    try:
        return ExponentDecimal(text) if _EXPONENT.search(text) else Decimal(text)
    except InvalidOperation as error:
        raise malformed(f"the number {text} is out of range") from error


def _integer(text: str) -> int:
    _check_length(text)
    return int(text)


def _check_length(text: str) -> None:
    if len(text) > MAX_NUMBER_CHARACTERS:
        raise malformed(f"a number has at most {MAX_NUMBER_CHARACTERS} characters")


def _no_constant(name: str) -> NoReturn:
    raise malformed(f"{name} is not JSON")


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise malformed(f"the key {json.dumps(key)[:80]} occurs twice")
        found[key] = value
    return found


_ENCODER = json.JSONEncoder(ensure_ascii=False)
_DECODER = json.JSONDecoder(
    parse_float=_decimal, parse_int=_integer, parse_constant=_no_constant, object_pairs_hook=_unique
)


def _check_characters(value: Mapping[str, Any]) -> None:
    """Refuse lone surrogates. An escape such as \\ud800 creates one, and UTF-8 cannot encode it."""
    try:
        canonical(value)
    except UnicodeEncodeError as error:
        raise malformed("the body has a lone surrogate in a string") from error
