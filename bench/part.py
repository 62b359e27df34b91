"""What every part of a run is told, and what it gives."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.report import Row


@dataclass(frozen=True, slots=True)
class Options:
    """How a run was asked for; `directory` is the part's own, on a real disk, and is deleted after it."""

    directory: Path
    is_quick: bool = False
    block: Path | None = None
    plots: Path = Path()
    minutes: float = 60


class Part(Protocol):
    """A module that measures something."""

    REMARKS: str

    def rows(self, options: Options) -> Iterator[Row]:
        """Measure it: a line for each figure."""
