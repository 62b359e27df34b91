"""Every message is delivered once, in its payment's order; and none waits for another's trouble."""

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import peewee
import pytest
from structlog.testing import capture_logs

from config import Settings, load_settings
from daemon.chain.mempool import Mempool
from daemon.commands import CommandHandler
from daemon.counters import Counters
from daemon.delivery.emails import EmailContent
from daemon.delivery.outbox_worker import MAX_IN_FLIGHT, MAX_IN_FLIGHT_TO_FAILING, OutboxWorker
from daemon.delivery.queue import AT_ONCE, due_queues, next_attempt, next_message
from daemon.net.errors import PermanentFailure, TemporaryFailure
from models.address import Address
from models.command import add_redelivery, pending_commands
from models.db.connection import database, disconnect, is_sqlite
from models.db.schema import open_database
from models.outbox import EMAIL, WEBHOOK, Event, Message, prunable_messages
from models.payment import PaymentRequest
from models.seller import API_KEY, OPERATOR, Seller
from tests.support.email_documents import document
from tests.support.waiting import wait_until

NOW = datetime(2026, 12, 10, 9, 0, tzinfo=UTC)
SECONDS_OF_STEPS = [5, 30, 120, 600, 1800, 7200, 18000, 36000, 50400]


class Clock:
    """A time of day and a monotonic clock that a test sets."""

    def __init__(self) -> None:
        self.now = NOW
        self.seconds = 1000.0

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)
        self.seconds += seconds


class Post:
    """Stands for both ways of sending: notes what it is given, or fails as the test says."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.given: list[dict[str, Any]] = []
        self.failures: dict[str, Exception] = {}
        self.before_sending: Callable[[str], None] = lambda _reference: None

    def take(self, reference: str, **given: Any) -> None:
        """One attempt."""
        self.before_sending(reference)
        self.given.append({"reference": reference, **given})
        if reference in self.failures:
            raise self.failures[reference]
        self.sent.append(reference)


class Mail(Post):
    """For `daemon.delivery.smtp.Mailer`."""

    def send(
        self, recipient: str, letter: EmailContent, message_id: str, *, is_urgent: bool, now: datetime
    ) -> None:
        """Its method."""
        reference = message_id.strip("<>").partition("@")[0]
        self.take(reference, recipient=recipient, letter=letter, message_id=message_id, is_urgent=is_urgent)


class Webhooks(Post):
    """For `daemon.delivery.webhook.WebhookSender`."""

    def send(
        self,
        url: str,
        secrets: list[str],
        event_reference: str,
        body: bytes,
        now: datetime,
        *,
        is_public_only: bool = False,
    ) -> None:
        """Its method."""
        given = {"url": url, "secrets": secrets, "body": body, "now": now}
        self.take(event_reference, **given, is_public_only=is_public_only)


class Office:
    """A courier whose sending is done in the test's own thread, by the test's own clock."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = Clock()
        self.mail, self.webhooks = Mail(), Webhooks()
        self.counters = Counters()
        self._numbers = itertools.count(1)
        self.courier = self.new_courier(start_thread=lambda work: work())

    def new_courier(self, monotonic: Callable[[], float] | None = None, **options: Any) -> OutboxWorker:
        """As after a restart."""
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
        """Let time pass, and the courier do all that can be done then."""
        self.clock.pass_by(seconds)
        quiet_turns = 0
        while quiet_turns < 2:
            before = self._activity()
            self.courier.take_turn()
            quiet_turns = quiet_turns + 1 if self._activity() == before else 0

    def _activity(self) -> tuple[int, int, int]:
        attempts = sum(row.attempts for row in Message.select(Message.attempts))
        return len(self.mail.given), len(self.webhooks.given), attempts

    def seller(self, name: str = "company1", **values: Any) -> Seller:
        """A shop with a webhook."""
        fields = {
            "id": name,
            "email": f"{name}@example.com",
            "api_key_hash": name,
            "webhook_url": f"https://{name}.example/hook",
            "webhook_secret": "whsec_new",
            "created_at": NOW,
        }
        return Seller.create(**{**fields, **values})

    def payment(self, seller: Seller) -> PaymentRequest:
        """A request of it."""
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
        """Something that happened to it, with its messages; its reference."""
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
            is_email = channel == EMAIL
            Message.create(
                event=event,
                payment=payment,
                channel=channel,
                recipient="operator@localhost" if is_email else payment.seller_id,
                queue=EMAIL if is_email else f"{WEBHOOK}:{payment.seller_id}",
                created_at=self.clock.now,
                next_attempt_at=self.clock.now,
            )
        return str(event.reference)


