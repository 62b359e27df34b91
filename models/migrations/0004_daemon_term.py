"""Add the number of the daemon that leads, which grows with each daemon on this database."""

from typing import Any

import peewee
from playhouse.migrate import SchemaMigrator


def up(_migrator: SchemaMigrator, db: Any) -> None:
    class DaemonTerm(peewee.Model):
        id = peewee.IntegerField(primary_key=True, constraints=[peewee.Check("id = 1")])
        number = peewee.BigIntegerField()
        node = peewee.TextField(null=True)

        class Meta:
            database = db
            legacy_table_names = False

    db.create_tables([DaemonTerm])
    DaemonTerm.create(id=1, number=0)
