"""A process's memory and its use of the processors, as Linux counts them."""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from bench.report import Row

DAEMON_MEBIBYTES, WEB_MEBIBYTES = 80, 110
QUIET_SECONDS = 0.1


def peak_memory(pid: int) -> float | None:
    """Return the most memory that a process ever had, in MiB (proc(5): VmHWM); None without a /proc."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return None
    found = re.search(r"^VmHWM:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) / 1024 if found else None


def memory_rows(what: str, measured: list[float | None], reach: int) -> Iterator[Row]:
    """Yield a row for the most of these, in MiB, where anything was measured."""
    peaks = [peak for peak in measured if peak is not None]
    if peaks:
        yield Row(what, "", f"at most {max(peaks):.1f} MiB", "", f"below {reach} MiB", max(peaks) < reach)


def wait_until_quiet(pid: int) -> None:
    """Wait until a process has nothing to do, like a daemon that has done the work of its start."""
    before, spent = None, _processor_seconds(pid)
    while spent is not None and (before is None or spent - before >= QUIET_SECONDS):
        time.sleep(1)
        before, spent = spent, _processor_seconds(pid)


def _processor_seconds(pid: int) -> float | None:
    """Return what a running process has used (proc(5): utime, stime); None without a /proc."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except OSError:
        return None
    # The second field, the program's name, is in brackets and may have any characters.
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
