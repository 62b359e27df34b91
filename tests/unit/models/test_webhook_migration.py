"""The migration to several endpoints for each seller."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from config import load_settings
from models.command import REDELIVER, DaemonCommand
from models.db import schema
from models.db.connection import database, disconnect, with_paramstyle
from models.outbox import Message
from models.webhook import OPERATOR, STANDARD, Webhook, first_standard_webhook
from tests.support.email_documents import document
from tests.support.outbox import NOW, Outbox

AT = int(NOW.timestamp() * 1_000_000)
Insert = Callable[..., None]


@pytest.fixture
def old_database(
    empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Insert]:
    """Create a database without the migration. Return a function that stores a row."""
    with monkeypatch.context() as then:
        for path in schema.MIGRATIONS.glob("00*.py"):
            if path.name < "0023" and not path.name.startswith("0022"):
                (tmp_path / path.name).write_text(path.read_text())
        then.setattr(schema, "MIGRATIONS", tmp_path)
        schema.open_database(empty_database_url)

    def insert(table: str, **values: Any) -> None:
        columns, marks = ", ".join(values), ", ".join("?" * len(values))
        query = f"INSERT INTO {table} ({columns}) VALUES ({marks})"
        database.execute_sql(with_paramstyle(query), tuple(values.values()))

    yield insert
    disconnect()


def store(insert: Insert, *, url: str | None = "https://shop.example/hook") -> None:
    """Store a seller, a request, an event, and messages in each state."""
    insert(
        "seller",
        id="company1",
        name="",
        email="",
        api_key_hash="x",
        webhook_url=url,
        webhook_secret="whsec_new",
        previous_webhook_secret="whsec_old",
        webhook_set_by="key",
        created_at=AT,
    )
    insert("address", id=1, script=b"1", address="bcrt1q", wallet="w", created_at=AT, claimed_at=AT)
    amounts = {"amount_sats": 5, "tolerance_sats": 0, "received_sats": 0, "due_sats": 5, "overpaid_sats": 0}
    insert(
        "payment_request",
        id=1,
        reference="PR-1",
        seller_id="company1",
        amount_fiat="1.00",
        currency="EUR",
        price="5",
        price_at=AT,
        price_source="fixed",
        address_id=1,
        confirmations_required=1,
        created_at=AT,
        expires_at=AT,
        monitored_until=AT,
        note="",
        metadata="{}",
        status="new",
        is_late=False,
        notified_sats=0,
        revision=0,
        **amounts,
    )


def store_message(insert: Insert, number: int, channel: str = "webhook", **values: Any) -> None:
    """Store the message `number` with its own event, as the old daemon did."""
    payload = document(seller_id="company1")
    text = schema_text(payload)
    insert(
        "event",
        id=number,
        reference=f"evt_{number}",
        payment_id=1,
        revision=number,
        type="payment.received",
        created_at=AT,
        payload=text,
    )
    is_email = channel == "email"
    usual = {
        "event_id": number,
        "payment_id": 1,
        "channel": channel,
        "recipient": "operator@localhost" if is_email else "company1",
        "queue": "email" if is_email else "webhook:company1",
        "created_at": AT,
        "attempts": 0,
        "next_attempt_at": AT,
    }
    insert("message", id=number, **{**usual, **values})


def schema_text(payload: Any) -> str:
    from models.outbox import Event

    return str(Event.payload.db_value(payload))


def test_pending_messages_are_delivered_after_the_migration(
    empty_database_url: str, old_database: Insert, tmp_path: Path
) -> None:
    """They keep their ids, their order, their attempts, and their pending redeliveries."""
    store(old_database)
    store_message(old_database, 1, attempts=3, last_error="HTTP 500")
    store_message(old_database, 2, waits_for=1)
    store_message(old_database, 3, channel="email")
    store_message(old_database, 4, delivered_at=AT, next_attempt_at=None, attempts=1)
    store_message(old_database, 5, failed_at=AT, next_attempt_at=None, attempts=10)
    old_database("daemon_command", kind=REDELIVER, payment_id=1, message_id=5, created_at=AT)
    disconnect()
    schema.open_database(empty_database_url)
    [webhook] = Webhook.select()
    assert (webhook.seller_id, webhook.kind, webhook.url) == (
        "company1",
        STANDARD,
        "https://shop.example/hook",
    )
    assert (webhook.signing_secrets, webhook.set_by) == (["whsec_new", "whsec_old"], "key")
    assert webhook.event_types is None
    assert (webhook.is_enabled, webhook.automatic_redelivery) == (True, True)
    [command] = DaemonCommand.select()
    assert (command.kind, command.message_id) == (REDELIVER, 5)
    rows = {row.id: row for row in Message.select()}
    assert len({row.reference for row in rows.values() if row.channel == "webhook"}) == 4
    assert (rows[3].webhook_id, rows[3].reference) == (None, None)
    outbox = Outbox(load_settings({}, tmp_path))
    outbox.work(1)
    assert outbox.webhooks.sent == ["evt_1", "evt_2"]
    assert outbox.mail.sent == ["evt_3"]
    assert [given["url"] for given in outbox.webhooks.given] == [webhook.url] * 2
    assert outbox.webhooks.given[0]["secrets"] == ["whsec_new", "whsec_old"]
    assert outbox.webhooks.given[0]["is_public_only"] is True
    assert (Message.get_by_id(1).attempts, Message.get_by_id(1).deliveries) == (4, 4)


def test_a_seller_without_an_address_keeps_its_secret(empty_database_url: str, old_database: Insert) -> None:
    """The seller may set an address later. Messages to a removed address are given up as before."""
    store(old_database, url=None)
    store_message(old_database, 1)
    disconnect()
    schema.open_database(empty_database_url)
    webhook = first_standard_webhook("company1")
    assert webhook is not None
    assert (webhook.url, webhook.signing_secret) == (None, "whsec_new")
    assert Message.get().webhook_id == webhook.id
    assert webhook.set_by != OPERATOR
