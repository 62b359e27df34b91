"""Add the daemon's counters to its report."""

from typing import Any

from playhouse.migrate import SchemaMigrator


def up(_migrator: SchemaMigrator, db: Any) -> None:
    db.execute_sql("ALTER TABLE daemon_report ADD COLUMN counters TEXT NOT NULL DEFAULT '{}'")
