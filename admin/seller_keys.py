"""API keys of sellers."""

import hashlib
import secrets
from datetime import datetime, timedelta

from models.seller import Seller
from payments.document import timestamp


def new_api_key() -> str:
    """Return a key of 256 random bits."""
    return f"nt_{secrets.token_urlsafe(32)}"


def key_hash(api_key: str) -> str:
    """Return the hash to store. Nobody guesses 256 random bits, so there is no salt and no stretching."""
    return hashlib.sha256(api_key.encode()).hexdigest()


def renew_api_key(row: Seller, keep_old_for: timedelta, now: datetime) -> tuple[str, dict[str, str]]:
    """Give the row a new API key. Return the change in words, and the fields to print.

    The key so far works on for `keep_old_for`. A key before it stops at once.
    """
    old_hash, new = row.api_key_hash, new_api_key()
    row.api_key_hash = key_hash(new)
    if not keep_old_for:
        row.previous_api_key_hash = row.previous_api_key_until = None
        return "has a new key, and the old key has stopped", {"api_key": new}
    row.previous_api_key_hash, row.previous_api_key_until = old_hash, now + keep_old_for
    until = timestamp(now + keep_old_for)
    change = f"has a new key, and the old key works until {until}"
    return change, {"api_key": new, "previous_key_until": until}
