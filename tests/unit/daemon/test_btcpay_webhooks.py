"""Webhooks in BTCPay's form: their ids, the end of their retries, and events that pass a stuck event."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from config import Settings, load_settings
from daemon.chain.mempool import Mempool
from daemon.commands import CommandHandler
from daemon.net.errors import PermanentFailure, TemporaryFailure
from models.command import pending_commands, request_redelivery, request_webhook_test
from models.db.connection import database, disconnect
from models.delivery import Delivery, deliveries_of, delivery_by_reference
from models.outbox import Message, add_invoice_message, prunable_messages
from models.payment import PaymentRequest
from models.seller import Seller
from models.webhook import BTCPAY, STANDARD, Webhook, remove_webhook, update_webhook, webhooks_for
from tests.support.outbox import NOW, Outbox
from tests.support.prepared_database import open_prepared

RECEIVED, PROCESSING, SETTLED = "InvoiceReceivedPayment", "InvoiceProcessing", "InvoiceSettled"
STEPS = (5, 30, 120, 600)


class Shop:
    """A seller with a btcpay endpoint, and the outbox that sends to it."""

    def __init__(self, outbox: Outbox, **values: Any) -> None:
        self.outbox = outbox
        self.seller = outbox.seller(signing_secret=None, kind=BTCPAY, btcpay_secret="s3cret", **values)
        self.webhook: Webhook = Webhook.get()

    def invoice(self) -> PaymentRequest:
        return self.outbox.payment(self.seller)

    def store_events(self, payment: PaymentRequest, *types: str) -> list[Message]:
        """Store the messages of these events of an invoice."""
        before = {message.id for message in Message.select()}
        for each in types:
            event = {"type": each, "invoiceId": payment.reference}
            add_invoice_message(payment.id, self.webhook, event, self.outbox.clock.now)
        rows = Message.select().order_by(Message.id)
        return [message for message in rows if message.id not in before]

    def fail(self, *types: str, status: int | None = 500) -> None:
        """Let the endpoint refuse events of these types, for all invoices."""
        text = "timed out" if status is None else f"HTTP {status}"
        self.outbox.webhooks.failures = dict.fromkeys(types, TemporaryFailure(text, status))

    def attempts(self) -> list[tuple[str, str]]:
        """Return the event types of all attempts, with their invoices."""
        events = [given["event"] for given in self.outbox.webhooks.given]
        return [(event["invoiceId"], event["type"]) for event in events]

    def sent(self) -> list[str]:
        """Return the types of the accepted events."""
        return self.outbox.webhooks.sent

    def accepted(self) -> list[tuple[str, str]]:
        """Return the accepted events, with their invoices."""
        order = Delivery.select().where(Delivery.error.is_null()).order_by(Delivery.id)
        return [(each.message.payment.reference, each.message.event_type) for each in order]


@pytest.fixture
def shop(database_url: str, tmp_path: Path) -> Iterator[Shop]:
    open_prepared(database_url)
    yield Shop(Outbox(load_settings({}, tmp_path)))
    disconnect()
    database.obj.close()


def run_commands(shop: Shop) -> None:
    """Run the pending commands as the daemon's loop does."""
    now = shop.outbox.clock.now
    CommandHandler(cast(Settings, None), cast(Mempool, None)).handle(pending_commands(), now)


def row(message: Message) -> Message:
    """Read the message again from the database."""
    return Message.get_by_id(message.id)


# Ids and bodies


def test_each_attempt_has_its_own_id_and_the_id_of_the_first_attempt(shop: Shop) -> None:
    """The rest of the body does not change. The database has each attempt with its status."""
    [message] = shop.store_events(shop.invoice(), SETTLED)
    shop.fail(SETTLED, status=503)
    shop.outbox.work()
    shop.outbox.webhooks.failures.clear()
    shop.outbox.work(5)
    first, second = (given["event"] for given in shop.outbox.webhooks.given)
    assert (first["deliveryId"], first["isRedelivery"]) == (first["originalDeliveryId"], False)
    assert second["deliveryId"] != first["deliveryId"] == second["originalDeliveryId"]
    assert second["isRedelivery"] is True
    assert first["webhookId"] == shop.webhook.reference
    assert first["type"] == second["type"] == SETTLED
    found = [(each.reference, each.http_code, each.error) for each in deliveries_of(shop.webhook)]
    assert found == [(second["deliveryId"], 200, None), (first["deliveryId"], 503, "HTTP 503")]
    stored = delivery_by_reference(shop.webhook, second["deliveryId"])
    assert stored is not None
    assert (stored.is_redelivery, stored.message.id) == (True, message.id)


