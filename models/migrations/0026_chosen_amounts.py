"""Add the facts that decide the amount of a link whose payer chooses it."""

from typing import Any

import peewee
from playhouse.migrate import SchemaMigrator


def up(migrator: SchemaMigrator, db: Any) -> None:
    migrator.migrate(
        migrator.add_column("payment_request", "link_amount_fiat", peewee.TextField(null=True)),
        migrator.add_column("payment_request", "counted_since", peewee.BigIntegerField(null=True)),
    )
    # The daemon's next assessment stores the time.
    db.execute_sql("UPDATE payment_request SET reassess_at_height = 0 WHERE counted_sats > 0")
