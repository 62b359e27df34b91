"""The daemon stores the events of invoices for `btcpay` endpoints, together with the new statuses."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import peewee
import pytest

from config import load_settings
from daemon.chain.invoices import may_have_events
from daemon.chain.mempool import Mempool
from daemon.chain.statuses import Assessor
from daemon.commands import CommandHandler
from daemon.counters import Counters
from models.command import pending_commands, request_marking
from models.db.connection import database, disconnect
from models.decision import DecidedBy, decisions_of
from models.outbox import Message
from models.output import DROPPED, MINED, Output, outputs_at
from models.payment import ANY_HEIGHT, PaymentRequest, mark_for_reassessment, payment_by_reference
from models.webhook import BTCPAY, STANDARD, Webhook, add_webhook, remove_webhook, update_webhook
from payments.greenfield.facts import invoice_facts
from payments.greenfield.invoice import invoice_document
from payments.greenfield.marking import read_marking
from tests.support.prepared_database import open_prepared
from tests.support.rows import BLOCK_HASH, NOW, new_output, new_payment, new_seller

HEIGHT = 1000
PAID = ["ReceivedPayment", "Processing"]
SETTLED = ["PaymentSettled", "Settled"]


@pytest.fixture(autouse=True)
def _database(database_url: str) -> Iterator[None]:
    open_prepared(database_url)
    new_seller("company1")
    yield
    disconnect()


@dataclass
class NodelessDaemon:
    """A daemon without a node. A test decides when it assesses."""

    assessor: Assessor
    commands: CommandHandler
    height: int = HEIGHT
    seconds: float = 0

    def assess(self) -> int:
        now = NOW + timedelta(seconds=self.seconds)
        return self.assessor.assess_due(self.height, now, now)

    def look_at(self, payment: PaymentRequest) -> list[str]:
        """Assess a request whose facts have changed. Return the new events of its invoice."""
        mark_for_reassessment([payment.address_id])
        return self.new_events(payment)

    def new_events(self, payment: PaymentRequest) -> list[str]:
        """Assess a request. Return its invoice's new event types, without the prefix "Invoice"."""
        before = len(bodies(payment))
        self.assess()
        return types(bodies(payment)[before:])

    def mark(self, payment: PaymentRequest, status: str) -> list[str]:
        """Mark an invoice by hand as the API does. Return its new events."""
        row = stored(payment)
        outputs = [output.received_output for output in outputs_at(row.address_id)]
        marking = read_marking(invoice_facts(row, "", outputs, tip_height=self.height), status)
        now = NOW + timedelta(seconds=self.seconds)
        request_marking(row, marking, now, database.atomic, DecidedBy.API)
        self.commands.handle(pending_commands(), now)
        assert pending_commands() == []
        return self.new_events(payment)


@pytest.fixture
def daemon(tmp_path: Path) -> NodelessDaemon:
    settings = load_settings({}, tmp_path)
    assessor = Assessor(settings, lambda: None, Counters())
    return NodelessDaemon(assessor, CommandHandler(settings, _NoMempool()))


class _NoMempool(Mempool):
    """A mempool that no test may use."""

    def __init__(self) -> None:
        pass


def endpoint(seller: str = "company1", **values: Any) -> Webhook:
    """Store an endpoint of BTCPay's kind."""
    given = {"kind": BTCPAY, "url": "https://shop.example/hook", "secret": "s", **values}
    webhook, _ = add_webhook(seller, given.pop("kind"), given.pop("url"), NOW, **given)
    return webhook


def invoice(number: int = 1, **values: Any) -> PaymentRequest:
    """Store a new invoice of 1,000 satoshis, which the daemon has not seen yet."""
    usual = {"amount_sats": 1000, "due_sats": 1000, "confirmations_required": 1, "checkout": {}}
    usual |= {"reassess_at_height": ANY_HEIGHT, "metadata": {"orderId": "4711"}}
    return new_payment(number, **{**usual, **values})


def stored(payment: PaymentRequest) -> PaymentRequest:
    found = payment_by_reference(payment.reference)
    assert found is not None
    return found


def bodies(payment: PaymentRequest, webhook: Webhook | None = None) -> list[dict[str, Any]]:
    """Return the stored events of an invoice, the oldest first, by default those of the first endpoint."""
    first = webhook or Webhook.select().where(Webhook.kind == BTCPAY).order_by(Webhook.id).first()
    query = Message.select().where((Message.payment == payment) & (Message.webhook == first))
    return [message.invoice_event for message in query.order_by(Message.id)]


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("Invoice") for event in events]


