"""Since when an output has been there without a gap, and what else the age of money is decided by."""

from typing import Any

from playhouse.migrate import SchemaMigrator


def up(_migrator: SchemaMigrator, db: Any) -> None:
    for column in (
        "output ADD COLUMN present_since BIGINT NOT NULL DEFAULT 0",
        "output ADD COLUMN gone_since BIGINT",
        "output ADD COLUMN is_coinbase BOOLEAN NOT NULL DEFAULT FALSE",
        "payment_request ADD COLUMN required_depth INTEGER",
        "payment_request ADD COLUMN unpublished_height INTEGER",
        "daemon_report ADD COLUMN complete_look_at BIGINT",
    ):
        db.execute_sql(f"ALTER TABLE {column}")
    db.execute_sql("UPDATE output SET present_since = first_seen_at")
    db.execute_sql("UPDATE output SET gone_since = first_seen_at WHERE state IN ('replaced', 'dropped')")
    db.execute_sql(
        "CREATE INDEX payment_unpublished ON payment_request (unpublished_height) "
        "WHERE unpublished_height IS NOT NULL"
    )
