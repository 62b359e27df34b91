"""Add an index for the outputs that are in the mempool, and allow each command to follow a chain once."""

from typing import Any

from playhouse.migrate import SchemaMigrator


def up(_migrator: SchemaMigrator, db: Any) -> None:
    db.execute_sql(
        "CREATE INDEX output_unconfirmed ON output (id) "
        "WHERE block_hash IS NULL AND state <> 'dropped' AND replaced_in IS NULL"
    )
    db.execute_sql("CREATE UNIQUE INDEX hint_one_follow ON hint (txid) WHERE kind = 'follow'")
