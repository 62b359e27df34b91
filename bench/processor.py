"""A process's use of the processors, as Linux counts it."""

import os
import time
from pathlib import Path

QUIET_SECONDS = 0.1


def processor_seconds(pid: int) -> float | None:
    """What a running process has used of them (proc(5): utime, stime); None where there is no /proc."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except OSError:
        return None
    # The second field, the program's name, is in brackets and may have any characters.
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def first_thread_seconds(pid: int) -> float | None:
    """What a running process's first thread has computed so far, to the nanosecond (Linux's
    sched-stats.rst); None where there is no /proc."""
    try:
        text = Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii")
    except OSError:
        return None
    return int(text.split()[0]) / 1e9


def wait_until_quiet(pid: int) -> None:
    """Until a process has nothing to do: a daemon that has just started, once it has read its filter."""
    before, spent = None, processor_seconds(pid)
    while spent is not None and (before is None or spent - before >= QUIET_SECONDS):
        time.sleep(1)
        before, spent = spent, processor_seconds(pid)
