"""What every part of a run is told, and what it gives."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from bench.database import NewDatabase, sqlite_in
from bench.report import Row

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class Options:
    """How a run was asked for. `directory` is the part's own, on a real disk, and is deleted after it.

    `shared` is the whole run's; `plots` is where the table goes.
    """

    directory: Path
    is_quick: bool = False
    block: Path | None = None
    plots: Path = Path()
    minutes: float = 60
    new_database: NewDatabase = sqlite_in
    shared: Path = Path()
    is_lean: bool = False

    def choose(self, full: P, lean: P, quick: P) -> P:
        """The plan to measure by: the lean one on PostgreSQL, which stands beside the full one on SQLite."""
        return quick if self.is_quick else lean if self.is_lean else full


class Part(Protocol):
    """A module that measures something."""

    REMARKS: str

    def rows(self, options: Options) -> Iterator[Row]:
        """Measure it: a line for each figure."""