def test_an_attempt_that_was_not_stored_is_repeated_with_the_same_id(shop: Shop) -> None:
    """The daemon was killed after it sent the webhook, and before it stored the attempt."""
    shop.store_events(shop.invoice(), SETTLED)
    shop.fail(SETTLED)
    shop.outbox.work()
    shop.outbox.clock.advance(5)
    begun = shop.outbox.new_worker(start_thread=lambda work: work())
    begun.run_once()
    shop.outbox.work()
    references = [given["event"]["deliveryId"] for given in shop.outbox.webhooks.given]
    assert len(references) == 3
    assert references[1] == references[2] != references[0]
    assert len(deliveries_of(shop.webhook)) == 2


def test_an_endpoint_gets_the_events_that_it_wants(shop: Shop) -> None:
    """An unknown name of an event never matches."""
    update_webhook(shop.webhook, event_types=[SETTLED, "PayoutCreated"])
    shop.webhook = webhooks_for([shop.seller.id], BTCPAY)[shop.seller.id][0]
    assert [message.event_type for message in shop.store_events(shop.invoice(), RECEIVED, SETTLED)] == [
        SETTLED
    ]


def test_only_enabled_endpoints_with_an_address_get_new_messages(shop: Shop) -> None:
    """A removed endpoint, and the endpoint of a removed seller, gets no new message."""

    def found() -> list[str]:
        return [each.reference for each in webhooks_for([shop.seller.id, "nobody"], BTCPAY)[shop.seller.id]]

    assert found() == [shop.webhook.reference]
    assert not webhooks_for([shop.seller.id], STANDARD)
    assert not webhooks_for([], BTCPAY)
    for change in ({"is_enabled": False}, {"url": None}):
        Webhook.update(change).execute()
        assert found() == []
        Webhook.update(is_enabled=True, url="https://shop.example").execute()
    Seller.update(removed_at=NOW).execute()
    assert found() == []
    Seller.update(removed_at=None).execute()
    remove_webhook(shop.webhook, NOW)
    assert found() == []


# The end of retries


@pytest.mark.parametrize(
    ("status", "tries"), [(404, 3), (400, 3), (429, 10), (408, 10), (302, 10), (503, 10)]
)
def test_a_message_is_given_up_after_three_refusals(shop: Shop, status: int, tries: int) -> None:
    """After 408, 425, 429 or a redirect, the attempts continue to the end of the schedule."""
    [message] = shop.store_events(shop.invoice(), SETTLED)
    shop.fail(SETTLED, status=status)
    for _ in range(12):
        shop.outbox.work(14 * 3600)
    assert len(shop.attempts()) == tries
    assert row(message).failed_at is not None


def test_an_endpoint_without_redelivery_gets_one_attempt(shop: Shop) -> None:
    """A redelivery by hand is also only one attempt."""
    update_webhook(shop.webhook, automatic_redelivery=False)
    first, second = shop.store_events(shop.invoice(), PROCESSING, SETTLED)
    shop.fail(PROCESSING)
    shop.outbox.work()
    assert row(first).failed_at is not None
    assert shop.sent() == [SETTLED]
    request_redelivery(first, shop.outbox.clock.now, database.atomic)
    run_commands(shop)
    shop.outbox.work(1)
    assert [event for _, event in shop.attempts()] == [PROCESSING, SETTLED, PROCESSING]
    assert row(first).failed_at is not None
    assert row(second).delivered_at is not None


