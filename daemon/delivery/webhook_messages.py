"""Send a webhook of the outbox: find its endpoint, and write its body."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from daemon.net.errors import PermanentFailure, printable_line
from models.outbox import Message
from models.webhook import BTCPAY, Webhook
from payments.greenfield.delivery import delivery_body
from payments.notifications import read_event_type, trial_body, webhook_body


class SendsWebhooks(Protocol):
    """The interface of `daemon.delivery.webhook.WebhookSender`."""

    def send(
        self,
        url: str,
        secrets: list[str],
        event_reference: str,
        body: bytes,
        now: datetime,
        *,
        is_public_only: bool = False,
    ) -> int | None:
        """Return the HTTP status. Raise TemporaryFailure or PermanentFailure."""

    def send_btcpay(self, url: str, secret: str, body: bytes, *, is_public_only: bool = False) -> int | None:
        """Return the HTTP status. Raise TemporaryFailure or PermanentFailure."""


def send_webhook(sender: SendsWebhooks, message: Message, now: datetime) -> int | None:
    """Send the message to its endpoint, and return the HTTP status.

    Use the endpoint's current address and secrets. Raise TemporaryFailure or PermanentFailure.
    """
    webhook, url = _open_webhook(message)
    is_public_only = webhook.needs_public_address
    if webhook.kind == BTCPAY:
        body = _btcpay_body(message)
        return sender.send_btcpay(url, webhook.btcpay_secret or "", body, is_public_only=is_public_only)
    return sender.send(
        url,
        webhook.signing_secrets,
        message.event_reference,
        _standard_body(message),
        now,
        is_public_only=is_public_only,
    )


def rendered(render: Callable[..., Any], *arguments: Any) -> Any:
    """Return the result of `render`. Raise PermanentFailure for any error, so that the queue continues."""
    try:
        return render(*arguments)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise PermanentFailure(printable_line(f"the event can't be written: {error!r}")) from error


def _open_webhook(message: Message) -> tuple[Webhook, str]:
    """Return the endpoint of a message, and its address.

    Raise PermanentFailure if the endpoint was removed or disabled, or has no address.
    """
    webhook: Webhook | None = message.webhook if message.webhook_id is not None else None
    if webhook is None or webhook.url is None or webhook.seller.removed_at is not None:
        raise PermanentFailure("the seller has no webhook address any more")
    if webhook.removed_at is not None:
        raise PermanentFailure("the endpoint was removed")
    if not webhook.is_enabled and not message.is_test:
        raise PermanentFailure("the endpoint is disabled")
    return webhook, webhook.url


def _standard_body(message: Message) -> bytes:
    event = message.event if message.event_id is not None else None
    if event is None:
        return trial_body(message.webhook.seller_id, message.created_at)
    event_type = rendered(read_event_type, event.type)
    body: bytes = rendered(webhook_body, event_type, event.created_at, event.payload)
    return body


def _btcpay_body(message: Message) -> bytes:
    body: bytes = rendered(
        partial(
            delivery_body,
            message.invoice_event,
            webhook_reference=message.webhook.reference,
            delivery=message.next_delivery_reference,
            original_delivery=str(message.reference),
        )
    )
    return body
