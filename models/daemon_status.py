"""What the daemon says of itself, for the web process, `doctor` and the standby to read."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import peewee

from models.db.connection import JsonField, Table, UtcDateTimeField, fetch_one

_ONLY_ROW = 1


class DaemonReport(Table):
    """The one row of it. `assessed_height` is the tip that every status was last worked out at.

    `complete_look_at` is when the last complete look at chain and mempool began: all that was there at that
    moment is stored. `first_block` is the hash of block 1, which differs between two chains with the same
    genesis block. `addresses_ordered` counts the addresses that the wallet is asked for and that are not
    stored yet. `counters` is the last `daemon.counters.Counters.document`.
    """

    id = peewee.IntegerField(primary_key=True, default=_ONLY_ROW)
    chain = peewee.CharField(max_length=16, null=True)
    heartbeat_at = UtcDateTimeField(null=True)
    assessed_height = peewee.IntegerField(default=0)
    node_height = peewee.IntegerField(null=True)
    complete_look_at = UtcDateTimeField(null=True)
    problems = JsonField(default=list)
    counters = JsonField(default=dict)
    first_block = peewee.CharField(max_length=64, null=True)
    addresses_ordered = peewee.IntegerField(default=0)


def daemon_report() -> DaemonReport:
    """The report as it stands; an empty one before the daemon's first."""
    return fetch_one(DaemonReport, "SELECT * FROM daemon_report") or DaemonReport()


def update_report(**values: Any) -> None:
    """Set some of it."""
    if not DaemonReport.update(**values).execute():
        DaemonReport.insert(id=_ONLY_ROW, **values).on_conflict_ignore().execute()
        DaemonReport.update(**values).execute()


def beat(
    now: datetime, node_height: int | None, problems: list[str], counters: Mapping[str, Any] | None = None
) -> None:
    """The daemon's heartbeat."""
    update_report(heartbeat_at=now, node_height=node_height, problems=problems, counters=counters or {})