@pytest.mark.parametrize("how", ["removed", "disabled"])
def test_pending_messages_of_a_removed_endpoint_are_given_up(shop: Shop, how: str) -> None:
    """They are listed as failed. After the endpoint is enabled again, the operator can retry them."""
    [message] = shop.store_events(shop.invoice(), SETTLED)
    if how == "removed":
        remove_webhook(shop.webhook, NOW)
    else:
        update_webhook(shop.webhook, is_enabled=False)
    shop.outbox.work()
    assert not shop.attempts()
    assert row(message).last_error == f"the endpoint {'was removed' if how == 'removed' else 'is disabled'}"
    assert row(message).acknowledged_at is None
    Webhook.update(is_enabled=True, removed_at=None).execute()
    request_redelivery(message, shop.outbox.clock.now, database.atomic)
    run_commands(shop)
    shop.outbox.work(1)
    assert shop.sent() == [SETTLED]


# The order of an invoice's events


def let_fail_four_times(shop: Shop) -> None:
    shop.outbox.work()
    for seconds in STEPS[:3]:
        shop.outbox.work(seconds)


def test_after_four_server_errors_a_later_event_passes_and_supersedes(shop: Shop) -> None:
    """The older event would set the shop's order back. It is dropped, and needs no decision."""
    stuck, settled = shop.store_events(shop.invoice(), PROCESSING, SETTLED)
    shop.fail(PROCESSING)
    shop.outbox.work()
    for seconds in STEPS[:2]:
        shop.outbox.work(seconds)
    assert shop.sent() == []
    with capture_logs() as lines:
        shop.outbox.work(STEPS[2])
    assert shop.sent() == [SETTLED]
    stored = row(stuck)
    assert (stored.superseded_by, stored.next_attempt_at) == (settled.id, None)
    assert (stored.delivered_at, stored.failed_at) == (None, None)
    assert "message superseded" in [line["event"] for line in lines]
    shop.outbox.webhooks.failures.clear()
    shop.outbox.work(10**6)
    assert shop.sent() == [SETTLED]


def test_an_event_is_dropped_only_after_a_later_one_is_accepted(shop: Shop) -> None:
    """If the shop works again before that, both events arrive in their order."""
    stuck, settled = shop.store_events(shop.invoice(), PROCESSING, SETTLED)
    shop.fail(PROCESSING, SETTLED)
    let_fail_four_times(shop)
    assert [event for _, event in shop.attempts()] == [PROCESSING] * 4 + [SETTLED]
    shop.fail(SETTLED)
    shop.outbox.work(STEPS[3])
    shop.outbox.webhooks.failures.clear()
    shop.outbox.work(10**4)
    assert shop.sent() == [PROCESSING, SETTLED]
    assert row(stuck).superseded_by is row(settled).superseded_by is None


@pytest.mark.parametrize("status", [None, 429, 302])
def test_after_other_failures_no_event_passes(shop: Shop, status: int | None) -> None:
    """A shop that does not respond, or that is busy, gets all events later."""
    shop.store_events(shop.invoice(), PROCESSING, SETTLED)
    shop.fail(PROCESSING, status=status)
    let_fail_four_times(shop)
    shop.outbox.work(STEPS[3])
    assert {event for _, event in shop.attempts()} == {PROCESSING}


def test_while_the_whole_shop_fails_no_event_passes(shop: Shop) -> None:
    """An event of another invoice also failed, and the endpoint has accepted nothing since."""
    invoices = [shop.invoice(), shop.invoice()]
    for invoice in invoices:
        shop.store_events(invoice, PROCESSING, SETTLED)
    shop.fail(PROCESSING, SETTLED)
    let_fail_four_times(shop)
    shop.outbox.work(STEPS[3])
    assert SETTLED not in [event for _, event in shop.attempts()]
    shop.outbox.webhooks.failures.clear()
    shop.outbox.work(10**5)
    for invoice in invoices:
        its = [event for reference, event in shop.accepted() if reference == invoice.reference]
        assert its == [PROCESSING, SETTLED]
    assert not Message.select().where(Message.superseded_by.is_null(False)).exists()