def pay(payment: PaymentRequest, **values: Any) -> Output:
    return new_output(payment, **{"amount_sats": 1000, **values})


def mine(output: Output, height: int) -> None:
    Output.update(state=MINED, block_hash=BLOCK_HASH, block_height=height).where(
        Output.id == output.id
    ).execute()


def drop(output: Output) -> None:
    Output.update(state=DROPPED, block_hash=None, block_height=None).where(Output.id == output.id).execute()


def test_an_invoice_is_reported_from_its_creation(daemon: NodelessDaemon) -> None:
    """A shop that requests the invoice while it handles an event gets the state of the event."""
    endpoint()
    payment = invoice()
    assert daemon.new_events(payment) == ["Created"]
    output = pay(payment)
    assert daemon.look_at(payment) == PAID
    mine(output, HEIGHT + 1)
    daemon.height = HEIGHT + 1
    assert daemon.look_at(payment) == SETTLED
    assert daemon.look_at(payment) == []
    address = "bcrt1q" + f"{1:038x}"
    received = bodies(payment)[1]
    assert received["payment"]["destination"] == address
    assert received["metadata"] == {"orderId": "4711"}
    row = stored(payment)
    facts = invoice_facts(
        row, address, [output.received_output for output in outputs_at(row.address_id)], tip_height=0
    )
    assert invoice_document(facts, public_url="")["status"] == "Settled"


def test_the_outbox_is_woken_if_only_an_invoice_has_events(daemon: NodelessDaemon) -> None:
    """So the event is sent at once."""
    endpoint()
    invoice()
    assert daemon.assess() == 1
    assert daemon.assess() == 0


def test_each_endpoint_gets_the_events_that_it_wants(daemon: NodelessDaemon) -> None:
    """A disabled or removed endpoint, and the endpoint of another seller, gets no events."""
    some, all_, off, gone = endpoint(event_types=["InvoiceSettled"]), endpoint(), endpoint(), endpoint()
    update_webhook(off, is_enabled=False)
    remove_webhook(gone, NOW)
    new_seller("company2")
    other = endpoint("company2")
    payment = invoice()
    mine(pay(payment), HEIGHT)
    daemon.assess()
    assert types(bodies(payment, all_)) == ["Created", *PAID, *SETTLED]
    assert types(bodies(payment, some)) == ["Settled"]
    assert bodies(payment, off) == bodies(payment, gone) == bodies(payment, other) == []


def test_both_kinds_of_endpoints_receive_their_events(daemon: NodelessDaemon) -> None:
    """A standard endpoint gets no events in BTCPay's form, and a btcpay endpoint gets no others."""
    ours, theirs = endpoint(kind=STANDARD, secret="whsec_" + "a" * 32), endpoint()
    payment = invoice()
    pay(payment)
    daemon.assess()
    names = {
        webhook.id: [m.event_type for m in Message.select().where(Message.webhook == webhook)]
        for webhook in (ours, theirs)
    }
    assert names[ours.id] == ["payment.received"]
    assert names[theirs.id] == ["InvoiceCreated", "InvoiceReceivedPayment", "InvoiceProcessing"]


def test_a_request_of_the_native_api_is_reported_too(daemon: NodelessDaemon) -> None:
    """It has no options of BTCPay's API."""
    endpoint()
    payment = invoice(checkout=None, reassess_at_height=None, metadata={}, order_id="A-7")
    pay(payment)
    assert daemon.look_at(payment) == ["Created", *PAID]
    assert bodies(payment)[0]["metadata"] == {"orderId": "A-7"}


def test_a_daemon_that_was_down_reports_in_order(daemon: NodelessDaemon) -> None:
    """The payment already has its confirmations when the daemon first sees the invoice."""
    endpoint()
    payment = invoice()
    mine(pay(payment), HEIGHT - 10)
    daemon.seconds = 3600
    assert daemon.new_events(payment) == ["Created", *PAID, *SETTLED]


# New and disabled endpoints


def test_an_open_invoice_is_reported_when_the_first_endpoint_is_added(daemon: NodelessDaemon) -> None:
    """InvoiceProcessing precedes InvoiceSettled, although the payment came before the endpoint."""
    payment = invoice()
    output = pay(payment)
    daemon.assess()
    assert stored(payment).invoice_reported is None
    endpoint()
    mine(output, HEIGHT)
    assert daemon.look_at(payment) == ["Created", *PAID, *SETTLED]


