"""A record of each attempt to deliver a webhook."""

from datetime import datetime
from typing import ClassVar

import peewee

from models.db.connection import (
    Table,
    UtcDateTimeField,
    execute,
    fetch_all,
    insert_columns,
    statement,
)
from models.outbox import Message
from models.webhook import Webhook

MAX_LISTED_DELIVERIES = 1000


class Delivery(Table):
    """An attempt to deliver a message to an endpoint. Nodetill deletes it together with its message.

    `reference` is BTCPay's `deliveryId`. `error` is None if the endpoint accepted the message. `http_code` is
    None without an HTTP response. `at` is the end of the attempt.
    """

    webhook_id: int
    message_id: int
    id = peewee.BigAutoField()
    reference = peewee.CharField(max_length=40, unique=True)
    webhook = peewee.ForeignKeyField(Webhook, on_delete="RESTRICT", index=False)
    message = peewee.ForeignKeyField(Message, on_delete="CASCADE", backref="record")
    at = UtcDateTimeField()
    http_code = peewee.IntegerField(null=True)
    error = peewee.TextField(null=True)
    is_redelivery = peewee.BooleanField()

    partial_indexes: ClassVar = {"delivery_accepted": "error IS NULL"}

    @property
    def was_accepted(self) -> bool:
        return self.error is None


def add_delivery(message: Message, at: datetime, http_code: int | None, error: str | None) -> None:
    """Store an attempt to deliver a message. The caller counts it in `message.deliveries`."""
    row = {
        "reference": message.next_delivery_reference,
        "webhook": message.webhook_id,
        "message": message.id,
        "at": at,
        "http_code": http_code,
        "error": error,
        "is_redelivery": message.deliveries > 0,
    }
    columns, values = insert_columns(Delivery, row)
    query = statement("INSERT INTO delivery ({columns}) VALUES ? ON CONFLICT DO NOTHING", columns=columns)
    execute(query, values)


def deliveries_of(webhook: Webhook, count: int = MAX_LISTED_DELIVERIES) -> list[Delivery]:
    """Return the newest deliveries of an endpoint, the newest first."""
    query = "SELECT * FROM delivery WHERE webhook_id = ? ORDER BY id DESC LIMIT ?"
    return fetch_all(Delivery, query, webhook.id, max(0, min(count, MAX_LISTED_DELIVERIES)))


def delivery_by_reference(webhook: Webhook, reference: str) -> Delivery | None:
    """Return the endpoint's delivery with this reference. `delivery.message` is its message."""
    query = "SELECT * FROM delivery WHERE webhook_id = ? AND reference = ?"
    found = fetch_all(Delivery, query, webhook.id, reference)
    return found[0] if found else None


def newest_delivery_id(webhook: Webhook) -> int:
    """Return the id of the endpoint's newest delivery, or 0 without one."""
    found = deliveries_of(webhook, 1)
    return int(found[0].id) if found else 0


def trial_delivery_after(webhook: Webhook, delivery_id: int) -> Delivery | None:
    """Return the endpoint's first delivery of a test after the delivery with this id, or None."""
    query = """SELECT * FROM delivery WHERE webhook_id = ? AND id > ? AND
        (SELECT payment_id FROM message WHERE message.id = delivery.message_id) IS NULL ORDER BY id LIMIT 1"""
    found = fetch_all(Delivery, query, webhook.id, delivery_id)
    return found[0] if found else None
