"""An outbox worker that a test drives by its own clock, with senders that keep what they are given."""

import itertools
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from config import Settings
from daemon.counters import Counters
from daemon.delivery.email_layout import EmailContent
from daemon.delivery.outbox_worker import OutboxWorker
from models.address import Address
from models.outbox import EMAIL, WEBHOOK, Event, Message, add_email, add_webhook_message
from models.payment import PaymentRequest
from models.seller import Seller
from models.webhook import STANDARD, Webhook, endpoints_of
from tests.support.email_documents import document

NOW = datetime(2026, 12, 10, 9, 0, tzinfo=UTC)


class Clock:
    """A time of day and a monotonic clock that a test sets."""

    def __init__(self) -> None:
        self.now = NOW
        self.seconds = 1000.0

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.seconds += seconds


class FakeSender:
    """Keeps the messages that it is given, or fails as the test chooses."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.given: list[dict[str, Any]] = []
        self.failures: dict[str, Exception] = {}
        self.before_sending: Callable[[str], None] = lambda _reference: None

    def attempt(self, reference: str, **given: Any) -> None:
        """Keep one attempt."""
        self.before_sending(reference)
        self.given.append({"reference": reference, **given})
        if reference in self.failures:
            raise self.failures[reference]
        self.sent.append(reference)


class FakeMailer(FakeSender):
    """Replaces `daemon.delivery.smtp.Mailer`."""

    def send(
        self, recipient: str, email: EmailContent, message_id: str, *, is_urgent: bool, now: datetime
    ) -> None:
        reference = message_id.strip("<>").partition("@")[0]
        self.attempt(reference, recipient=recipient, email=email, message_id=message_id, is_urgent=is_urgent)


class FakeWebhooks(FakeSender):
    """Replaces `daemon.delivery.webhook.WebhookSender`."""

    def send(
        self,
        url: str,
        secrets: list[str],
        event_reference: str,
        body: bytes,
        now: datetime,
        *,
        is_public_only: bool = False,
    ) -> int:
        given = {"url": url, "secrets": secrets, "body": body, "now": now}
        self.attempt(event_reference, **given, is_public_only=is_public_only)
        return 200

    def send_btcpay(self, url: str, secret: str, body: bytes, *, is_public_only: bool = False) -> int:
        given = {"url": url, "secret": secret, "event": json.loads(body)}
        self.attempt(given["event"]["type"], **given, is_public_only=is_public_only)
        return 200


class Outbox:
    """An outbox worker that sends in the test's own thread, by the test's own clock."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = Clock()
        self.mail, self.webhooks = FakeMailer(), FakeWebhooks()
        self.counters = Counters()
        self._numbers = itertools.count(1)
        self.worker = self.new_worker(start_thread=lambda work: work())

    def new_worker(self, monotonic: Callable[[], float] | None = None, **options: Any) -> OutboxWorker:
        """Return a new worker, as after a restart."""
        clock = self.clock
        return OutboxWorker(
            self.settings,
            self.mail,
            self.webhooks,
            lambda: clock.now,
            monotonic or (lambda: clock.seconds),
            self.counters,
            **options,
        )

    def work(self, seconds: float = 0) -> None:
        """Advance the clock, and let the worker do all that is due."""
        self.clock.advance(seconds)
        quiet_turns = 0
        while quiet_turns < 2:
            before = self._activity()
            self.worker.run_once()
            quiet_turns = quiet_turns + 1 if self._activity() == before else 0

    def _activity(self) -> tuple[int, int, int]:
        attempts = sum(row.attempts for row in Message.select(Message.attempts))
        return len(self.mail.given), len(self.webhooks.given), attempts

    def seller(self, name: str = "company1", **values: Any) -> Seller:
        """Store a seller with an endpoint, whose fields the test chooses."""
        fields = {"id": name, "email": f"{name}@example.com", "created_at": NOW}
        seller: Seller = Seller.create(**fields)
        self.endpoint(seller, **values)
        return seller

    def endpoint(self, seller: Seller, **values: Any) -> Webhook:
        """Store an endpoint of the seller."""
        fields = {
            "reference": f"wh_{next(self._numbers)}",
            "seller": seller,
            "kind": STANDARD,
            "url": f"https://{seller.id}.example/hook",
            "signing_secret": "whsec_new",
            "created_at": NOW,
        }
        return Webhook.create(**{**fields, **values})

    def payment(self, seller: Seller) -> PaymentRequest:
        """Store a request of the seller."""
        number = next(self._numbers)
        address = Address.create(
            script=b"%d" % number, address=f"bcrt1q{number}", wallet="w", created_at=NOW, claimed_at=NOW
        )
        return PaymentRequest.create(
            reference=f"PR-{number}",
            seller=seller,
            amount_fiat="1.00",
            currency="EUR",
            price="50000",
            price_at=NOW,
            price_source="fixed",
            amount_sats=2000,
            due_sats=2000,
            tolerance_sats=0,
            confirmations_required=6,
            address=address,
            created_at=NOW,
            expires_at=NOW,
            monitored_until=NOW,
        )

    def event(self, payment: PaymentRequest, *channels: str, **values: Any) -> str:
        """Store an event with its messages, and return its reference."""
        number = next(self._numbers)
        fields = {
            "reference": f"evt_{number}",
            "payment": payment,
            "revision": number,
            "type": "payment.received",
            "created_at": self.clock.now,
            "payload": document(seller_id=payment.seller_id),
        }
        event = Event.create(**{**fields, **values})
        for channel in channels or (EMAIL, WEBHOOK):
            if channel == EMAIL:
                add_email(event.id, payment.id, "operator@localhost", self.clock.now)
                continue
            for webhook in endpoints_of(payment.seller_id):
                add_webhook_message(event.id, event.type, payment.id, webhook, self.clock.now)
        return str(event.reference)
