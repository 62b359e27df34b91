"""Add the author of a webhook address, and indexes that find a due message without reading waiting ones."""

from typing import Any

import peewee
from playhouse.migrate import SchemaMigrator

_CAN_GO = "next_attempt_at IS NOT NULL AND waits_for IS NULL"


def up(migrator: SchemaMigrator, db: Any) -> None:
    db.execute_sql("ALTER TABLE seller ADD COLUMN webhook_set_by TEXT NOT NULL DEFAULT 'operator'")
    migrator.migrate(migrator.add_column("message", "waits_for", peewee.BigIntegerField(null=True)))
    for name, columns, condition in (
        ("message_fresh", "queue, id", f"{_CAN_GO} AND attempts = 0"),
        ("message_retry", "queue, next_attempt_at, id", f"{_CAN_GO} AND attempts > 0"),
        ("message_waiting", "waits_for", "waits_for IS NOT NULL"),
        ("message_delivered", "delivered_at", "delivered_at IS NOT NULL"),
    ):
        db.execute_sql(f"CREATE INDEX {name} ON message ({columns}) WHERE {condition}")
