"""Payment requests that need a decision of the operator, one of each kind, as the daemon stores them."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from models.outbox import EMAIL, WEBHOOK
from models.queries.attention import ActionNeeded
from models.webhook import first_standard_webhook
from tests.support.checkout_scenes import DUE_SATS, change, create_in_scene
from tests.support.rows import new_event, new_message, new_webhook
from tests.support.web_server import WebServer, stored

EXTRA_SATS = 50_000


def create_action_needed(shop: WebServer, **fields: Any) -> dict[ActionNeeded, dict[str, Any]]:
    """Create a request for each kind of decision; `fields` are the fields of each POST."""
    extra = create_in_scene(shop, "confirmed", **fields)
    change(extra, received_sats=DUE_SATS + EXTRA_SATS, overpaid_sats=EXTRA_SATS)
    made = {
        ActionNeeded.REVERTED: create_in_scene(shop, "replaced", **fields),
        ActionNeeded.LATE: create_in_scene(shop, "late", **fields),
        ActionNeeded.PART: create_in_scene(shop, "expired_partly", **fields),
        ActionNeeded.EXTRA: extra,
        ActionNeeded.UNDELIVERED: create_in_scene(shop, "confirmed", **fields),
    }
    add_event(shop, made[ActionNeeded.REVERTED], "payment.received")
    add_event(shop, made[ActionNeeded.REVERTED], "payment.reverted", revision=2)
    add_event(shop, made[ActionNeeded.LATE], "payment.late")
    given_up = {"failed_at": shop.now, "attempts": 10, "last_error": "HTTP 500"}
    add_event(shop, made[ActionNeeded.UNDELIVERED], "payment.confirmed", webhook=given_up)
    return made


def add_event(
    shop: WebServer,
    document: Mapping[str, Any],
    what: str,
    revision: int = 1,
    webhook: Mapping[str, Any] | None = None,
) -> str:
    """Store an event with its delivered messages, and return its reference.

    `webhook` changes the webhook's row.
    """
    payment = stored(document)
    reference = f"evt_{payment.id:08x}{revision:024x}"
    event = new_event(
        payment,
        reference=reference,
        revision=revision,
        type=what,
        created_at=shop.now,
        payload=dict(document),
    )
    done = {"next_attempt_at": None, "attempts": 1, "delivered_at": shop.now + timedelta(seconds=1)}
    new_message(event, channel=EMAIL, **done)
    undone = {"delivered_at": None, **webhook} if webhook else {}
    endpoint = first_standard_webhook("company1") or new_webhook(url=None)
    address = {"channel": WEBHOOK, "recipient": endpoint.reference, "queue": endpoint.queue}
    new_message(event, webhook=endpoint, **address, **{**done, **undone})
    return reference