@pytest.fixture
def office(database_url: str, tmp_path: Path) -> Iterator[Office]:
    """On each kind of database."""
    open_database(database_url)
    yield Office(load_settings({}, tmp_path))
    disconnect()
    database.obj.close()


def message(reference: str, channel: str = WEBHOOK) -> Message:
    """As it is stored."""
    return (
        Message.select()
        .join(Event)
        .where((Event.reference == reference) & (Message.channel == channel))
        .get()
    )


def test_a_message_is_marked_once_it_is_sent(office: Office) -> None:
    """And then it is not sent again."""
    reference = office.event(office.payment(office.seller()))
    office.work()
    office.work(10**6)
    assert office.mail.sent == office.webhooks.sent == [reference]
    for channel in (EMAIL, WEBHOOK):
        stored = message(reference, channel)
        assert (stored.attempts, stored.next_attempt_at, stored.failed_at) == (1, None, None)
        assert stored.delivered_at == NOW


def test_what_is_sent_is_made_from_the_event(office: Office) -> None:
    """The webhook goes to where the seller's row says now, the email tells whom to write to."""
    reference = office.event(office.payment(office.seller(previous_webhook_secret="whsec_old")))
    office.work()
    assert office.mail.given[0]["message_id"] == f"<{reference}@localhost>"
    assert office.mail.given[0]["recipient"] == "operator@localhost"
    assert "company1@example.com" in office.mail.given[0]["letter"].text
    assert office.webhooks.given[0]["url"] == "https://company1.example/hook"
    assert office.webhooks.given[0]["secrets"] == ["whsec_new", "whsec_old"]
    assert office.webhooks.given[0]["body"].startswith(b'{"type":"payment.received",')


def test_a_reverted_payment_is_mailed_as_urgent(office: Office) -> None:
    """Nothing else is."""
    payment = office.payment(office.seller())
    office.event(payment, EMAIL)
    office.event(payment, EMAIL, type="payment.reverted")
    office.work()
    assert [given["is_urgent"] for given in office.mail.given] == [False, True]


def test_the_schedule_of_a_webhook_is_the_promised_one() -> None:
    """Then it is given up."""
    delays = [next_attempt(attempts, WEBHOOK) for attempts in range(1, 11)]
    assert delays == [*(timedelta(seconds=seconds) for seconds in SECONDS_OF_STEPS), None]


def test_an_email_is_tried_for_three_days() -> None:
    """By the same schedule, and on from its end."""
    steps = list(itertools.takewhile(bool, (next_attempt(n, EMAIL) for n in itertools.count(1))))
    assert steps[:9] == [timedelta(seconds=seconds) for seconds in SECONDS_OF_STEPS]
    assert timedelta(days=2, hours=23) < sum(filter(None, steps), timedelta()) <= timedelta(days=3)


def test_a_dead_endpoint_is_tried_by_the_schedule_and_given_up(office: Office) -> None:
    """Each step neither early nor left out; the end is in the log and in the row."""
    reference = office.event(office.payment(office.seller()), WEBHOOK)
    office.webhooks.failures[reference] = TemporaryFailure("HTTP 503")
    office.work()
    for tries, seconds in enumerate(SECONDS_OF_STEPS, start=1):
        assert len(office.webhooks.given) == tries
        office.work(seconds - 0.5)
        assert len(office.webhooks.given) == tries
        with capture_logs() as lines:
            office.work(0.5)
    office.work(10**7)
    assert len(office.webhooks.given) == 10
    stored = message(reference)
    assert (stored.attempts, stored.last_error, stored.next_attempt_at) == (10, "HTTP 503", None)
    assert stored.failed_at is not None
    assert [(line["event"], line["log_level"]) for line in lines] == [("message given up", "error")]


