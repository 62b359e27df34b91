"""Decisions of the operator, the sentence on late money in emails, and the received money by seller."""

from typing import Any

import peewee
from playhouse.migrate import SchemaMigrator


def up(migrator: SchemaMigrator, db: Any) -> None:
    class Frozen(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class PaymentRequest(Frozen):
        id = peewee.BigAutoField()

    class Decision(Frozen):
        id = peewee.BigAutoField()
        payment = peewee.ForeignKeyField(PaymentRequest, on_delete="RESTRICT")
        kind = peewee.CharField(max_length=10)
        at = peewee.BigIntegerField(index=True)
        by = peewee.CharField(max_length=10)
        comment = peewee.TextField()

    db.create_tables([Decision])
    migrator.migrate(migrator.add_column("event", "late_text", peewee.TextField(null=True)))
    # The page with the received money also adds it by seller, from this index alone.
    db.execute_sql("DROP INDEX payment_confirmed")
    db.execute_sql(
        "CREATE INDEX payment_confirmed ON payment_request "
        "(confirmed_at, currency, seller_id, amount_fiat, received_sats) WHERE confirmed_at IS NOT NULL"
    )
