"""Payment requests that need a decision, one of each kind, as the daemon would have stored them."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from models.outbox import EMAIL, WEBHOOK
from models.queries.attention import ActionNeeded
from tests.support.checkout_scenes import DUE_SATS, change, stage
from tests.support.rows import new_event, new_message
from tests.support.web_server import Shop, stored

EXTRA_SATS = 50_000


def stage_questions(shop: Shop, **fields: Any) -> dict[ActionNeeded, dict[str, Any]]:
    """A request for each kind of decision; `fields` are the POSTs'."""
    extra = stage(shop, "confirmed", **fields)
    change(extra, received_sats=DUE_SATS + EXTRA_SATS, overpaid_sats=EXTRA_SATS)
    made = {
        ActionNeeded.REVERTED: stage(shop, "replaced", **fields),
        ActionNeeded.LATE: stage(shop, "late", **fields),
        ActionNeeded.PART: stage(shop, "expired_partly", **fields),
        ActionNeeded.EXTRA: extra,
        ActionNeeded.UNDELIVERED: stage(shop, "confirmed", **fields),
    }
    told(shop, made[ActionNeeded.REVERTED], "payment.received")
    told(shop, made[ActionNeeded.REVERTED], "payment.reverted", revision=2)
    told(shop, made[ActionNeeded.LATE], "payment.late")
    given_up = {"failed_at": shop.now, "attempts": 10, "last_error": "HTTP 500"}
    told(shop, made[ActionNeeded.UNDELIVERED], "payment.confirmed", webhook=given_up)
    return made


def told(
    shop: Shop,
    document: Mapping[str, Any],
    what: str,
    revision: int = 1,
    webhook: Mapping[str, Any] | None = None,
) -> str:
    """An event with its messages, delivered but for what `webhook` says; its reference."""
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
    new_message(event, channel=WEBHOOK, recipient="company1", queue="webhook:company1", **{**done, **undone})
    return reference
