"""Add the address at which a seller's customers get help."""

from typing import Any

from playhouse.migrate import SchemaMigrator


def up(_migrator: SchemaMigrator, db: Any) -> None:
    db.execute_sql("ALTER TABLE seller ADD COLUMN support TEXT")
