"""Terms of office: a daemon that has lost its lock without knowing it writes nothing any more.

PostgreSQL's lock is a session, and can end while the daemon that had it lives on: its machine was cut off, or
the session killed. So each daemon counts the term up when it takes office. Each of its transactions begins
by seeing that the term is still its own, and keeps the next from beginning until it ends. SQLite's lock ends
with the process alone.
"""

import peewee

from models.database import Table, database, is_sqlite

_ONLY_ROW = 1

_ours: int | None = None


class LockLost(Exception):
    """Another daemon may work on the database by now: write nothing more, and stand by."""


class DaemonTerm(Table):
    """The one row of it: how many daemons have taken office."""

    id = peewee.IntegerField(primary_key=True, default=_ONLY_ROW)
    number = peewee.BigIntegerField()


def take_office() -> None:
    """Begin a term, with the daemon's lock held; what the daemon before had under way is over then.

    Raises peewee.OperationalError where that takes too long: try again.
    """
    global _ours
    if is_sqlite():
        return
    with database.atomic():
        DaemonTerm.update(number=DaemonTerm.number + 1).execute()
        _ours = DaemonTerm.get().number


def leave_office() -> None:
    """What this process writes from now on it does not write as the daemon."""
    global _ours
    _ours = None


def check_office() -> None:
    """Raises LockLost where another daemon has taken office; inside a transaction none can until its end."""
    if _ours is None:
        return
    (number,) = database.execute_sql("SELECT number FROM daemon_term FOR SHARE").fetchone()
    if number != _ours:
        raise LockLost("another daemon has taken office")
