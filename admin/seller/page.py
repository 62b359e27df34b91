"""The output of `manage.py seller show`, without keys and secrets."""

from datetime import datetime
from typing import Any

from admin.cli import facts
from admin.terminal import readable_time
from config.addresses import without_credentials
from models.api_key import previous_key_until, working_keys
from models.queries.sellers import requests_by_status, webhook_figures
from models.seller import Seller
from models.wallet import wallet_name
from models.webhook import OPERATOR, endpoints_of, first_standard_webhook
from payments.document import timestamp


def document(row: Seller) -> dict[str, str | None]:
    """Return the public fields of a seller.

    The webhook address is the address of the first standard endpoint, without a password.
    """
    webhook = first_standard_webhook(row.id)
    url = None if webhook is None else webhook.url
    return {
        "seller_id": row.id,
        "name": row.name,
        "email": row.email,
        "support": row.support,
        "webhook_url": None if url is None else without_credentials(url),
        "wallet": wallet_name(row.wallet_id),
        "created_at": timestamp(row.created_at),
        "removed_at": timestamp(row.removed_at),
    }


def full_document(row: Seller, now: datetime) -> dict[str, Any]:
    """Return the public fields with the state of the keys, of the webhooks, and of the requests."""
    figures, requests = webhook_figures(row.id), requests_by_status(row.id)
    webhook = first_standard_webhook(row.id)
    return {
        **document(row),
        "keys": 0 if row.removed_at else len(working_keys(row.id, now)),
        "previous_key_until": timestamp(previous_key_until(row.id, now)),
        "webhook_set_by": "operator" if webhook is None or webhook.set_by == OPERATOR else "api_key",
        "webhook_secrets": 0 if webhook is None else len(webhook.signing_secrets),
        "webhook_endpoints": len(endpoints_of(row)),
        "webhooks": {
            "delivered": figures.delivered,
            "waiting": figures.waiting,
            "failed": figures.failed,
            "last_delivered_at": timestamp(figures.last_delivered_at),
            "last_error": figures.last_error,
        },
        "requests": {"total": sum(requests.values()), **requests},
    }


def page(found: dict[str, Any]) -> str:
    """Return the full document as readable lines."""
    return facts(
        [
            ("ID", found["seller_id"]),
            ("Name", found["name"] or "none"),
            ("Email", found["email"] or "none"),
            ("Support", found["support"] or "none"),
            ("Wallet", found["wallet"] or "the default wallet"),
            ("Added", readable_time(found["created_at"])),
            *([("Removed", readable_time(found["removed_at"]))] if found["removed_at"] else []),
            ("API keys", _api_keys(found)),
            ("Webhook", _endpoint(found)),
            ("Webhook secret", _secret(found)),
            *_endpoints(found),
            ("Webhooks", _deliveries(found["webhooks"])),
            *([("Last error", error)] if (error := found["webhooks"]["last_error"]) else []),
            ("Requests", _requests(found["requests"])),
        ]
    )


def _api_keys(found: dict[str, Any]) -> str:
    if found["removed_at"]:
        return "stopped"
    count, until = found["keys"], found["previous_key_until"]
    text = "none works" if count == 0 else "1 works" if count == 1 else f"{count} work"
    return f"{text}; the previous key works until {readable_time(until)}" if until else text


def _endpoint(found: dict[str, Any]) -> str:
    if found["webhook_url"] is None:
        return "none"
    by = "the operator" if found["webhook_set_by"] == OPERATOR else "an API key"
    return f"{found['webhook_url']} (set by {by})"


def _secret(found: dict[str, Any]) -> str:
    count = found["webhook_secrets"]
    if count == 0:
        return "none"
    return "set" if count == 1 else "set; the previous secret signs, too"


def _endpoints(found: dict[str, Any]) -> list[tuple[str, object]]:
    """Return a line with the number of all endpoints, unless the lines above show all of them."""
    count, shown = found["webhook_endpoints"], 0 if found["webhook_url"] is None else 1
    if count == shown:
        return []
    return [("Endpoints", f"{count}; to list them: webhook list {found['seller_id']}")]


def _deliveries(figures: dict[str, Any]) -> str:
    text = f"{figures['delivered']} delivered, {figures['waiting']} waiting, {figures['failed']} failed"
    last = figures["last_delivered_at"]
    return f"{text}; the last was delivered at {readable_time(last)}" if last else text


def _requests(counts: dict[str, int]) -> str:
    parts = [f"{count} {status}" for status, count in counts.items() if status != "total" and count]
    return f"{counts['total']}{': ' if parts else ''}{', '.join(parts)}"
