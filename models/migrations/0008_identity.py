"""Add held addresses, the identity of the chain, and the number of ordered addresses."""

from typing import Any

import peewee
from playhouse.migrate import SchemaMigrator


def up(migrator: SchemaMigrator, db: Any) -> None:
    migrator.migrate(
        migrator.add_column("address", "held_at", peewee.BigIntegerField(null=True)),
        migrator.add_column("daemon_report", "first_block", peewee.CharField(max_length=64, null=True)),
    )
    db.execute_sql("ALTER TABLE daemon_report ADD COLUMN addresses_ordered INTEGER NOT NULL DEFAULT 0")
    db.execute_sql("DROP INDEX address_free")
    db.execute_sql("CREATE INDEX address_free ON address (id) WHERE claimed_at IS NULL AND held_at IS NULL")
    db.execute_sql(
        "CREATE INDEX address_held ON address (id) WHERE claimed_at IS NULL AND held_at IS NOT NULL"
    )
