"""Epochs, which prevent writes by a daemon that has lost its lock without notice.

PostgreSQL's lock belongs to a session. The session can end while its daemon still runs, for example if the
network fails or the session is killed. So each daemon increments the epoch when it becomes the leader. Each
of its transactions first checks that the epoch is still its own. The transaction also keeps another daemon
from a new epoch until the transaction ends. SQLite needs no epochs, because its lock ends only with the
process.
"""

from dataclasses import dataclass

import peewee

from models.db.connection import Table, database, is_sqlite

_ONLY_ROW = 1


@dataclass(frozen=True, slots=True)
class _Epoch:
    number: int
    node_changed: bool


# A process is one daemon, and has one database. So each transaction finds the epoch here.
_own: _Epoch | None = None


class LockLost(Exception):
    """Another daemon may be the leader now, so this daemon must write nothing more and stand by."""


class DaemonEpoch(Table):
    """A table with one row: the number of the current epoch, and the bitcoind of its daemon."""

    id = peewee.IntegerField(primary_key=True, default=_ONLY_ROW)
    number = peewee.BigIntegerField()
    node = peewee.TextField(null=True)


def begin_epoch(node: str) -> None:
    """Begin an epoch. The caller must hold the daemon's lock. Wait for open transactions of the last daemon.

    `node` identifies this daemon's bitcoind. Raise one of TRANSIENT_ERRORS if the epoch cannot begin now.
    Then the caller may try again.
    """
    global _own
    if is_sqlite():
        return
    with database.atomic():
        # This locks the table because a table lock is fair. A writer of a row lock can wait for ever for
        # readers.
        database.execute_sql("LOCK TABLE daemon_epoch IN EXCLUSIVE MODE")
        before = DaemonEpoch.get()
        DaemonEpoch.update(number=before.number + 1, node=node).execute()
    _own = _Epoch(before.number + 1, node_changed=before.node not in (None, node))


def end_epoch() -> None:
    """End the checks of the epoch, because this process no longer writes as the daemon."""
    global _own
    _own = None


def node_changed() -> bool:
    """Return whether the last daemon used another bitcoind. Its mempool may have had more transactions."""
    return _own is not None and _own.node_changed


def fence() -> None:
    """Prevent a new epoch until the transaction ends. Raise LockLost if another daemon has begun an epoch."""
    if _own is not None:
        database.execute_sql("LOCK TABLE daemon_epoch IN ROW SHARE MODE")
        check_epoch()


def check_epoch() -> None:
    """Raise LockLost if another daemon has begun an epoch."""
    if _own is not None and DaemonEpoch.get().number != _own.number:
        raise LockLost("another daemon has become the leader")