def test_after_an_outage_the_stuck_event_arrives_before_a_new_later_event(shop: Shop) -> None:
    """The 5xx responses during the outage alone do not let the later event pass."""
    first, second = shop.invoice(), shop.invoice()
    for invoice in (first, second):
        shop.store_events(invoice, PROCESSING)
    shop.fail(PROCESSING)
    let_fail_four_times(shop)
    shop.outbox.webhooks.failures.clear()
    shop.store_events(shop.invoice(), RECEIVED)
    shop.outbox.work(1)
    shop.store_events(first, SETTLED)
    shop.outbox.work(1)
    assert shop.sent() == [RECEIVED, PROCESSING, SETTLED]


def test_an_accepted_event_of_another_invoice_ends_the_failure_of_the_whole_shop(shop: Shop) -> None:
    """So two invoices with stuck events do not wait for each other."""
    for _ in range(2):
        shop.store_events(shop.invoice(), PROCESSING, SETTLED)
    shop.fail(PROCESSING)
    let_fail_four_times(shop)
    assert shop.sent() == []
    shop.store_events(shop.invoice(), RECEIVED)
    shop.outbox.work(1)
    assert sorted(shop.sent()) == [RECEIVED, SETTLED, SETTLED]


def test_after_an_outage_the_only_invoice_gets_its_events_in_their_order(shop: Shop) -> None:
    """Each time, the older event is tried before the later event. Its schedule does not change."""
    stuck, settled = shop.store_events(shop.invoice(), PROCESSING, SETTLED)
    shop.fail(PROCESSING, SETTLED)
    let_fail_four_times(shop)
    assert [event for _, event in shop.attempts()] == [PROCESSING] * 4 + [SETTLED]
    for seconds in STEPS[:2]:
        shop.outbox.work(seconds)
    assert [event for _, event in shop.attempts()][5:] == [PROCESSING, SETTLED] * 2
    assert (row(stuck).attempts, row(stuck).deliveries, row(settled).attempts) == (4, 6, 3)
    shop.outbox.webhooks.failures.clear()
    shop.outbox.work(STEPS[2])
    assert shop.sent() == [PROCESSING, SETTLED]
    assert row(stuck).superseded_by is None


def test_a_later_event_makes_a_stuck_event_due(shop: Shop) -> None:
    """Otherwise it would wait for the next attempt of the schedule, which can be hours away."""
    invoice = shop.invoice()
    [stuck] = shop.store_events(invoice, PROCESSING)
    shop.fail(PROCESSING)
    let_fail_four_times(shop)
    shop.outbox.clock.advance(1)
    [settled] = shop.store_events(invoice, SETTLED)
    shop.outbox.work()
    assert [event for _, event in shop.attempts()][4:] == [PROCESSING, SETTLED]
    assert row(stuck).superseded_by == settled.id


def test_a_chain_of_stuck_events_is_superseded_together(shop: Shop) -> None:
    stuck, later, settled = shop.store_events(shop.invoice(), RECEIVED, PROCESSING, SETTLED)
    shop.fail(RECEIVED, PROCESSING)
    for _ in range(8):
        shop.outbox.work(600)
    assert shop.sent() == [SETTLED]
    assert row(stuck).superseded_by == row(later).superseded_by == settled.id


def test_a_standard_endpoint_keeps_its_order(shop: Shop) -> None:
    """Responses with 5xx let no event pass there."""
    Webhook.update(kind=STANDARD, signing_secret="whsec_x", btcpay_secret=None).execute()
    payment = shop.invoice()
    first = shop.outbox.event(payment, "webhook")
    shop.outbox.event(payment, "webhook")
    shop.outbox.webhooks.failures[first] = TemporaryFailure("HTTP 500", 500)
    let_fail_four_times(shop)
    shop.outbox.work(STEPS[3])
    assert {given["reference"] for given in shop.outbox.webhooks.given} == {first}


def test_a_superseded_message_can_be_sent_again_by_hand(shop: Shop) -> None:
    stuck, _ = shop.store_events(shop.invoice(), PROCESSING, SETTLED)
    shop.fail(PROCESSING)
    let_fail_four_times(shop)
    shop.outbox.webhooks.failures.clear()
    request_redelivery(stuck, shop.outbox.clock.now, database.atomic)
    run_commands(shop)
    shop.outbox.work(1)
    assert shop.sent() == [SETTLED, PROCESSING]
    assert (row(stuck).superseded_by, row(stuck).server_errors) == (None, 0)


