"""Posts webhooks in the form of Standard Webhooks (https://www.standardwebhooks.com), or in BTCPay's form."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from config import HostList, Proxy
from daemon.net.addresses import IPAddress, is_public, is_public_name, without_mapping
from daemon.net.errors import HttpError, PermanentFailure, TemporaryFailure
from daemon.net.http_client import HttpResponse, request
from payments.greenfield.delivery import SIGNATURE_HEADER, signature

DEADLINE_SECONDS = 10.0
BTCPAY_DEADLINE_SECONDS = 30.0
"""A plug-in may call the API and send emails before it responds. BTCPay Server waits for 100 s."""

BODY_SECONDS = 1.0
"""The maximum wait for the body of a response. Nodetill reads the body, but uses only the status."""

MAX_RESPONSE_BYTES = 64 * 1024
GONE = 410


class WebhookSender:
    """Posts events to the webhook addresses of the sellers.

    A webhook may go to `private_hosts`, even if a seller set its address and the host is not public.
    """

    def __init__(
        self,
        deadline_seconds: float = DEADLINE_SECONDS,
        private_hosts: HostList | None = None,
        proxy: Proxy | None = None,
        btcpay_deadline_seconds: float = BTCPAY_DEADLINE_SECONDS,
    ) -> None:
        self._deadline_seconds = deadline_seconds
        self._btcpay_deadline_seconds = btcpay_deadline_seconds
        self._private_hosts = private_hosts or HostList()
        self._proxy = proxy

    def send(
        self,
        url: str,
        secrets: Sequence[str],
        event_reference: str,
        body: bytes,
        now: datetime,
        *,
        is_public_only: bool = False,
    ) -> int:
        """Post `body`, signed with each of `secrets`. Return the 2xx status of the response.

        A 2xx status within `deadline_seconds` is a delivery, even if the rest of the response fails.
        `is_public_only` refuses hosts in private networks. Raise TemporaryFailure, or PermanentFailure for
        410 Gone.
        """
        response = self.post(url, secrets, event_reference, body, now, is_public_only=is_public_only)
        return _accepted_status(response)

    def send_btcpay(self, url: str, secret: str, body: bytes, *, is_public_only: bool = False) -> int:
        """Post `body` in BTCPay's form, signed with `secret`. Return and raise as `send` does.

        The time limit is `BTCPAY_DEADLINE_SECONDS`.
        """
        headers = {"Content-Type": "application/json", SIGNATURE_HEADER: signature(secret, body)}
        response = self._request(url, headers, body, self._btcpay_deadline_seconds, is_public_only)
        return _accepted_status(response)

    def post(
        self,
        url: str,
        secrets: Sequence[str],
        event_reference: str,
        body: bytes,
        now: datetime,
        *,
        is_public_only: bool = False,
    ) -> HttpResponse:
        """Post `body` as `send` does, and return the response with any status. Raise TemporaryFailure."""
        headers = {
            "Content-Type": "application/json",
            "webhook-id": event_reference,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": _signatures(secrets, event_reference, body, now),
        }
        return self._request(url, headers, body, self._deadline_seconds, is_public_only)

    def _request(
        self, url: str, headers: Mapping[str, str], body: bytes, deadline_seconds: float, is_public_only: bool
    ) -> HttpResponse:
        try:
            return request(
                "POST",
                url,
                headers=headers,
                body=body,
                deadline_seconds=deadline_seconds,
                max_bytes=MAX_RESPONSE_BYTES,
                proxy=self._proxy,
                body_seconds=BODY_SECONDS,
                may_connect=self._may_connect if is_public_only else None,
            )
        except HttpError as error:
            raise TemporaryFailure(str(error)) from error

    def _may_connect(self, host: str, address: IPAddress | None) -> bool:
        if address is None:
            # The proxy looks up the name. So this machine can check only the name. The proxy must check the
            # address.
            return is_public_name(host) or self._private_hosts.has_name(host)
        return is_public(address) or self._private_hosts.contains(host, without_mapping(address))


def _accepted_status(response: HttpResponse) -> int:
    if response.status == GONE:
        raise PermanentFailure("HTTP 410: the address is gone", response.status)
    if not is_accepted(response):
        raise TemporaryFailure(f"HTTP {response.status}", response.status)
    return response.status


def is_accepted(response: HttpResponse) -> bool:
    return 200 <= response.status < 300


def _signatures(secrets: Sequence[str], event_reference: str, body: bytes, now: datetime) -> str:
    text, sent_at = body.decode("ascii"), now.astimezone(UTC)
    try:
        return " ".join(Webhook(secret).sign(event_reference, sent_at, text) for secret in secrets)
    except (EmptyWebhookSecretError, ValueError) as error:
        raise TemporaryFailure("the seller's webhook secret is not valid; set a new secret") from error
