"""Add tables for the operator's login, columns for acknowledged payments, and indexes for the lists."""

from typing import Any

import peewee
from playhouse.migrate import SchemaMigrator

_UNSETTLED = "settled_sats IS NULL OR settled_sats <> received_sats"
_MONEY_IN_QUESTION = "(status = 'expired' AND received_sats > 0) OR overpaid_sats >= 546"


def up(migrator: SchemaMigrator, db: Any) -> None:
    class Frozen(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class OperatorSalt(Frozen):
        id = peewee.IntegerField(primary_key=True, constraints=[peewee.Check("id = 1")])
        salt = peewee.BlobField()

    class OperatorSession(Frozen):
        id = peewee.CharField(primary_key=True, max_length=22)
        expires_at = peewee.BigIntegerField()

    class LoginAttempt(Frozen):
        browser = peewee.CharField(primary_key=True, max_length=22)
        failures = peewee.IntegerField()
        next_at = peewee.BigIntegerField()

    db.create_tables([OperatorSalt, OperatorSession, LoginAttempt])
    for table, column in (
        ("payment_request", "settled_sats"),
        ("event", "settled_at"),
        ("message", "settled_at"),
    ):
        migrator.migrate(migrator.add_column(table, column, peewee.BigIntegerField(null=True)))

    # The index that orders a list has the columns of its filters, so that a filter reads no rows.
    # These columns never change, so a new status does not write the index.
    narrowed = "created_at, id, currency, note"
    for name, columns, condition in (
        ("payment_newest", f"payment_request ({narrowed}, seller_id)", None),
        ("payment_newest_of_seller", f"payment_request (seller_id, {narrowed})", None),
        ("payment_underway", "payment_request (status)", "status NOT IN ('confirmed', 'expired')"),
        (
            "payment_in_question",
            "payment_request (created_at)",
            f"({_MONEY_IN_QUESTION}) AND ({_UNSETTLED})",
        ),
        (
            "payment_confirmed",
            "payment_request (confirmed_at, currency, amount_fiat, received_sats)",
            "confirmed_at IS NOT NULL",
        ),
        ("event_reverted", "event (payment_id)", "type = 'payment.reverted' AND settled_at IS NULL"),
        ("message_unsettled", "message (payment_id)", "failed_at IS NOT NULL AND settled_at IS NULL"),
    ):
        db.execute_sql(f"CREATE INDEX {name} ON {columns}{f' WHERE {condition}' if condition else ''}")
    # The seller's lists used these indexes.
    db.execute_sql("DROP INDEX payment_request_seller_id_id")
    db.execute_sql("DROP INDEX payment_request_seller_id")
