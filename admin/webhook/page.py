"""The output of `manage.py webhook`: endpoints as JSON documents, and as text."""

from typing import Any

from admin.cli import facts
from admin.terminal import readable_time, table
from config.addresses import without_credentials
from models.delivery import Delivery, deliveries_of
from models.webhook import OPERATOR, Webhook
from payments.document import timestamp


def document(webhook: Webhook) -> dict[str, Any]:
    """Return the public fields of an endpoint, without its secret."""
    newest = deliveries_of(webhook, 1)
    return {
        "webhook_id": webhook.reference,
        "seller_id": webhook.seller_id,
        "kind": webhook.kind,
        "url": without_credentials(webhook.url or ""),
        "events": webhook.event_types,
        "enabled": webhook.is_enabled,
        "automatic_redelivery": webhook.automatic_redelivery,
        "set_by": "operator" if webhook.set_by == OPERATOR else "api_key",
        "created_at": timestamp(webhook.created_at),
        "last_delivery": delivery_document(newest[0]) if newest else None,
    }


def delivery_document(delivery: Delivery) -> dict[str, Any]:
    return {
        "delivery_id": delivery.reference,
        "at": timestamp(delivery.at),
        "http_code": delivery.http_code,
        "error": delivery.error,
        "redelivery": delivery.is_redelivery,
    }


def page(found: dict[str, Any]) -> str:
    """Return the document as readable lines."""
    events = found["events"]
    return facts(
        [
            ("ID", found["webhook_id"]),
            ("Seller", found["seller_id"]),
            ("Kind", found["kind"]),
            ("Address", f"{found['url']} (set by {_author(found)})"),
            ("Events", "all" if events is None else ", ".join(events) or "none"),
            ("State", "enabled" if found["enabled"] else "disabled"),
            ("Redelivery", "automatic" if found["automatic_redelivery"] else "by hand only"),
            ("Added", readable_time(found["created_at"])),
            ("Last delivery", last_answer(found["last_delivery"])),
            *([("Secret", found["secret"])] if "secret" in found else []),
        ]
    )


def list_page(found: list[dict[str, Any]]) -> str:
    """Return the documents as a readable table."""
    rows = [
        [
            each["webhook_id"],
            each["seller_id"],
            each["kind"],
            "enabled" if each["enabled"] else "disabled",
            last_answer(each["last_delivery"]),
            each["url"],
        ]
        for each in found
    ]
    return table(["ID", "SELLER", "KIND", "STATE", "LAST ANSWER", "ADDRESS"], rows)


def last_answer(delivery: dict[str, Any] | None) -> str:
    """Return the outcome of an attempt in words."""
    if delivery is None:
        return "none"
    outcome = delivery["error"] or f"HTTP {delivery['http_code']}"
    return f"{outcome}, {readable_time(delivery['at'])}"


def _author(found: dict[str, Any]) -> str:
    return "the operator" if found["set_by"] == "operator" else "an API key"
