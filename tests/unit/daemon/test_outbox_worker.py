"""Each message is delivered once, in its payment's order, and no failing message delays others."""

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import peewee
import pytest
from structlog.testing import capture_logs

from config import Settings, load_settings
from config.command import manage_command
from daemon.chain.mempool import Mempool
from daemon.commands import CommandHandler
from daemon.delivery.outbox_worker import MAX_IN_FLIGHT, MAX_IN_FLIGHT_TO_FAILING
from daemon.delivery.queue import BATCH_SIZE, due_queues, next_attempt, next_message
from daemon.net.errors import PermanentFailure, TemporaryFailure
from models.command import pending_commands, request_redelivery
from models.db.connection import Table, database, disconnect, is_sqlite
from models.outbox import EMAIL, WEBHOOK, Event, Message, prunable_messages
from models.payment import PaymentRequest
from models.seller import Seller
from models.webhook import API_KEY, OPERATOR, Webhook
from tests.support.email_documents import document
from tests.support.outbox import NOW, Outbox
from tests.support.prepared_database import open_prepared
from tests.support.waiting import wait_until

SECONDS_OF_STEPS = [5, 30, 120, 600, 1800, 7200, 18000, 36000, 50400]


@pytest.fixture
def outbox(database_url: str, tmp_path: Path) -> Iterator[Outbox]:
    """Prepare an outbox on each kind of database."""
    open_prepared(database_url)
    yield Outbox(load_settings({}, tmp_path))
    disconnect()
    database.obj.close()


def message(reference: str, channel: str = WEBHOOK) -> Message:
    """Return the stored message."""
    return (
        Message.select()
        .join(Event)
        .where((Event.reference == reference) & (Message.channel == channel))
        .get()
    )


def test_a_sent_message_is_marked_and_not_sent_again(outbox: Outbox) -> None:
    reference = outbox.event(outbox.payment(outbox.seller()))
    outbox.work()
    outbox.work(10**6)
    assert outbox.mail.sent == outbox.webhooks.sent == [reference]
    for channel in (EMAIL, WEBHOOK):
        stored = message(reference, channel)
        assert (stored.attempts, stored.next_attempt_at, stored.failed_at) == (1, None, None)
        assert stored.delivered_at == NOW


def test_messages_are_made_from_the_event_and_the_seller(outbox: Outbox) -> None:
    """A webhook goes to the seller's present address. The email has the seller's contact."""
    reference = outbox.event(outbox.payment(outbox.seller(previous_secret="whsec_old")))
    outbox.work()
    assert outbox.mail.given[0]["message_id"] == f"<{reference}@localhost>"
    assert outbox.mail.given[0]["recipient"] == "operator@localhost"
    assert "company1@example.com" in outbox.mail.given[0]["email"].text
    assert outbox.webhooks.given[0]["url"] == "https://company1.example/hook"
    assert outbox.webhooks.given[0]["secrets"] == ["whsec_new", "whsec_old"]
    assert outbox.webhooks.given[0]["body"].startswith(b'{"type":"payment.received",')


def test_an_email_leads_to_the_payment_s_page(outbox: Outbox, tmp_path: Path) -> None:
    """The page is off without OPERATOR_PASSWORD. Then the email has the command instead."""
    late = {"type": "payment.late", "payload": document(status="expired", late=True)}
    payment = outbox.payment(outbox.seller())
    Seller.update(name="Alpaca Direct").execute()
    outbox.event(payment, EMAIL, **late)
    outbox.work()
    environ = {"OPERATOR_PASSWORD": "open sesame", "PUBLIC_URL": "https://pay.example.com"}
    outbox.settings = load_settings(environ, tmp_path)
    outbox.worker = outbox.new_worker(start_thread=lambda work: work())
    outbox.event(payment, EMAIL, **late)
    outbox.work()
    without, with_page = (given["email"].text for given in outbox.mail.given)
    page = f"https://pay.example.com/operator/payments/{payment.reference}"
    assert f"{manage_command()} payment accept PR-" in without
    assert "/operator/" not in without
    assert f"\nLook at this payment:\n{page}\n" in with_page
    assert "payment accept" not in with_page
    assert "for Alpaca Direct, Alpaca socks (PR-" in outbox.mail.given[0]["email"].subject


