"""The daemon's report on its own state. The web process, `doctor` and the standby read it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import peewee

from models.db.connection import JsonField, Table, UtcDateTimeField, execute, fetch_one

_ONLY_ROW = 1


class DaemonReport(Table):
    """A table with one row. `assessed_height` is the tip at which every status was last computed.

    `complete_look_at` is the time at which the last complete reconciliation with chain and mempool began.
    Each payment that was there at that time is stored. `problems` keep payments from being seen, decided or
    reported. `advice` is what bitcoind could do better. `chain` is bitcoind's name, and `network` the name in
    `payments.network`. `first_block` is the hash of block 1, which differs between two chains with the same
    genesis block. `signet_challenge` is in hex, and differs between two signets. `addresses_ordered` is the
    number of addresses that the wallet was ordered to create and that are not stored yet. `counters` is the
    last `daemon.counters.Counters.document`. `witness` is the mark of models/db/witness.py.
    """

    id = peewee.IntegerField(primary_key=True, default=_ONLY_ROW)
    chain = peewee.CharField(max_length=16, null=True)
    network = peewee.CharField(max_length=16, null=True)
    signet_challenge = peewee.TextField(null=True)
    heartbeat_at = UtcDateTimeField(null=True)
    assessed_height = peewee.IntegerField(default=0)
    node_height = peewee.IntegerField(null=True)
    complete_look_at = UtcDateTimeField(null=True)
    problems = JsonField(default=list)
    advice = JsonField(default=list)
    counters = JsonField(default=dict)
    first_block = peewee.CharField(max_length=64, null=True)
    addresses_ordered = peewee.IntegerField(default=0)
    witness = peewee.TextField(null=True)


def daemon_report() -> DaemonReport:
    """Return the current report, or an empty report before the daemon has written one."""
    return fetch_one(DaemonReport, "SELECT * FROM daemon_report") or DaemonReport()


def known_network() -> str | None:
    """Return the name in `payments.network`, or None before the daemon has first reached bitcoind."""
    row = execute("SELECT coalesce(network, chain) FROM daemon_report").fetchone()
    return None if row is None else row[0]


def update_report(**values: Any) -> None:
    """Store these columns of the report, and leave the others unchanged."""
    if not DaemonReport.update(**values).execute():
        DaemonReport.insert(id=_ONLY_ROW, **values).on_conflict_ignore().execute()
        DaemonReport.update(**values).execute()


def beat(
    now: datetime,
    node_height: int | None,
    problems: list[str],
    counters: Mapping[str, Any] | None = None,
    advice: Sequence[str] = (),
) -> None:
    """Store the daemon's heartbeat."""
    update_report(
        heartbeat_at=now,
        node_height=node_height,
        problems=problems,
        advice=list(advice),
        counters=counters or {},
    )