def test_a_permanent_failure_is_told_and_out_of_the_way(office: Office) -> None:
    """Those behind it go on."""
    payment = office.payment(office.seller())
    first, second = office.event(payment, EMAIL), office.event(payment, EMAIL)
    office.mail.failures[first] = PermanentFailure("550 no such user")
    with capture_logs() as lines:
        office.work()
    assert office.mail.sent == [second]
    assert message(first, EMAIL).failed_at == NOW
    assert message(first, EMAIL).last_error == "550 no such user"
    assert [line["event"] for line in lines] == ["message given up", "message delivered"]
    assert lines[0]["payment"] == payment.reference


def test_a_payments_events_reach_an_endpoint_in_their_order(office: Office) -> None:
    """What comes later waits for what came before, also when that is being retried."""
    payment = office.payment(office.seller())
    references = [office.event(payment, WEBHOOK) for _ in range(3)]
    office.webhooks.failures[references[0]] = TemporaryFailure("HTTP 500")
    office.work()
    office.work(4)
    assert [given["reference"] for given in office.webhooks.given] == references[:1]
    office.webhooks.failures.clear()
    office.work(1)
    assert office.webhooks.sent == references


def test_a_message_that_fails_delays_no_other_payment(office: Office) -> None:
    """Not even one of the same endpoint."""
    seller = office.seller()
    poison, other = office.event(office.payment(seller)), office.event(office.payment(seller))
    office.mail.failures[poison] = TemporaryFailure("450")
    office.webhooks.failures[poison] = TemporaryFailure("HTTP 500")
    office.work()
    assert office.mail.sent == office.webhooks.sent == [other]


def test_the_email_of_an_event_does_not_wait_for_its_webhook(office: Office) -> None:
    """Nor the other way round."""
    reference = office.event(office.payment(office.seller()))
    office.webhooks.failures[reference] = TemporaryFailure("HTTP 500")
    office.work()
    assert office.mail.sent == [reference]


@pytest.mark.parametrize("changes", [{"webhook_url": None}, {"removed_at": NOW}])
def test_a_seller_without_a_webhook_any_more_is_sent_nothing(office: Office, changes: dict[str, Any]) -> None:
    """The message says why."""
    seller = office.seller()
    reference = office.event(office.payment(seller), WEBHOOK)
    Seller.update(**changes).where(Seller.id == seller.id).execute()
    office.work()
    assert not office.webhooks.given
    assert message(reference).last_error == "the seller has no webhook address any more"


@pytest.mark.parametrize("values", [{"payload": {}}, {"payload": []}, {"type": "payment.unheard-of"}])
def test_an_event_that_cannot_be_written_stops_nobody(office: Office, values: dict[str, Any]) -> None:
    """It is given up alone."""
    seller = office.seller()
    poison = office.event(office.payment(seller), EMAIL, **values)
    other = office.event(office.payment(seller), EMAIL)
    office.work()
    assert office.mail.sent == [other]
    assert "can't be written" in str(message(poison, EMAIL).last_error)


def test_a_redelivery_is_sent_again_with_the_same_id(office: Office) -> None:
    """Also of what had been given up; the daemon only sets the row back."""
    reference = office.event(office.payment(office.seller()), WEBHOOK)
    office.work()
    Message.update(next_attempt_at=office.clock.now, delivered_at=None, failed_at=None, attempts=0).execute()
    office.work(1)
    assert office.webhooks.sent == [reference, reference]
    assert office.webhooks.given[0]["body"] == office.webhooks.given[1]["body"]