def test_an_invoice_that_had_ended_before_the_first_endpoint_has_only_new_events(
    daemon: NodelessDaemon,
) -> None:
    settled, expired = invoice(1), invoice(2)
    output = pay(settled)
    mine(output, HEIGHT)
    pay(expired, txid="ef" * 32, amount_sats=400)
    daemon.assess()
    daemon.seconds = 901
    daemon.assess()
    assert stored(expired).status == "expired"
    endpoint()
    assert (daemon.look_at(settled), daemon.look_at(expired)) == ([], [])
    drop(output)
    late = pay(expired, txid="aa" * 32, amount_sats=600, first_seen_at=NOW + timedelta(seconds=902))
    daemon.seconds = 903
    assert daemon.look_at(settled) == ["Invalid"]
    assert daemon.look_at(expired) == ["ReceivedPayment"]
    assert bodies(expired)[0]["payment"]["id"] == f"{late.txid}-0"
    assert bodies(expired)[0]["afterExpiration"] is True


def test_an_endpoint_that_is_enabled_again_gets_the_events_since_the_last_report(
    daemon: NodelessDaemon,
) -> None:
    """No event comes twice."""
    webhook = endpoint()
    payment = invoice()
    output = pay(payment)
    daemon.assess()
    update_webhook(webhook, is_enabled=False)
    mine(output, HEIGHT)
    assert daemon.look_at(payment) == []
    update_webhook(webhook, is_enabled=True)
    assert daemon.look_at(payment) == SETTLED


# Marks by hand


def test_a_mark_by_hand_is_reported(daemon: NodelessDaemon) -> None:
    """The timeline of the request has the mark, and the request's status does not change."""
    endpoint()
    payment = invoice()
    daemon.assess()
    assert daemon.mark(payment, "settled") == ["Settled"]
    assert bodies(payment)[-1]["manuallyMarked"] is True
    assert daemon.mark(payment, "Invalid") == ["Invalid"]
    row = stored(payment)
    assert (row.status, row.received_sats, row.marked, row.marked_at) == ("new", 0, "invalid", NOW)
    assert [(decision.kind, decision.by) for decision in decisions_of(row)] == [
        ("paid", "api"),
        ("invalid", "api"),
    ]


def test_a_mark_as_settled_accepts_late_money(daemon: NodelessDaemon) -> None:
    """An earlier mark is removed, because the money counts now."""
    endpoint()
    payment = invoice()
    daemon.assess()
    assert daemon.mark(payment, "invalid") == ["Invalid"]
    daemon.seconds = 901
    pay(payment, first_seen_at=NOW + timedelta(seconds=901))
    assert daemon.look_at(payment) == ["ReceivedPayment"]
    assert daemon.mark(payment, "settled") == ["Processing"]
    row = stored(payment)
    assert (row.status, row.marked, row.marked_at) == ("received", None, None)
    assert [decision.kind for decision in decisions_of(row)] == ["invalid", "accepted"]


def test_a_mark_of_a_seller_without_an_endpoint_makes_no_message(daemon: NodelessDaemon) -> None:
    payment = invoice()
    daemon.assess()
    assert daemon.mark(payment, "settled") == []
    assert (stored(payment).marked, stored(payment).invoice_reported) == ("settled", None)


# The speed of a payment


def test_a_payment_of_a_seller_without_endpoints_needs_one_query_for_both_kinds(
    daemon: NodelessDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block that changes no status needs no query for endpoints."""
    queries: list[str] = []
    run = peewee.Database.execute_sql

    def noted(self: peewee.Database, sql: str, *arguments: Any, **named: Any) -> Any:
        queries.append(sql)
        return run(self, sql, *arguments, **named)  # type: ignore[no-untyped-call]

    payment = invoice(reassess_at_height=None, confirmations_required=3)
    output = pay(payment)
    mark_for_reassessment([payment.address_id])
    monkeypatch.setattr(peewee.Database, "execute_sql", noted)
    daemon.assess()
    assert sum("FROM webhook" in sql for sql in queries) == 1
    queries.clear()
    mine(output, HEIGHT)
    assert daemon.look_at(payment) == []
    assert stored(payment).status == "confirming"
    assert sum("FROM webhook JOIN" in sql for sql in queries) == 0


def test_only_new_reported_or_marked_invoices_may_have_events_of_their_own() -> None:
    for values, may in (
        ({"revision": 0}, True),
        ({"revision": 3}, False),
        ({"revision": 3, "marked": "settled"}, True),
        ({"revision": 3, "invoice_reported": {}}, True),
    ):
        assert may_have_events(PaymentRequest(**values)) is may
