"""Add the time since when an output is live without a gap, and other facts for the age of a payment."""

from typing import Any

import peewee
from playhouse.migrate import SchemaMigrator


def up(_migrator: SchemaMigrator, db: Any) -> None:
    # peewee uses the same names for these types.
    is_sqlite = isinstance(db, peewee.SqliteDatabase)
    moment, flag = ("INTEGER", "INTEGER") if is_sqlite else ("BIGINT", "BOOLEAN")
    for column in (
        f"output ADD COLUMN present_since {moment} NOT NULL DEFAULT 0",
        f"output ADD COLUMN gone_since {moment}",
        f"output ADD COLUMN is_coinbase {flag} NOT NULL DEFAULT FALSE",
        "payment_request ADD COLUMN required_depth INTEGER",
        "payment_request ADD COLUMN unpublished_height INTEGER",
        f"daemon_report ADD COLUMN complete_look_at {moment}",
    ):
        db.execute_sql(f"ALTER TABLE {column}")
    db.execute_sql("UPDATE output SET present_since = first_seen_at")
    db.execute_sql("UPDATE output SET gone_since = first_seen_at WHERE state IN ('replaced', 'dropped')")
    db.execute_sql(
        "CREATE INDEX payment_unpublished ON payment_request (unpublished_height) "
        "WHERE unpublished_height IS NOT NULL"
    )
