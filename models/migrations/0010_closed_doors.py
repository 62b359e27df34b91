"""Add the wrong passwords of each client, and an index for open requests."""

from typing import Any

import peewee
from playhouse.migrate import SchemaMigrator


def up(migrator: SchemaMigrator, db: Any) -> None:
    class Frozen(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class LoginAttempt(Frozen):
        client = peewee.CharField(primary_key=True, max_length=64)
        failures = peewee.IntegerField()
        next_at = peewee.BigIntegerField(index=True)

    class FailedLogin(Frozen):
        id = peewee.BigAutoField()
        address = peewee.CharField(max_length=64)
        tries = peewee.IntegerField()
        last_at = peewee.BigIntegerField()
        reported_at = peewee.BigIntegerField(null=True)

    # Its rows last an hour, and their names have changed.
    migrator.migrate(migrator.sql("DROP TABLE login_attempt"))
    db.create_tables([LoginAttempt, FailedLogin])
    db.execute_sql(
        "CREATE UNIQUE INDEX failed_login_unreported ON failed_login (address) WHERE reported_at IS NULL"
    )
    db.execute_sql(
        "CREATE INDEX payment_underway_of_seller ON payment_request (seller_id) "
        "WHERE status NOT IN ('confirmed', 'expired')"
    )
