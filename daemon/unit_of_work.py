"""The daemon's database transactions. Each has a name, checks the leadership, and logs its changes."""

from collections.abc import Iterator
from contextlib import contextmanager

from daemon.failpoint import reach
from daemon.output_log import lines_after_commit
from models.db.connection import database
from models.db.leadership import fence


@contextmanager
def unit_of_work(name: str) -> Iterator[None]:
    """Commit everything that is written inside, or nothing. `name` is one of failpoint.TRANSACTIONS.

    Raise LockLost if another daemon has taken over.
    """
    with lines_after_commit():
        with database.atomic():
            fence()
            yield
            reach(f"{name}.written")
        reach(f"{name}.committed")