def test_only_a_reverted_payment_is_mailed_as_urgent(outbox: Outbox) -> None:
    payment = outbox.payment(outbox.seller())
    outbox.event(payment, EMAIL)
    outbox.event(payment, EMAIL, type="payment.reverted")
    outbox.work()
    assert [given["is_urgent"] for given in outbox.mail.given] == [False, True]


def test_a_webhook_has_the_documented_schedule() -> None:
    """After its end the message is given up."""
    delays = [next_attempt(attempts, WEBHOOK) for attempts in range(1, 11)]
    assert delays == [*(timedelta(seconds=seconds) for seconds in SECONDS_OF_STEPS), None]


def test_an_email_is_tried_for_three_days() -> None:
    """It has the same schedule, with more attempts at its end."""
    steps = list(itertools.takewhile(bool, (next_attempt(n, EMAIL) for n in itertools.count(1))))
    assert steps[:9] == [timedelta(seconds=seconds) for seconds in SECONDS_OF_STEPS]
    assert timedelta(days=2, hours=23) < sum(filter(None, steps), timedelta()) <= timedelta(days=3)


def test_a_dead_endpoint_is_tried_by_the_schedule_and_given_up(outbox: Outbox) -> None:
    """No attempt is early or missing. The log and the row have the end."""
    reference = outbox.event(outbox.payment(outbox.seller()), WEBHOOK)
    outbox.webhooks.failures[reference] = TemporaryFailure("HTTP 503")
    outbox.work()
    for tries, seconds in enumerate(SECONDS_OF_STEPS, start=1):
        assert len(outbox.webhooks.given) == tries
        outbox.work(seconds - 0.5)
        assert len(outbox.webhooks.given) == tries
        with capture_logs() as lines:
            outbox.work(0.5)
    outbox.work(10**7)
    assert len(outbox.webhooks.given) == 10
    stored = message(reference)
    assert (stored.attempts, stored.last_error, stored.next_attempt_at) == (10, "HTTP 503", None)
    assert stored.failed_at is not None
    assert [(line["event"], line["log_level"]) for line in lines] == [("message given up", "error")]


def test_a_permanent_failure_is_logged_and_blocks_no_later_message(outbox: Outbox) -> None:
    payment = outbox.payment(outbox.seller())
    first, second = outbox.event(payment, EMAIL), outbox.event(payment, EMAIL)
    outbox.mail.failures[first] = PermanentFailure("550 no such user")
    with capture_logs() as lines:
        outbox.work()
    assert outbox.mail.sent == [second]
    assert message(first, EMAIL).failed_at == NOW
    assert message(first, EMAIL).last_error == "550 no such user"
    assert [line["event"] for line in lines] == ["message given up", "message delivered"]
    assert lines[0]["payment"] == payment.reference


def test_a_payments_events_arrive_in_their_order(outbox: Outbox) -> None:
    """A later message waits while an earlier one is retried."""
    payment = outbox.payment(outbox.seller())
    references = [outbox.event(payment, WEBHOOK) for _ in range(3)]
    outbox.webhooks.failures[references[0]] = TemporaryFailure("HTTP 500")
    outbox.work()
    outbox.work(4)
    assert [given["reference"] for given in outbox.webhooks.given] == references[:1]
    outbox.webhooks.failures.clear()
    outbox.work(1)
    assert outbox.webhooks.sent == references


