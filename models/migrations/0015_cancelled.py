"""Add the time at which a request was cancelled, and store each command to cancel a request once."""

from typing import Any

import peewee
from playhouse.migrate import SchemaMigrator


def up(migrator: SchemaMigrator, db: Any) -> None:
    migrator.migrate(
        migrator.add_column("payment_request", "cancelled_at", peewee.BigIntegerField(null=True))
    )
    db.execute_sql(
        "CREATE UNIQUE INDEX hint_one_cancellation ON daemon_command (payment_id) WHERE kind = 'cancel'"
    )
