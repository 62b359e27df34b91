"""Rename tables and columns to the usual terms, as "settled" and "told" have other meanings elsewhere."""

from typing import Any

from playhouse.migrate import SchemaMigrator

TABLES = (("hint", "daemon_command"), ("spend", "watched_outpoint"), ("daemon_term", "daemon_epoch"))
COLUMNS = (
    ("payment_request", "settled_sats", "acknowledged_sats"),
    ("payment_request", "told_sats", "notified_sats"),
    ("payment_request", "late_deadline", "late_accepted_until"),
    ("payment_request", "next_height", "reassess_at_height"),
    ("payment_request", "next_deadline", "reassess_at"),
    ("event", "settled_at", "acknowledged_at"),
    ("message", "settled_at", "acknowledged_at"),
    ("watched_outpoint", "spender", "spending_txid"),
)


def up(_migrator: SchemaMigrator, db: Any) -> None:
    # Indexes and their conditions follow, on SQLite since 3.26 and on PostgreSQL.
    for old, new in TABLES:
        db.execute_sql(f"ALTER TABLE {old} RENAME TO {new}")
    for table, old, new in COLUMNS:
        db.execute_sql(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")