def test_a_failing_message_delays_no_other_payment(outbox: Outbox) -> None:
    """This holds for other payments at the same endpoint, too."""
    seller = outbox.seller()
    poison, other = outbox.event(outbox.payment(seller)), outbox.event(outbox.payment(seller))
    outbox.mail.failures[poison] = TemporaryFailure("450")
    outbox.webhooks.failures[poison] = TemporaryFailure("HTTP 500")
    outbox.work()
    assert outbox.mail.sent == outbox.webhooks.sent == [other]


def test_the_email_of_an_event_does_not_wait_for_its_webhook(outbox: Outbox) -> None:
    reference = outbox.event(outbox.payment(outbox.seller()))
    outbox.webhooks.failures[reference] = TemporaryFailure("HTTP 500")
    outbox.work()
    assert outbox.mail.sent == [reference]


def test_webhooks_are_sent_before_emails(outbox: Outbox) -> None:
    """The text of an email takes longer to write, and a shop waits for its webhook."""
    order: list[str] = []
    outbox.mail.before_sending = lambda _: order.append(EMAIL)
    outbox.webhooks.before_sending = lambda _: order.append(WEBHOOK)
    payment = outbox.payment(outbox.seller())
    for _ in range(2):
        outbox.event(payment)
        outbox.work()
    assert order == [WEBHOOK, EMAIL] * 2


@pytest.mark.parametrize(("table", "changes"), [(Webhook, {"url": None}), (Seller, {"removed_at": NOW})])
def test_a_seller_whose_webhook_was_removed_receives_nothing(
    outbox: Outbox, table: type[Table], changes: dict[str, Any]
) -> None:
    """The message's error names the reason."""
    reference = outbox.event(outbox.payment(outbox.seller()), WEBHOOK)
    table.update(**changes).execute()
    outbox.work()
    assert not outbox.webhooks.given
    assert message(reference).last_error == "the seller has no webhook address any more"


@pytest.mark.parametrize("values", [{"payload": {}}, {"payload": []}, {"type": "payment.unheard-of"}])
def test_an_event_that_cannot_be_rendered_stops_no_other_message(
    outbox: Outbox, values: dict[str, Any]
) -> None:
    seller = outbox.seller()
    poison = outbox.event(outbox.payment(seller), EMAIL, **values)
    other = outbox.event(outbox.payment(seller), EMAIL)
    outbox.work()
    assert outbox.mail.sent == [other]
    assert "can't be written" in str(message(poison, EMAIL).last_error)


def test_a_redelivery_has_the_same_id_and_body(outbox: Outbox) -> None:
    reference = outbox.event(outbox.payment(outbox.seller()), WEBHOOK)
    outbox.work()
    Message.update(next_attempt_at=outbox.clock.now, delivered_at=None, failed_at=None, attempts=0).execute()
    outbox.work(1)
    assert outbox.webhooks.sent == [reference, reference]
    assert outbox.webhooks.given[0]["body"] == outbox.webhooks.given[1]["body"]


@pytest.mark.parametrize(
    "failure",
    [None, TemporaryFailure("HTTP 500"), PermanentFailure("HTTP 410")],
    ids=["accepted", "500", "410"],
)
def test_a_redelivery_requested_during_an_attempt_is_made_at_once(
    outbox: Outbox, failure: Exception | None
) -> None:
    """The result of that attempt does not matter."""
    payment = outbox.payment(outbox.seller())
    reference = outbox.event(payment, WEBHOOK)
    if failure is not None:
        outbox.webhooks.failures[reference] = failure

    def ask_again(_reference: str) -> None:
        outbox.webhooks.before_sending = lambda _reference: outbox.webhooks.failures.clear()
        request_redelivery(message(reference), outbox.clock.now, database.atomic)
        CommandHandler(cast(Settings, None), cast(Mempool, None)).handle(
            pending_commands(), outbox.clock.now + timedelta(seconds=1)
        )

    outbox.webhooks.before_sending = ask_again
    outbox.work()
    assert [given["reference"] for given in outbox.webhooks.given] == [reference] * 2
    stored = message(reference)
    assert (stored.attempts, stored.delivered_at, stored.failed_at) == (1, outbox.clock.now, None)


