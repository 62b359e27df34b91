"""Add the columns of invoices of BTCPay's Greenfield API, and `order_id`, the shop's own order number."""

from typing import Any

import peewee
from playhouse.migrate import SchemaMigrator


def up(migrator: SchemaMigrator, db: Any) -> None:
    columns = {
        "order_id": peewee.TextField(null=True),
        "checkout": peewee.TextField(null=True),
        "archived_at": peewee.BigIntegerField(null=True),
        "marked": peewee.CharField(max_length=8, null=True),
        "marked_at": peewee.BigIntegerField(null=True),
        "first_covered_at": peewee.BigIntegerField(null=True),
        "first_confirmed_at": peewee.BigIntegerField(null=True),
        "invoice_reported": peewee.TextField(null=True),
    }
    migrator.migrate(
        *(migrator.add_column("payment_request", name, field) for name, field in columns.items())
    )
    db.execute_sql(
        "CREATE INDEX payment_order ON payment_request (seller_id, order_id) WHERE order_id IS NOT NULL"
    )
    db.execute_sql(
        "CREATE UNIQUE INDEX hint_one_reassessment ON daemon_command (payment_id) WHERE kind = 'reassess'"
    )
    _fill("first_covered_at", "payment.received", db)
    _fill("first_confirmed_at", "payment.confirmed", db)


def _fill(column: str, event_type: str, db: Any) -> None:
    """Store the time of the first event of this type, from which the column is known."""
    # The text contains only the two names above.
    db.execute_sql(
        f"UPDATE payment_request SET {column} = (SELECT min(created_at) FROM event "  # noqa: S608
        f"WHERE event.payment_id = payment_request.id AND event.type = '{event_type}')"
    )