@pytest.mark.parametrize(
    "failure", [None, TemporaryFailure("HTTP 500"), PermanentFailure("HTTP 410")], ids=["taken", "500", "410"]
)
def test_a_redelivery_asked_for_while_an_attempt_is_under_way_is_made(
    office: Office, failure: Exception | None
) -> None:
    """Whatever comes of that attempt; and at once, not when its schedule would have come to it."""
    payment = office.payment(office.seller())
    reference = office.event(payment, WEBHOOK)
    if failure is not None:
        office.webhooks.failures[reference] = failure

    def ask_again(_reference: str) -> None:
        office.webhooks.before_sending = lambda _reference: office.webhooks.failures.clear()
        add_redelivery(message(reference), office.clock.now)
        CommandHandler(cast(Mempool, None)).handle(
            pending_commands(), office.clock.now + timedelta(seconds=1)
        )

    office.webhooks.before_sending = ask_again
    office.work()
    assert [given["reference"] for given in office.webhooks.given] == [reference] * 2
    stored = message(reference)
    assert (stored.attempts, stored.delivered_at, stored.failed_at) == (1, office.clock.now, None)


def test_a_wish_whose_message_is_pruned_meanwhile_is_over(office: Office) -> None:
    """The daemon goes on."""
    reference = office.event(office.payment(office.seller()), WEBHOOK)
    add_redelivery(message(reference), NOW)
    hints = pending_commands()
    message(reference).delete_instance()
    CommandHandler(cast(Mempool, None)).handle(hints, NOW)
    assert pending_commands() == []


@pytest.mark.parametrize("jump", [timedelta(days=1), timedelta(days=-1)])
def test_a_clock_that_jumps_moves_no_retry(office: Office, jump: timedelta) -> None:
    """Retries go by a clock that can't; and a new message goes out at once whatever the time is."""
    seller = office.seller()
    late = office.event(office.payment(seller), WEBHOOK)
    office.webhooks.failures[late] = TemporaryFailure("HTTP 500")
    office.work()
    office.clock.now += jump
    fresh = office.event(office.payment(seller), WEBHOOK)
    office.work(4)
    assert [given["reference"] for given in office.webhooks.given] == [late, fresh]
    office.webhooks.failures.clear()
    office.work(1)
    assert office.webhooks.sent == [fresh, late]


def test_after_a_restart_nothing_waits_longer_than_its_step(office: Office) -> None:
    """The clock may have been a year ahead when the last process wrote down when to try again."""
    reference = office.event(office.payment(office.seller()), WEBHOOK)
    office.webhooks.failures[reference] = TemporaryFailure("HTTP 500")
    office.work()
    Message.update(next_attempt_at=NOW + timedelta(days=365)).execute()
    office.webhooks.failures.clear()
    office.courier = office.new_courier(start_thread=lambda work: work())
    office.work()
    assert not office.webhooks.sent
    office.work(5)
    assert office.webhooks.sent == [reference]


def test_after_a_restart_the_schedule_goes_on(office: Office) -> None:
    """It does not begin anew, and what is due goes at once."""
    reference = office.event(office.payment(office.seller()), WEBHOOK)
    office.webhooks.failures[reference] = TemporaryFailure("HTTP 500")
    office.work()
    office.work(5)
    office.courier = office.new_courier(start_thread=lambda work: work())
    office.work(29)
    assert len(office.webhooks.given) == 2
    office.work(1)
    assert len(office.webhooks.given) == 3
    assert message(reference).attempts == 3


