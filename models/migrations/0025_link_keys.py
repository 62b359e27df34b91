"""Add the Idempotency-Key of a payment link, and the hash of the body that it came with."""

from typing import Any

import peewee
from playhouse.migrate import SchemaMigrator


def up(migrator: SchemaMigrator, _db: Any) -> None:
    migrator.migrate(
        migrator.add_column("link", "idempotency_key", peewee.TextField(null=True)),
        migrator.add_column("link", "idempotency_digest", peewee.TextField(null=True)),
        migrator.add_index("link", ("seller_id", "idempotency_key"), unique=True),
    )
