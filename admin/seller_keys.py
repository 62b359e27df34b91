"""API keys and webhook secrets of sellers."""

import hashlib
import secrets
from datetime import datetime, timedelta

from models.seller import Seller
from models.webhook import OPERATOR, STANDARD, add_webhook, first_standard_webhook, new_webhook_secret
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


def renew_webhook_secret(row: Seller, now: datetime) -> tuple[str, dict[str, str]]:
    """Give the seller a new webhook secret, and store it. Return the change in words, and fields to print."""
    secret = new_webhook_secret()
    webhook = first_standard_webhook(row.id)
    if webhook is None:
        add_webhook(row, STANDARD, None, now, secret=secret)
    else:
        webhook.previous_secret, webhook.signing_secret = webhook.signing_secret, secret
        webhook.save()
    return "has a new secret", {"webhook_secret": secret}


def webhook_secret(row: Seller) -> str:
    """Return the secret of the seller's first standard endpoint."""
    webhook = first_standard_webhook(row.id)
    assert webhook is not None
    return webhook.signing_secret or ""


def restart_webhook_secret(row: Seller, now: datetime) -> None:
    """Give the seller a webhook secret that replaces all of before, and store it."""
    secret = new_webhook_secret()
    webhook = first_standard_webhook(row.id)
    if webhook is None:
        add_webhook(row, STANDARD, None, now, secret=secret)
    else:
        webhook.signing_secret, webhook.previous_secret = secret, None
        webhook.save()


def set_webhook_url(row: Seller, url: str | None, now: datetime) -> str | None:
    """Set the address of the seller's first standard endpoint, or remove it with None.

    Return the secret of the endpoint if the endpoint is new.
    """
    webhook = first_standard_webhook(row.id)
    if webhook is None:
        return None if url is None else add_webhook(row, STANDARD, url, now)[1]
    webhook.url = url
    if url is not None:
        webhook.set_by, webhook.is_enabled = OPERATOR, True
    webhook.save()
    return None
