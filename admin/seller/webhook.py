"""A seller's first standard endpoint, which the commands `seller add`, `set` and `rotate-key` change."""

from datetime import datetime

from admin.cli import CommandError
from config import Settings
from config.proxy import check_reachable
from config.types import InvalidValue
from models.seller import Seller
from models.webhook import OPERATOR, STANDARD, add_webhook, first_standard_webhook, new_webhook_secret


def renew_webhook_secret(row: Seller, now: datetime) -> tuple[str, dict[str, str]]:
    """Store a new webhook secret. Return a sentence on the change, and the fields to print."""
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
    """Store a new webhook secret that replaces all earlier secrets."""
    secret = new_webhook_secret()
    webhook = first_standard_webhook(row.id)
    if webhook is None:
        add_webhook(row, STANDARD, None, now, secret=secret)
    else:
        webhook.signing_secret, webhook.previous_secret = secret, None
        webhook.save()


def set_webhook_url(row: Seller, url: str | None, now: datetime) -> str | None:
    """Set the address of the seller's first standard endpoint, or remove it with None.

    Return the secret if the endpoint is new.
    """
    webhook = first_standard_webhook(row.id)
    if webhook is None:
        return None if url is None else add_webhook(row, STANDARD, url, now)[1]
    webhook.url = url
    if url is not None:
        webhook.set_by, webhook.is_enabled = OPERATOR, True
    webhook.save()
    return None


def refuse_unreachable(webhook_url: str | None, settings: Settings) -> None:
    """Raise CommandError for a webhook address that the daemon can't reach without PROXY."""
    try:
        check_reachable(webhook_url or "", settings.proxy)
    except InvalidValue as wrong:
        raise CommandError(f"the webhook address {wrong}") from None
