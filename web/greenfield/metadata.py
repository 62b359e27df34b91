"""The metadata of an invoice. Every response returns it as the shop sent it."""

import json
import math
from decimal import Decimal
from typing import Any

from web.greenfield.errors import wrong

MAX_METADATA_BYTES = 32 * 1024


def read_metadata(value: Any) -> dict[str, Any]:
    """Return metadata to store, empty for null. Raise Problem 422."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise wrong("metadata", "must be an object")
    plain: dict[str, Any] = _plain(value)
    size = len(json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode())
    if size > MAX_METADATA_BYTES:
        raise wrong("metadata", f"must have at most {MAX_METADATA_BYTES} bytes as JSON, not {size}")
    return plain


def _plain(value: Any) -> Any:
    """Convert each Decimal to float, as JSON parsers do (RFC 8259, 6). Raise Problem 422 for infinity."""
    match value:
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case Decimal():
            number = float(value)
            if math.isinf(number):
                raise wrong("metadata", "has a number that is out of range; send it as text")
            return number
    return value
