"""Allow each waiting command only once."""

from typing import Any

from playhouse.migrate import SchemaMigrator


def up(_migrator: SchemaMigrator, db: Any) -> None:
    db.execute_sql(
        "DELETE FROM hint WHERE id NOT IN "
        "(SELECT min(id) FROM hint GROUP BY kind, payment_id, txid, message_id)"
    )
    for name, columns, kind in (
        ("hint_one_transaction", "payment_id, txid", "transaction"),
        ("hint_one_acceptance", "payment_id", "accept"),
        ("hint_one_redelivery", "message_id", "redeliver"),
    ):
        db.execute_sql(f"CREATE UNIQUE INDEX {name} ON hint ({columns}) WHERE kind = '{kind}'")
