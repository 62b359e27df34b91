"""Add a seller's previous API key, and the time until which that key works."""

from typing import Any

import peewee
from playhouse.migrate import SchemaMigrator


def up(migrator: SchemaMigrator, db: Any) -> None:
    migrator.migrate(
        migrator.add_column("seller", "previous_api_key_hash", peewee.CharField(max_length=64, null=True)),
        migrator.add_column("seller", "previous_api_key_until", peewee.BigIntegerField(null=True)),
    )
    db.execute_sql("CREATE UNIQUE INDEX seller_previous_api_key_hash ON seller (previous_api_key_hash)")