def test_a_redelivery_of_a_pruned_message_is_dropped(outbox: Outbox) -> None:
    reference = outbox.event(outbox.payment(outbox.seller()), WEBHOOK)
    request_redelivery(message(reference), NOW, database.atomic)
    commands = pending_commands()
    message(reference).delete_instance()
    CommandHandler(cast(Settings, None), cast(Mempool, None)).handle(commands, NOW)
    assert pending_commands() == []


@pytest.mark.parametrize("jump", [timedelta(days=1), timedelta(days=-1)])
def test_a_jump_of_the_clock_moves_no_retry(outbox: Outbox, jump: timedelta) -> None:
    """Retries use the monotonic clock, and a new message is sent at once."""
    seller = outbox.seller()
    late = outbox.event(outbox.payment(seller), WEBHOOK)
    outbox.webhooks.failures[late] = TemporaryFailure("HTTP 500")
    outbox.work()
    outbox.clock.now += jump
    fresh = outbox.event(outbox.payment(seller), WEBHOOK)
    outbox.work(4)
    assert [given["reference"] for given in outbox.webhooks.given] == [late, fresh]
    outbox.webhooks.failures.clear()
    outbox.work(1)
    assert outbox.webhooks.sent == [fresh, late]


def test_after_a_restart_no_message_waits_longer_than_its_step(outbox: Outbox) -> None:
    """The clock may have been a year ahead when the next attempt was stored."""
    reference = outbox.event(outbox.payment(outbox.seller()), WEBHOOK)
    outbox.webhooks.failures[reference] = TemporaryFailure("HTTP 500")
    outbox.work()
    Message.update(next_attempt_at=NOW + timedelta(days=365)).execute()
    outbox.webhooks.failures.clear()
    outbox.worker = outbox.new_worker(start_thread=lambda work: work())
    outbox.work()
    assert not outbox.webhooks.sent
    outbox.work(5)
    assert outbox.webhooks.sent == [reference]


def test_after_a_restart_the_schedule_continues(outbox: Outbox) -> None:
    """It does not begin anew."""
    reference = outbox.event(outbox.payment(outbox.seller()), WEBHOOK)
    outbox.webhooks.failures[reference] = TemporaryFailure("HTTP 500")
    outbox.work()
    outbox.work(5)
    outbox.worker = outbox.new_worker(start_thread=lambda work: work())
    outbox.work(29)
    assert len(outbox.webhooks.given) == 2
    outbox.work(1)
    assert len(outbox.webhooks.given) == 3
    assert message(reference).attempts == 3


