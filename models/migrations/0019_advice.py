"""Add what bitcoind could do better to the daemon's report."""

from typing import Any

from playhouse.migrate import SchemaMigrator


def up(_migrator: SchemaMigrator, db: Any) -> None:
    db.execute_sql("ALTER TABLE daemon_report ADD COLUMN advice TEXT NOT NULL DEFAULT '[]'")
