"""Add the mark by which the daemon recognises an older copy of the database."""

from typing import Any

import peewee
from playhouse.migrate import SchemaMigrator


def up(migrator: SchemaMigrator, _db: Any) -> None:
    migrator.migrate(migrator.add_column("daemon_report", "witness", peewee.TextField(null=True)))
