"""Add the wallets, the wallet of each address and seller, and the index of an address in its descriptor.

All addresses of before belong to bitcoind's wallet, which has the id 1 and is the default.
"""

from typing import Any

import peewee
from playhouse.migrate import SchemaMigrator


def up(migrator: SchemaMigrator, db: Any) -> None:
    class Frozen(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class Wallet(Frozen):
        name = peewee.CharField(max_length=64, unique=True)
        descriptor = peewee.TextField(null=True)
        first_script = peewee.BlobField(null=True, unique=True)
        address_type = peewee.CharField(max_length=16, null=True)
        is_default = peewee.BooleanField()
        start_index = peewee.BigIntegerField()
        next_index = peewee.BigIntegerField()
        watched_until = peewee.BigIntegerField()
        created_at = peewee.BigIntegerField(null=True)

    db.create_tables([Wallet])
    db.execute_sql("CREATE UNIQUE INDEX wallet_one_default ON wallet (is_default) WHERE is_default")
    Wallet.insert(name="bitcoind", is_default=True, start_index=0, next_index=0, watched_until=0).execute()
    migrator.migrate(
        migrator.add_column("seller", "wallet_id", peewee.IntegerField(null=True)),
        migrator.add_column("address", "derivation_index", peewee.BigIntegerField(null=True)),
    )
    db.execute_sql("ALTER TABLE address ADD COLUMN wallet_id INTEGER NOT NULL DEFAULT 1")
    db.execute_sql("DROP INDEX address_free")
    db.execute_sql(
        "CREATE INDEX address_free ON address (wallet_id, id) WHERE claimed_at IS NULL AND held_at IS NULL"
    )
    db.execute_sql(
        "CREATE UNIQUE INDEX address_derivation ON address (wallet_id, derivation_index) "
        "WHERE derivation_index IS NOT NULL"
    )
