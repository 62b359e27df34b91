"""Add the name of the network, and the challenge of a signet, to the daemon's report."""

from typing import Any

import peewee
from playhouse.migrate import SchemaMigrator


def up(migrator: SchemaMigrator, _db: Any) -> None:
    migrator.migrate(
        migrator.add_column("daemon_report", "network", peewee.CharField(max_length=16, null=True)),
        migrator.add_column("daemon_report", "signet_challenge", peewee.TextField(null=True)),
    )
