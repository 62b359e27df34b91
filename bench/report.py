"""The table of a run, in Markdown."""

import os
import platform
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import apsw


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    what: str
    beside: str
    ours: str
    compared: str
    reach: str
    is_reached: bool


COLUMNS = ("measurement", "beside", "Nodetill", "compared", "to reach", "reached")
_VERDICTS = {True: "yes", False: "**no**"}


def document(rows: Iterable[Row], machine: Iterable[str], remarks: str) -> str:
    """Return the whole report."""
    cells = [
        (row.what, row.beside, row.ours, row.compared, row.reach, _VERDICTS[row.is_reached]) for row in rows
    ]
    return "\n".join(
        [
            "# Results of `make bench`",
            "",
            f"{datetime.now(UTC):%-d %B %Y}, on {'; '.join(machine)}.",
            "",
            *_table([COLUMNS, *cells]),
            "",
            remarks,
        ]
    )


def spread(seconds: Sequence[float]) -> str:
    """Return median, least and most, in milliseconds."""
    least, middle, most = (f"{1000 * value:,.1f}" for value in (min(seconds), median(seconds), max(seconds)))
    return f"{middle} ms ({least} – {most})"


def within(what: str, beside: Sequence[float], whose: str, ours: Sequence[float], reach: float) -> Row:
    """Return the row of seconds that are at most `reach` times those of somebody else, by their medians."""
    ratio = median(ours) / median(beside)
    cells = f"{spread(beside)}, {whose}", spread(ours), f"{ratio:.2f} times"
    return Row(what, *cells, f"within {reach:g} times", ratio <= reach)


def machine(bitcoind: str) -> list[str]:
    """Return what it ran on, without names or places."""
    return [
        f"{os.cpu_count()} cores of {_processor()}",
        f"{_memory()} of memory",
        platform.system(),
        f"Python {platform.python_version()}",
        f"SQLite {apsw.sqlite_lib_version()}",
        bitcoind,
    ]


def bitcoind_version(command: Sequence[str]) -> str:
    """Return bitcoind's own name and version."""
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