def test_a_database_outage_sends_no_message_twice(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sent message is marked as soon as possible, with the time of its delivery."""
    reference, sent_at = outbox.event(outbox.payment(outbox.seller()), WEBHOOK), outbox.clock.now

    def locked(*_: object, **__: object) -> None:
        raise peewee.OperationalError("database is locked")

    with capture_logs() as lines:
        with monkeypatch.context() as patch:
            patch.setattr("daemon.delivery.outbox_worker.mark_delivered", locked)
            for hours in range(3):
                outbox.work(3600 * hours)
        outbox.work(1)
    assert outbox.webhooks.sent == [reference]
    assert message(reference).delivered_at == sent_at
    events = ["database unavailable", "database available again", "message delivered"]
    assert sorted(line["event"] for line in lines) == sorted(events)


def test_the_next_attempt_is_timed_from_the_last_attempt(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After three hours without the database the next attempt is due at once."""
    reference = outbox.event(outbox.payment(outbox.seller()), WEBHOOK)
    outbox.webhooks.failures[reference] = TemporaryFailure("HTTP 500")

    def locked(*_: object, **__: object) -> None:
        raise peewee.OperationalError("database is locked")

    with monkeypatch.context() as patch:
        patch.setattr("daemon.delivery.outbox_worker.mark_delayed", locked)
        outbox.work()
    outbox.webhooks.failures.clear()
    outbox.work(3 * 3600)
    assert message(reference).attempts == 2
    assert outbox.webhooks.sent == [reference]


def test_more_messages_than_one_query_returns_are_sent_in_order(outbox: Outbox) -> None:
    seller = outbox.seller()
    with database.atomic():
        references = [outbox.event(outbox.payment(seller), WEBHOOK) for _ in range(BATCH_SIZE + 20)]
    for _ in range(3):
        outbox.work(1)
    assert outbox.webhooks.sent == references


def test_new_messages_go_before_retries(outbox: Outbox) -> None:
    """A hundred failing messages would delay them."""
    seller = outbox.seller()
    old = [outbox.event(outbox.payment(seller), WEBHOOK) for _ in range(3)]
    outbox.webhooks.failures = dict.fromkeys(old, TemporaryFailure("HTTP 500"))
    outbox.work()
    outbox.clock.advance(5)
    fresh = outbox.event(outbox.payment(seller), WEBHOOK)
    outbox.webhooks.given.clear()
    outbox.work()
    assert [given["reference"] for given in outbox.webhooks.given] == [fresh, *old]


def test_old_messages_of_closed_requests_are_pruned(outbox: Outbox) -> None:
    """They are pruned 30 days after delivery, at the start and then each hour."""
    payment = outbox.payment(outbox.seller())
    outbox.event(payment)
    outbox.work()
    PaymentRequest.update(closed_at=outbox.clock.now).execute()
    outbox.work(29 * 86400)
    assert Message.select().count() == 2
    outbox.work(86400 + 3600)
    assert Message.select().count() == 0


def test_a_hanging_endpoint_delays_no_other_seller(outbox: Outbox) -> None:
    """`stop` waits no longer than its limit, either."""
    released = threading.Event()
    dead, alive = outbox.seller("dead"), outbox.seller("alive")
    dead_payment = outbox.payment(dead)
    hanging = outbox.event(dead_payment, WEBHOOK)
    outbox.event(dead_payment, WEBHOOK)
    outbox.webhooks.before_sending = lambda reference: (
        None if reference != hanging else assert_true(released.wait(60))
    )
    worker = outbox.new_worker(monotonic=time.monotonic)
    worker.start()
    wait_until(lambda: worker.is_alive())
    references = [outbox.event(outbox.payment(alive)) for _ in range(5)]
    worker.wake()
    wait_until(lambda: outbox.webhooks.sent == references, what="the working endpoint's messages")
    wait_until(lambda: outbox.mail.sent == references, what="the emails")
    assert not worker.stop(0.05)
    released.set()
    assert worker.stop(10)
    assert message(hanging).delivered_at is not None


def test_many_hanging_endpoints_do_not_delay_emails(outbox: Outbox) -> None:
    """Only webhooks are limited by number."""
    released = threading.Event()
    outbox.webhooks.before_sending = lambda _reference: assert_true(released.wait(60))
    with database.atomic():
        for number in range(MAX_IN_FLIGHT + 5):
            outbox.event(outbox.payment(outbox.seller(f"dead{number}")), WEBHOOK)
        reference = outbox.event(outbox.payment(outbox.seller()), EMAIL)
    worker = outbox.new_worker(monotonic=time.monotonic)
    worker.start()
    wait_until(lambda: outbox.mail.sent == [reference], what="the email")
    assert len(outbox.webhooks.sent) == 0
    released.set()
    wait_until(lambda: len(outbox.webhooks.sent) == MAX_IN_FLIGHT + 5, what="the webhooks")
    assert worker.stop(10)


def test_hanging_endpoints_delay_no_other_webhook(outbox: Outbox) -> None:
    """There may be more of them than places for endpoints that are known to fail."""
    released = threading.Event()
    outbox.webhooks.before_sending = lambda reference: (
        None if reference == good else assert_true(released.wait(60))
    )
    with database.atomic():
        for number in range(MAX_IN_FLIGHT_TO_FAILING + 5):
            outbox.event(outbox.payment(outbox.seller(f"dead{number}")), WEBHOOK)
        good = outbox.event(outbox.payment(outbox.seller("zz-alive")), WEBHOOK)
    worker = outbox.new_worker(monotonic=time.monotonic)
    worker.start()
    wait_until(lambda: outbox.webhooks.sent == [good], what="the working endpoint's webhook")
    released.set()
    wait_until(lambda: len(outbox.webhooks.sent) == MAX_IN_FLIGHT_TO_FAILING + 6, what="the others")
    assert worker.stop(10)


def test_failed_endpoints_use_no_places_of_others(outbox: Outbox) -> None:
    begun: list[Callable[[], None]] = []
    outbox.worker = outbox.new_worker(start_thread=begun.append)
    with database.atomic():
        dead = [
            outbox.event(outbox.payment(outbox.seller(f"dead{number}")), WEBHOOK)
            for number in range(MAX_IN_FLIGHT + 10)
        ]
    outbox.webhooks.failures = dict.fromkeys(dead, TemporaryFailure("timed out"))
    for _ in range(2):
        outbox.worker.run_once()
        for work in begun:
            work()
        begun.clear()
    outbox.clock.advance(5)
    outbox.worker.run_once()
    assert len(begun) == MAX_IN_FLIGHT_TO_FAILING
    with database.atomic():
        for number in range(MAX_IN_FLIGHT + 10):
            outbox.event(outbox.payment(outbox.seller(f"alive{number}")), WEBHOOK)
    outbox.worker.run_once()
    assert len(begun) == MAX_IN_FLIGHT_TO_FAILING + MAX_IN_FLIGHT


def test_a_message_whose_thread_cannot_start_is_tried_again(outbox: Outbox) -> None:
    """The system may have no free thread for a while."""

    def refuse(_work: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread")

    reference = outbox.event(outbox.payment(outbox.seller()), WEBHOOK)
    worker = outbox.new_worker(start_thread=refuse)
    with capture_logs() as lines:
        worker.run_once()
    assert [line["event"] for line in lines] == ["message not begun"]
    assert message(reference).attempts == 0
    outbox.work()
    assert outbox.webhooks.sent == [reference]


def test_a_message_that_waits_for_an_earlier_one_is_not_queried(outbox: Outbox) -> None:
    """The backlog of a dead endpoint causes no work until its first message is done."""
    payment = outbox.payment(outbox.seller())
    first, second, third = (outbox.event(payment, WEBHOOK) for _ in range(3))
    outbox.webhooks.failures[first] = TemporaryFailure("HTTP 500")
    outbox.work()
    assert [message(each).waits_for for each in (first, second, third)] == [
        None,
        message(first).id,
        message(second).id,
    ]
    assert due_queues(outbox.clock.now) == []
    outbox.webhooks.failures[first] = PermanentFailure("HTTP 410")
    outbox.work(5)
    assert outbox.webhooks.sent == [second, third]


def test_a_waiting_backlog_does_not_delay_its_own_queue(outbox: Outbox) -> None:
    """Another payment of the seller has a message that can be sent."""
    seller = outbox.seller()
    payment = outbox.payment(seller)
    with database.atomic():
        backlog = [outbox.event(payment, WEBHOOK) for _ in range(3 * BATCH_SIZE)]
        other = outbox.event(outbox.payment(seller), WEBHOOK)
    outbox.webhooks.failures[backlog[0]] = TemporaryFailure("HTTP 500")
    for _ in range(3):
        outbox.work()
    assert outbox.webhooks.sent == [other]
    outbox.webhooks.failures.clear()
    outbox.work(5)
    assert outbox.webhooks.sent == [other, *backlog]


def test_a_redelivery_goes_before_later_messages(outbox: Outbox) -> None:
    """This holds even if a later message has begun."""
    payment = outbox.payment(outbox.seller())
    first, second = outbox.event(payment, WEBHOOK), outbox.event(payment, WEBHOOK)
    outbox.webhooks.failures[second] = TemporaryFailure("HTTP 500")
    outbox.work()
    assert outbox.webhooks.sent == [first]
    outbox.webhooks.failures[first] = TemporaryFailure("HTTP 500")
    request_redelivery(message(first), outbox.clock.now, database.atomic)
    CommandHandler(cast(Settings, None), cast(Mempool, None)).handle(pending_commands(), outbox.clock.now)
    outbox.work(1)
    outbox.webhooks.given.clear()
    outbox.webhooks.failures.clear()
    outbox.work(5)
    assert [given["reference"] for given in outbox.webhooks.given] == [first, second]


def test_after_a_restart_no_message_waits_for_a_finished_one(outbox: Outbox) -> None:
    reference = outbox.event(outbox.payment(outbox.seller()), WEBHOOK)
    Message.update(waits_for=10**6).execute()
    outbox.worker = outbox.new_worker(start_thread=lambda work: work())
    outbox.work()
    assert outbox.webhooks.sent == [reference]


def test_due_messages_are_found_by_an_index(outbox: Outbox, caplog: pytest.LogCaptureFixture) -> None:
    """The query reads no waiting message and no finished one."""
    payment = outbox.payment(outbox.seller())
    for _ in range(3):
        outbox.event(payment, WEBHOOK)
    if not is_sqlite():
        # PostgreSQL reads a small table whole, whatever indexes there are.
        database.execute_sql("SET enable_seqscan = off")
    caplog.set_level(logging.DEBUG, logger="peewee")
    queues = due_queues(outbox.clock.now)
    next_message(queues[0], outbox.clock.now)
    Message.update(attempts=1).execute()
    next_message(queues[0], outbox.clock.now)
    prunable_messages(outbox.clock.now)
    statements = [cast(Any, record.msg) for record in caplog.records if record.name == "peewee"]
    caplog.set_level(logging.INFO, logger="peewee")
    plans = [_query_plan(*query) for query in statements if "FROM message" in query[0]]
    assert len(plans) >= 5
    for plan in plans:
        assert "SCAN message" not in plan.replace("SCAN message USING", "")
        assert "Seq Scan on message" not in plan
    for index in ("message_fresh", "message_retry", "message_delivered"):
        assert any(index in plan for plan in plans), index


def _query_plan(query: str, parameters: Any) -> str:
    explain = "EXPLAIN QUERY PLAN" if is_sqlite() else "EXPLAIN"
    return "\n".join(str(row) for row in database.execute_sql(f"{explain} {query}", parameters).fetchall())


@pytest.mark.parametrize(("set_by", "is_public_only"), [(OPERATOR, False), (API_KEY, True)])
def test_a_webhook_address_set_by_an_api_key_must_be_public(
    outbox: Outbox, set_by: str, is_public_only: bool
) -> None:
    """The operator may set a private one."""
    outbox.event(outbox.payment(outbox.seller(set_by=set_by)), WEBHOOK)
    outbox.work()
    assert [given["is_public_only"] for given in outbox.webhooks.given] == [is_public_only]


def test_threads_never_send_a_message_twice(outbox: Outbox) -> None:
    """The worker is woken all the time."""
    sellers = [outbox.seller(f"shop{number}") for number in range(4)]
    worker = outbox.new_worker()
    worker.start()
    references = []
    for _ in range(10):
        references += [outbox.event(outbox.payment(seller)) for seller in sellers]
        worker.wake()
    wait_until(lambda: len(outbox.webhooks.sent) >= 40 and len(outbox.mail.sent) >= 40, what="all messages")
    assert worker.stop(10)
    assert sorted(outbox.webhooks.sent) == sorted(outbox.mail.sent) == sorted(references)


def assert_true(value: object) -> None:
    """Assert in a lambda."""
    assert value
