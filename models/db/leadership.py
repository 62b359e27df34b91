"""Terms of office: a daemon that has lost its lock without knowing it writes nothing any more.

PostgreSQL's lock is a session, and can end while the daemon that had it lives on: its machine was cut off, or
the session killed. So each daemon counts the term up when it takes office. Each of its transactions begins
by seeing that the term is still its own, and keeps the next from beginning until it ends. SQLite's lock ends
with the process alone.
"""

import peewee

from models.db.connection import Table, database, is_sqlite

_ONLY_ROW = 1

_ours: int | None = None
_has_moved = False


class LockLost(Exception):
    """Another daemon may work on the database by now: write nothing more, and stand by."""


class DaemonEpoch(Table):
    """The one row of it: how many daemons have taken office, and with which bitcoind the last one works."""

    id = peewee.IntegerField(primary_key=True, default=_ONLY_ROW)
    number = peewee.BigIntegerField()
    node = peewee.TextField(null=True)


def begin_epoch(node: str) -> None:
    """Begin a term, with the daemon's lock held; what the daemon before had under way is over then.

    `node` tells this daemon's bitcoind from any other. Raises one of TRANSIENT_ERRORS where it can't be done
    now: try again.
    """
    global _ours, _has_moved
    if is_sqlite():
        return
    with database.atomic():
        # A table's lock, because it is fair: who locks a row to write it can wait for ever for its readers.
        database.execute_sql("LOCK TABLE daemon_epoch IN EXCLUSIVE MODE")
        before = DaemonEpoch.get()
        DaemonEpoch.update(number=before.number + 1, node=node).execute()
    _ours, _has_moved = before.number + 1, before.node not in (None, node)


def end_epoch() -> None:
    """What this process writes from now on it does not write as the daemon."""
    global _ours, _has_moved
    _ours, _has_moved = None, False


def node_changed() -> bool:
    """Whether the daemon before had another bitcoind, whose mempool may have had what ours is yet to get."""
    return _has_moved


def fence() -> None:
    """Let nobody else take office before the transaction ends. Raises LockLost where somebody has already."""
    if _ours is not None:
        database.execute_sql("LOCK TABLE daemon_epoch IN ROW SHARE MODE")
        check_epoch()


def check_epoch() -> None:
    """Raises LockLost where another daemon has taken office."""
    if _ours is not None and DaemonEpoch.get().number != _ours:
        raise LockLost("another daemon has taken office")