def test_trouble_with_the_database_sends_nothing_twice(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message is marked as soon as that is possible, with the time when it was sent."""
    reference, sent_at = office.event(office.payment(office.seller()), WEBHOOK), office.clock.now

    def locked(*_: object, **__: object) -> None:
        raise peewee.OperationalError("database is locked")

    with capture_logs() as lines:
        with monkeypatch.context() as patch:
            patch.setattr("daemon.delivery.outbox_worker.mark_delivered", locked)
            for hours in range(3):
                office.work(3600 * hours)
        office.work(1)
    assert office.webhooks.sent == [reference]
    assert message(reference).delivered_at == sent_at
    events = ["database unavailable", "database available again", "message delivered"]
    assert sorted(line["event"] for line in lines) == sorted(events)


def test_the_next_attempt_counts_from_the_last_one(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database could not be written for three hours, so the next attempt is due at once."""
    reference = office.event(office.payment(office.seller()), WEBHOOK)
    office.webhooks.failures[reference] = TemporaryFailure("HTTP 500")

    def locked(*_: object, **__: object) -> None:
        raise peewee.OperationalError("database is locked")

    with monkeypatch.context() as patch:
        patch.setattr("daemon.delivery.outbox_worker.mark_delayed", locked)
        office.work()
    office.webhooks.failures.clear()
    office.work(3 * 3600)
    assert message(reference).attempts == 2
    assert office.webhooks.sent == [reference]


def test_more_than_can_be_looked_up_at_once_are_all_sent(office: Office) -> None:
    """In the order in which they came."""
    seller = office.seller()
    with database.atomic():
        references = [office.event(office.payment(seller), WEBHOOK) for _ in range(AT_ONCE + 20)]
    for _ in range(3):
        office.work(1)
    assert office.webhooks.sent == references


def test_fresh_messages_go_before_those_that_have_failed(office: Office) -> None:
    """A hundred old ones that fail again would keep them waiting."""
    seller = office.seller()
    old = [office.event(office.payment(seller), WEBHOOK) for _ in range(3)]
    office.webhooks.failures = dict.fromkeys(old, TemporaryFailure("HTTP 500"))
    office.work()
    office.clock.pass_by(5)
    fresh = office.event(office.payment(seller), WEBHOOK)
    office.webhooks.given.clear()
    office.work()
    assert [given["reference"] for given in office.webhooks.given] == [fresh, *old]


def test_old_messages_of_closed_requests_are_pruned(office: Office) -> None:
    """30 days after delivery; at the start, and then each hour."""
    payment = office.payment(office.seller())
    office.event(payment)
    office.work()
    PaymentRequest.update(closed_at=office.clock.now).execute()
    office.work(29 * 86400)
    assert Message.select().count() == 2
    office.work(86400 + 3600)
    assert Message.select().count() == 0


def test_an_endpoint_that_hangs_delays_nobody_else(office: Office) -> None:
    """Nor does stopping wait for it longer than it was told to."""
    released = threading.Event()
    dead, alive = office.seller("dead"), office.seller("alive")
    dead_payment = office.payment(dead)
    hanging = office.event(dead_payment, WEBHOOK)
    office.event(dead_payment, WEBHOOK)
    office.webhooks.before_sending = lambda reference: (
        None if reference != hanging else assert_true(released.wait(60))
    )
    courier = office.new_courier(monotonic=time.monotonic)
    courier.start()
    wait_until(lambda: courier.is_alive())
    references = [office.event(office.payment(alive)) for _ in range(5)]
    courier.wake()
    wait_until(lambda: office.webhooks.sent == references, what="the living endpoint's messages")
    wait_until(lambda: office.mail.sent == references, what="the emails")
    assert not courier.stop(0.05)
    released.set()
    assert courier.stop(10)
    assert message(hanging).delivered_at is not None


def test_many_endpoints_that_hang_do_not_delay_the_email(office: Office) -> None:
    """Webhooks on their way have a bound, the email has none."""
    released = threading.Event()
    office.webhooks.before_sending = lambda _reference: assert_true(released.wait(60))
    with database.atomic():
        for number in range(MAX_IN_FLIGHT + 5):
            office.event(office.payment(office.seller(f"dead{number}")), WEBHOOK)
        reference = office.event(office.payment(office.seller()), EMAIL)
    courier = office.new_courier(monotonic=time.monotonic)
    courier.start()
    wait_until(lambda: office.mail.sent == [reference], what="the email")
    assert len(office.webhooks.sent) == 0
    released.set()
    wait_until(lambda: len(office.webhooks.sent) == MAX_IN_FLIGHT + 5, what="the webhooks")
    assert courier.stop(10)


def test_hanging_endpoints_delay_no_other_webhook(office: Office) -> None:
    """Not even more of them than may be on their way once they are known to fail."""
    released = threading.Event()
    office.webhooks.before_sending = lambda reference: (
        None if reference == good else assert_true(released.wait(60))
    )
    with database.atomic():
        for number in range(MAX_IN_FLIGHT_TO_FAILING + 5):
            office.event(office.payment(office.seller(f"dead{number}")), WEBHOOK)
        good = office.event(office.payment(office.seller("zz-alive")), WEBHOOK)
    courier = office.new_courier(monotonic=time.monotonic)
    courier.start()
    wait_until(lambda: office.webhooks.sent == [good], what="the living endpoint's webhook")
    released.set()
    wait_until(lambda: len(office.webhooks.sent) == MAX_IN_FLIGHT_TO_FAILING + 6, what="the others")
    assert courier.stop(10)


def test_endpoints_that_have_failed_take_no_places_of_others(office: Office) -> None:
    """However many of them there are, and however long each takes."""
    begun: list[Callable[[], None]] = []
    office.courier = office.new_courier(start_thread=begun.append)
    with database.atomic():
        dead = [
            office.event(office.payment(office.seller(f"dead{number}")), WEBHOOK)
            for number in range(MAX_IN_FLIGHT + 10)
        ]
    office.webhooks.failures = dict.fromkeys(dead, TemporaryFailure("timed out"))
    for _ in range(2):
        office.courier.take_turn()
        for work in begun:
            work()
        begun.clear()
    office.clock.pass_by(5)
    office.courier.take_turn()
    assert len(begun) == MAX_IN_FLIGHT_TO_FAILING
    with database.atomic():
        for number in range(MAX_IN_FLIGHT + 10):
            office.event(office.payment(office.seller(f"alive{number}")), WEBHOOK)
    office.courier.take_turn()
    assert len(begun) == MAX_IN_FLIGHT_TO_FAILING + MAX_IN_FLIGHT


def test_a_thread_that_cannot_be_started_is_tried_again(office: Office) -> None:
    """The system may have no more of them for a while."""

    def refuse(_work: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread")

    reference = office.event(office.payment(office.seller()), WEBHOOK)
    courier = office.new_courier(start_thread=refuse)
    with capture_logs() as lines:
        courier.take_turn()
    assert [line["event"] for line in lines] == ["message not begun"]
    assert message(reference).attempts == 0
    office.work()
    assert office.webhooks.sent == [reference]


def test_what_waits_for_an_earlier_message_is_not_looked_at_again(office: Office) -> None:
    """A dead endpoint's backlog costs nothing, until the message in front is done."""
    payment = office.payment(office.seller())
    first, second, third = (office.event(payment, WEBHOOK) for _ in range(3))
    office.webhooks.failures[first] = TemporaryFailure("HTTP 500")
    office.work()
    assert [message(each).waits_for for each in (first, second, third)] == [
        None,
        message(first).id,
        message(second).id,
    ]
    assert due_queues(office.clock.now) == []
    office.webhooks.failures[first] = PermanentFailure("HTTP 410")
    office.work(5)
    assert office.webhooks.sent == [second, third]


def test_a_backlog_that_waits_does_not_hold_up_its_own_queue(office: Office) -> None:
    """Behind hundreds that wait there is one that can go."""
    seller = office.seller()
    payment = office.payment(seller)
    with database.atomic():
        backlog = [office.event(payment, WEBHOOK) for _ in range(3 * AT_ONCE)]
        other = office.event(office.payment(seller), WEBHOOK)
    office.webhooks.failures[backlog[0]] = TemporaryFailure("HTTP 500")
    for _ in range(3):
        office.work()
    assert office.webhooks.sent == [other]
    office.webhooks.failures.clear()
    office.work(5)
    assert office.webhooks.sent == [other, *backlog]


def test_a_redelivery_goes_before_what_came_later(office: Office) -> None:
    """Also where the later one has already begun."""
    payment = office.payment(office.seller())
    first, second = office.event(payment, WEBHOOK), office.event(payment, WEBHOOK)
    office.webhooks.failures[second] = TemporaryFailure("HTTP 500")
    office.work()
    assert office.webhooks.sent == [first]
    office.webhooks.failures[first] = TemporaryFailure("HTTP 500")
    add_redelivery(message(first), office.clock.now)
    CommandHandler(cast(Mempool, None)).handle(pending_commands(), office.clock.now)
    office.work(1)
    office.webhooks.given.clear()
    office.webhooks.failures.clear()
    office.work(5)
    assert [given["reference"] for given in office.webhooks.given] == [first, second]


def test_after_a_restart_nothing_waits_for_what_is_done(office: Office) -> None:
    """However it came to be so."""
    reference = office.event(office.payment(office.seller()), WEBHOOK)
    Message.update(waits_for=10**6).execute()
    office.courier = office.new_courier(start_thread=lambda work: work())
    office.work()
    assert office.webhooks.sent == [reference]


def test_due_messages_are_found_by_an_index(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    """No message that waits, and none that is done, is read for it."""
    payment = office.payment(office.seller())
    for _ in range(3):
        office.event(payment, WEBHOOK)
    if not is_sqlite():
        # PostgreSQL reads a small table whole, whatever indexes there are.
        database.execute_sql("SET enable_seqscan = off")
    caplog.set_level(logging.DEBUG, logger="peewee")
    queues = due_queues(office.clock.now)
    next_message(queues[0], office.clock.now)
    Message.update(attempts=1).execute()
    next_message(queues[0], office.clock.now)
    prunable_messages(office.clock.now)
    asked = [cast(Any, record.msg) for record in caplog.records if record.name == "peewee"]
    caplog.set_level(logging.INFO, logger="peewee")
    plans = [_plan(*query) for query in asked if "FROM message" in query[0]]
    assert len(plans) >= 5
    for plan in plans:
        assert "SCAN message" not in plan.replace("SCAN message USING", "")
        assert "Seq Scan on message" not in plan
    for index in ("message_fresh", "message_retry", "message_delivered"):
        assert any(index in plan for plan in plans), index


def _plan(query: str, parameters: Any) -> str:
    explain = "EXPLAIN QUERY PLAN" if is_sqlite() else "EXPLAIN"
    return "\n".join(str(row) for row in database.execute_sql(f"{explain} {query}", parameters).fetchall())


@pytest.mark.parametrize(("set_by", "is_public_only"), [(OPERATOR, False), (API_KEY, True)])
def test_an_address_that_a_key_has_set_is_called_if_it_is_public(
    office: Office, set_by: str, is_public_only: bool
) -> None:
    """What the operator sets himself may be private."""
    office.event(office.payment(office.seller(webhook_set_by=set_by)), WEBHOOK)
    office.work()
    assert [given["is_public_only"] for given in office.webhooks.given] == [is_public_only]


def test_two_threads_never_send_one_message(office: Office) -> None:
    """With a courier that is woken all the time, each is sent once."""
    sellers = [office.seller(f"shop{number}") for number in range(4)]
    courier = office.new_courier()
    courier.start()
    references = []
    for _ in range(10):
        references += [office.event(office.payment(seller)) for seller in sellers]
        courier.wake()
    wait_until(lambda: len(office.webhooks.sent) >= 40 and len(office.mail.sent) >= 40, what="all messages")
    assert courier.stop(10)
    assert sorted(office.webhooks.sent) == sorted(office.mail.sent) == sorted(references)


def assert_true(value: object) -> None:
    """Inside a lambda."""
    assert value