# Tests, and several endpoints


@pytest.mark.parametrize(
    "failure", [None, TemporaryFailure("HTTP 500", 500), PermanentFailure("HTTP 410", 410)]
)
def test_a_test_is_sent_once_even_to_a_disabled_endpoint(shop: Shop, failure: Exception | None) -> None:
    """Its ids contain `__test__`. With any response, it is not listed as a failed delivery of a payment."""
    update_webhook(shop.webhook, is_enabled=False)
    if failure is not None:
        shop.outbox.webhooks.failures["InvoiceCreated"] = failure
    assert request_webhook_test(shop.webhook, NOW, database.atomic)
    assert not request_webhook_test(shop.webhook, NOW, database.atomic)
    run_commands(shop)
    shop.outbox.work()
    shop.outbox.work(10**5)
    [given] = shop.outbox.webhooks.given
    assert given["event"]["invoiceId"].startswith("__test__")
    [delivery] = deliveries_of(shop.webhook)
    assert delivery.reference == given["event"]["deliveryId"]
    assert delivery.http_code == (200 if failure is None else failure.status)  # type: ignore[attr-defined]
    failed = Message.select().where(Message.failed_at.is_null(False) & Message.acknowledged_at.is_null())
    assert not failed.exists()
    assert Message.get().id in prunable_messages(shop.outbox.clock.now)


def test_a_standard_endpoint_gets_the_event_test(shop: Shop) -> None:
    webhook = shop.outbox.endpoint(shop.seller)
    request_webhook_test(webhook, NOW, database.atomic)
    run_commands(shop)
    shop.outbox.work()
    [given] = shop.outbox.webhooks.given
    assert given["body"].startswith(b'{"type":"test",')
    assert len(deliveries_of(webhook)) == 1


def test_old_deliveries_are_pruned_with_their_messages(shop: Shop) -> None:
    """Superseded messages and tests are pruned, too."""
    shop.store_events(shop.invoice(), PROCESSING, SETTLED)
    shop.fail(PROCESSING)
    let_fail_four_times(shop)
    request_webhook_test(shop.webhook, NOW, database.atomic)
    run_commands(shop)
    shop.outbox.work(1)
    PaymentRequest.update(closed_at=shop.outbox.clock.now).execute()
    assert Delivery.select().count() == 6
    shop.outbox.work(29 * 86400)
    assert Delivery.select().count() == 6
    shop.outbox.work(86400 + 3600)
    assert (Delivery.select().count(), Message.select().count()) == (0, 0)


def test_each_endpoint_of_a_seller_gets_the_event_at_its_own_pace(shop: Shop) -> None:
    """A failing endpoint delays no other endpoint."""
    working = shop.outbox.endpoint(shop.seller, url="https://working.example/")
    failing = shop.outbox.endpoint(shop.seller, url="https://failing.example/")
    update_webhook(shop.webhook, is_enabled=False)
    payment = shop.invoice()

    def attempt(reference: str, **given: Any) -> None:
        urls.append(given["url"])
        if given["url"] == failing.url:
            raise TemporaryFailure("timed out")

    urls: list[str] = []
    shop.outbox.webhooks.attempt = attempt  # type: ignore[method-assign]
    for _ in range(2):
        shop.outbox.event(payment, "webhook")
    shop.outbox.work()
    assert sorted(urls) == [failing.url, working.url, working.url]
    counts = {each.reference: len(deliveries_of(each)) for each in (working, failing)}
    assert counts == {working.reference: 2, failing.reference: 1}


def test_references_of_messages_are_unique(shop: Shop) -> None:
    payment = shop.invoice()
    references = [message.reference for message in shop.store_events(payment, *([RECEIVED] * 50))]
    assert len({*references}) == 50
    assert all(len(str(each)) <= 40 for each in itertools.chain(references))
