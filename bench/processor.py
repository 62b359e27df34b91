"""A process's use of the processors, as Linux counts it."""

import os
from pathlib import Path


def processor_seconds(pid: int) -> float | None:
    """What a running process has used of them (proc(5): utime, stime); None where there is no /proc."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except OSError:
        return None
    # The second field, the program's name, is in brackets and may have any characters.
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
