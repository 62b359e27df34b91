"""Add an index of the requests by currency, so that /health reads one entry for each currency."""

from typing import Any

from playhouse.migrate import SchemaMigrator


def up(_migrator: SchemaMigrator, db: Any) -> None:
    db.execute_sql("CREATE INDEX payment_currency ON payment_request (currency, created_at)")
