"""Idempotency keys: a call that is repeated with the same key and body creates nothing new."""

import hashlib
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from web.http import strict_json
from web.http.request import Request
from web.http.responses import Problem, malformed

MAX_KEY_CHARACTERS = 255


def idempotency_key(request: Request) -> str | None:
    """Return the key of a call, or None. Raise Problem 400 for a wrong key."""
    key = request.header("Idempotency-Key")
    is_good = key is None or (0 < len(key) <= MAX_KEY_CHARACTERS and key.isascii() and key.isprintable())
    if not is_good:
        raise malformed(f"Idempotency-Key has 1 to {MAX_KEY_CHARACTERS} printable ASCII characters")
    return key


def body_digest(body: Mapping[str, Any], seller_id: str) -> str:
    """Return a hash of the body. A body without `seller_id` means the same as a body with it."""
    return hashlib.sha256(strict_json.canonical({**body, "seller_id": seller_id})).hexdigest()


def key_reused(owner: str, members: Mapping[str, str]) -> Problem:
    """Return Problem 422 for a key that came with another body before. `owner` names what it created."""
    detail = f"this Idempotency-Key belongs to {owner}; repeat that body, or send a new key"
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "idempotency-key-reused", detail, members=members)
