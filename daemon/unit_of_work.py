"""The daemon's database transactions. Each has a name, checks the leadership, and logs its changes."""

from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import structlog

from daemon.failpoint import reach
from models.address import references_for
from models.db.connection import database
from models.db.leadership import fence

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _OutputLine:
    event: str
    address_id: int
    facts: dict[str, Any]


class UnitOfWork:
    """One database transaction, and the effects in memory and in the log that follow its commit.

    A transaction that fails has no such effects.
    """

    def __init__(self) -> None:
        self._output_lines: list[_OutputLine] = []
        self._effects: list[Callable[[], None]] = []
        self._references: dict[int, tuple[str, str | None]] = {}

    def log_output(self, event: str, address_id: int, **facts: Any) -> None:
        """Log an event of an output to this address after the commit."""
        self._output_lines.append(_OutputLine(event, address_id, facts))

    def after_commit(self, effect: Callable[[], None]) -> None:
        """Call `effect` after the commit. It follows the lines about outputs."""
        self._effects.append(effect)

    def references_for(self, address_ids: Set[int]) -> Mapping[int, tuple[str, str | None]]:
        """Map ids to addresses and requests, as models.address does. Each is read once in a transaction."""
        if unread := address_ids - self._references.keys():
            self._references.update(references_for(unread))
        return self._references

    def finish(self) -> None:
        """Read what the lines need. Later, `run_effects` needs no database."""
        self.references_for({line.address_id for line in self._output_lines})

    def run_effects(self) -> None:
        """Write the lines, and call the effects."""
        for line in self._output_lines:
            address, payment = self._references[line.address_id]
            # The address has no request. Its request may be missing from a restored backup.
            write = log.info if payment is not None else log.warning
            write(line.event, payment=payment, address=address, **line.facts)
        for effect in self._effects:
            effect()


@contextmanager
def unit_of_work(name: str) -> Iterator[UnitOfWork]:
    """Commit everything that is written inside, or nothing. `name` is one of failpoint.TRANSACTIONS.

    Units are not nested. Raise LockLost if another daemon has taken over.
    """
    assert not database.in_transaction(), f"{name} is inside another transaction"
    work = UnitOfWork()
    with database.atomic():
        fence()
        yield work
        work.finish()
        reach(f"{name}.written")
    reach(f"{name}.committed")
    work.run_effects()
