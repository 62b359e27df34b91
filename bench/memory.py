"""A process's memory, as Linux counts it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.report import Row

REACH_MEBIBYTES = 80


@dataclass(frozen=True, slots=True)
class Memory:
    """In MiB: what it holds in memory now, and the most it ever held (proc(5): VmRSS, VmHWM)."""

    resident: float
    peak: float


def memory_of(pid: int) -> Memory | None:
    """A running process's; None where there is no Linux's /proc."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return None
    return Memory(*(_mebibytes(text, name) for name in ("VmRSS", "VmHWM")))


def memory_rows(what: str, measured: Sequence[Memory]) -> Iterator[Row]:
    """The most of it, where anything was measured."""
    if measured:
        resident, peak = (max(getattr(m, name) for m in measured) for name in ("resident", "peak"))
        yield Row(
            what,
            "",
            f"{resident:.1f} MiB, at most {peak:.1f}",
            "",
            f"below {REACH_MEBIBYTES} MiB",
            peak < REACH_MEBIBYTES,
        )


def _mebibytes(status: str, name: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024
