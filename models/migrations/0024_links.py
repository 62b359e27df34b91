"""Add the payment links, the link of each request, and the figures of a request that count for its link."""

from typing import Any

import peewee
from playhouse.migrate import SchemaMigrator


def up(migrator: SchemaMigrator, db: Any) -> None:
    class Frozen(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class Seller(Frozen):
        id = peewee.CharField(primary_key=True, max_length=64)

    class Link(Frozen):
        id = peewee.BigAutoField()
        reference = peewee.CharField(max_length=32, unique=True)
        seller = peewee.ForeignKeyField(Seller, on_delete="RESTRICT")
        title = peewee.TextField()
        description = peewee.TextField()
        order_id = peewee.TextField(null=True)
        note = peewee.TextField()
        amount_fiat = peewee.TextField(null=True)
        currency = peewee.CharField(max_length=3)
        minimum = peewee.TextField(null=True)
        maximum = peewee.TextField(null=True)
        suggested = peewee.TextField()
        due_at = peewee.BigIntegerField(null=True)
        is_reusable = peewee.BooleanField()
        confirmations = peewee.IntegerField(null=True)
        expires_in = peewee.IntegerField(null=True)
        redirect_url = peewee.TextField(null=True)
        thanks = peewee.TextField()
        created_at = peewee.BigIntegerField()
        closed_at = peewee.BigIntegerField(null=True)
        paid_at = peewee.BigIntegerField(null=True)

    db.create_tables([Link])
    kind = "INTEGER" if isinstance(db, peewee.SqliteDatabase) else "BIGINT"
    db.execute_sql(
        f"ALTER TABLE payment_request ADD COLUMN link_id {kind} REFERENCES link (id) ON DELETE RESTRICT"
    )
    migrator.migrate(
        migrator.add_column("payment_request", "counted_sats", peewee.BigIntegerField(null=True)),
        migrator.add_column("payment_request", "link_units", peewee.BigIntegerField(null=True)),
    )
    db.execute_sql("CREATE INDEX link_created ON link (created_at)")
    db.execute_sql("CREATE INDEX link_open ON link (is_reusable) WHERE closed_at IS NULL AND paid_at IS NULL")
    for name, columns, condition in (
        ("payment_link_waiting", "link_id", "link_id IS NOT NULL AND status = 'new'"),
        ("payment_link_money", "link_id, id, link_units", "link_id IS NOT NULL AND received_sats > 0"),
        # The condition `id > 0` is always true. With it, the database uses this index only for queries that
        # have it, too.
        ("payment_link", "link_id, id", "link_id IS NOT NULL AND id > 0"),
    ):
        db.execute_sql(f"CREATE INDEX {name} ON payment_request ({columns}) WHERE {condition}")
