"""Add webhook endpoints, several for each seller, and a record of each attempt to deliver a webhook.

The address and secrets of each seller move to an endpoint of its own, even without an address, because
messages may still wait for this endpoint. Pending messages keep their ids, their order and their schedule.
"""

from typing import Any

import peewee
from playhouse.migrate import SchemaMigrator

_COLUMNS = (
    "webhook_id {big} REFERENCES webhook (id) ON DELETE RESTRICT",
    "reference VARCHAR(40)",
    "invoice_event TEXT",
    "deliveries INTEGER NOT NULL DEFAULT 0",
    "server_errors INTEGER NOT NULL DEFAULT 0",
    "refusals INTEGER NOT NULL DEFAULT 0",
    "passed_at {big}",
    "hurried_from {big}",
    "superseded_by {big}",
)
_MOVED = ("webhook_url", "webhook_secret", "webhook_set_by", "previous_webhook_secret")


def up(_migrator: SchemaMigrator, db: Any) -> None:
    # SQLite's integers have 8 bytes.
    big = "INTEGER" if isinstance(db, peewee.SqliteDatabase) else "BIGINT"
    _create_webhook(db)
    _move_endpoints(db)
    for column in _COLUMNS:
        db.execute_sql(f"ALTER TABLE message ADD COLUMN {column.format(big=big)}")
    # A message of an invoice has no event. A test has no event and no request.
    for column in ("event_id", "payment_id"):
        db.execute_sql(f"ALTER TABLE message ALTER COLUMN {column} DROP NOT NULL")
    _address_messages(db)
    db.execute_sql("CREATE UNIQUE INDEX message_reference ON message (reference)")
    db.execute_sql("CREATE INDEX message_webhook_id ON message (webhook_id)")
    db.execute_sql("CREATE INDEX message_superseded ON message (id) WHERE superseded_by IS NOT NULL")
    db.execute_sql("CREATE INDEX message_test ON message (created_at) WHERE payment_id IS NULL")
    db.execute_sql(
        f"ALTER TABLE daemon_command ADD COLUMN webhook_id {big} REFERENCES webhook (id) ON DELETE CASCADE"
    )
    db.execute_sql("CREATE INDEX daemon_command_webhook_id ON daemon_command (webhook_id)")
    db.execute_sql(
        "CREATE UNIQUE INDEX hint_one_test ON daemon_command (webhook_id) WHERE kind = 'test_webhook'"
    )
    _create_delivery(db)
    for column in _MOVED:
        db.execute_sql(f"ALTER TABLE seller DROP COLUMN {column}")


def _create_webhook(db: Any) -> None:
    class Frozen(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class Seller(Frozen):
        id = peewee.CharField(primary_key=True, max_length=64)

    class Webhook(Frozen):
        id = peewee.BigAutoField()
        reference = peewee.CharField(max_length=32, unique=True)
        seller = peewee.ForeignKeyField(Seller, on_delete="RESTRICT")
        kind = peewee.CharField(max_length=8)
        url = peewee.TextField(null=True)
        signing_secret = peewee.TextField(null=True)
        previous_secret = peewee.TextField(null=True)
        btcpay_secret = peewee.TextField(null=True)
        set_by = peewee.CharField(max_length=8)
        event_types = peewee.TextField(null=True)
        is_enabled = peewee.BooleanField()
        automatic_redelivery = peewee.BooleanField()
        created_at = peewee.BigIntegerField()
        removed_at = peewee.BigIntegerField(null=True)

        class Meta:
            constraints = (peewee.Check("kind IN ('standard', 'btcpay')"),)

    db.create_tables([Webhook])


def _create_delivery(db: Any) -> None:
    class Frozen(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class Webhook(Frozen):
        id = peewee.BigAutoField()

    class Message(Frozen):
        id = peewee.BigAutoField()

    class Delivery(Frozen):
        id = peewee.BigAutoField()
        reference = peewee.CharField(max_length=40, unique=True)
        webhook = peewee.ForeignKeyField(Webhook, on_delete="RESTRICT", index=False)
        message = peewee.ForeignKeyField(Message, on_delete="CASCADE")
        at = peewee.BigIntegerField()
        http_code = peewee.IntegerField(null=True)
        error = peewee.TextField(null=True)
        is_redelivery = peewee.BooleanField()

    db.create_tables([Delivery])
    # The newest deliveries of an endpoint, and the newest of those that it accepted.
    db.execute_sql("CREATE INDEX delivery_newest ON delivery (webhook_id, id)")
    db.execute_sql("CREATE INDEX delivery_accepted ON delivery (webhook_id, id) WHERE error IS NULL")


def _move_endpoints(db: Any) -> None:
    """Store an endpoint for each seller, with the address and the secrets that the seller has."""
    db.execute_sql(
        f"""INSERT INTO webhook (reference, seller_id, kind, url, signing_secret, previous_secret, set_by,
            is_enabled, automatic_redelivery, created_at)
        SELECT 'wh_' || substr({_random(db)}, 1, 20), id, 'standard', webhook_url, webhook_secret,
            previous_webhook_secret, webhook_set_by, TRUE, TRUE, created_at
        FROM seller ORDER BY created_at, id"""  # noqa: S608 (constants)
    )


def _address_messages(db: Any) -> None:
    """Address each stored webhook to the endpoint of its seller, and give each a reference."""
    db.execute_sql(
        f"""UPDATE message SET
            webhook_id = webhook.id,
            recipient = webhook.reference,
            queue = 'webhook:' || webhook.reference,
            reference = 'dl_' || {_random(db)},
            deliveries = attempts
        FROM webhook WHERE message.channel = 'webhook' AND webhook.seller_id = message.recipient"""  # noqa: S608
    )


def _random(db: Any) -> str:
    """Return the SQL of a random text of 32 characters, another one for each row."""
    if isinstance(db, peewee.SqliteDatabase):
        return "lower(hex(randomblob(16)))"
    return "replace(gen_random_uuid()::text, '-', '')"
