"""Add the table of API keys, and move each seller's key and previous key there.

A removed seller's keys are revoked, so that they do not work again if the seller comes back.
"""

import secrets
import string
from typing import Any

import peewee
from playhouse.migrate import SchemaMigrator

BASE62 = string.ascii_letters + string.digits
COLUMNS = ("api_key_hash", "previous_api_key_hash", "previous_api_key_until")


def up(_migrator: SchemaMigrator, db: Any) -> None:
    class Frozen(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class Seller(Frozen):
        id = peewee.CharField(primary_key=True, max_length=64)

    class ApiKey(Frozen):
        id = peewee.BigAutoField()
        reference = peewee.CharField(max_length=20, unique=True)
        seller = peewee.ForeignKeyField(Seller, on_delete="RESTRICT")
        key_hash = peewee.CharField(max_length=64, unique=True)
        label = peewee.TextField()
        permissions = peewee.TextField(null=True)
        created_at = peewee.BigIntegerField()
        created_by = peewee.CharField(max_length=10)
        last_used_at = peewee.BigIntegerField(null=True)
        expires_at = peewee.BigIntegerField(null=True)
        revoked_at = peewee.BigIntegerField(null=True)

    def add(seller_id: str, key_hash: str, label: str, created_at: int, **values: int | None) -> None:
        ApiKey.insert(
            reference=f"key_{''.join(secrets.choice(BASE62) for _ in range(16))}",
            seller=seller_id,
            key_hash=key_hash,
            label=label,
            created_at=created_at,
            created_by="operator",
            **values,
        ).execute()

    db.create_tables([ApiKey])
    sellers = db.execute_sql(
        f"SELECT id, created_at, removed_at, {', '.join(COLUMNS)} FROM seller ORDER BY created_at, id"  # noqa: S608
    ).fetchall()
    for seller_id, created_at, removed_at, key_hash, previous_hash, previous_until in sellers:
        if previous_hash is not None and previous_until is not None:
            until = {"expires_at": previous_until, "revoked_at": removed_at}
            add(seller_id, previous_hash, "previous key", created_at, **until)
        add(seller_id, key_hash, "first key", created_at, revoked_at=removed_at)
    # SQLite drops no column that has an index.
    db.execute_sql("DROP INDEX seller_api_key_hash")
    db.execute_sql("DROP INDEX seller_previous_api_key_hash")
    for column in COLUMNS:
        db.execute_sql(f"ALTER TABLE seller DROP COLUMN {column}")
