"""Webhooks, as the Standard Webhooks specification has them (https://www.standardwebhooks.com)."""

from collections.abc import Sequence
from datetime import UTC, datetime

from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from daemon.net.errors import PermanentFailure, TemporaryFailure
from daemon.net.http_client import HttpError, exchange

DEADLINE_SECONDS = 10.0
MOST_BYTES = 64 * 1024
GONE = 410


class WebhookSender:
    """Posts events to the sellers' addresses."""

    def __init__(self, deadline_seconds: float = DEADLINE_SECONDS) -> None:
        self._deadline_seconds = deadline_seconds

    def send(
        self, url: str, secrets: Sequence[str], event_reference: str, body: bytes, now: datetime
    ) -> None:
        """Post `body`, signed with each of `secrets`; when this returns, the seller has it.

        Delivered is what is answered with 2xx, whole or to 64 KiB, within `deadline_seconds`. Raises
        TemporaryFailure, or PermanentFailure where the answer is 410 Gone.
        """
        headers = {
            "Content-Type": "application/json",
            "webhook-id": event_reference,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": _signatures(secrets, event_reference, body, now),
        }
        try:
            answer = exchange(
                "POST",
                url,
                headers=headers,
                body=body,
                deadline_seconds=self._deadline_seconds,
                most_bytes=MOST_BYTES,
            )
        except HttpError as error:
            raise TemporaryFailure(str(error)) from error
        if answer.status == GONE:
            raise PermanentFailure("HTTP 410: the address is gone")
        if not 200 <= answer.status < 300:
            raise TemporaryFailure(f"HTTP {answer.status}")


def _signatures(secrets: Sequence[str], event_reference: str, body: bytes, now: datetime) -> str:
    text, moment = body.decode("ascii"), now.astimezone(UTC)
    try:
        return " ".join(Webhook(secret).sign(event_reference, moment, text) for secret in secrets)
    except (EmptyWebhookSecretError, ValueError) as error:
        raise TemporaryFailure("the seller's webhook secret can't be read; give it a new one") from error
