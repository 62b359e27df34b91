"""Starts and memory with an address table as large as it gets, beside an installation without one."""

import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bench.load import Load
from bench.process import DAEMON_MEBIBYTES, WEB_MEBIBYTES, memory_rows, peak_memory, wait_until_quiet
from bench.report import Row, within
from bench.site import Site
from regtest.process import READY_SECONDS, Process

START_REACH = 1.2

REMARKS = """\
- Start: from the process's start until it reports to systemd that it is ready (READY=1), with the tables in
  the system's cache. Memory is taken when the daemon has finished the work of its start.
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """The size of the address table, and the number of starts."""

    addresses: int = 10_000_000
    starts: int = 7


QUICK = Plan(addresses=8_000, starts=1)


def rows(directory: Path, *, is_quick: bool) -> Iterator[Row]:
    """Yield the rows of the starts and of the memory of both programs."""
    plan = QUICK if is_quick else Plan()
    size = f"{plan.addresses:,} addresses"
    with closing(Load.start(directory / "node", 10)) as load:
        none = Site(load, directory / "none", 0, 1)
        many = Site(load, directory / "many", plan.addresses, 1)
        for what, process, large in (
            ("daemon", none.daemon, many.daemon),
            ("web server", none.web, many.web),
        ):
            beside, ours = [], []
            for _ in range(plan.starts):
                beside.append(_start(process))
                ours.append(_start(large))
            yield within(f"{what}'s start, {size}", beside, "with none", ours, START_REACH)
        with many.running() as daemon:
            wait_until_quiet(daemon.pid)
            yield from memory_rows(f"daemon's memory, {size}", [peak_memory(daemon.pid)], DAEMON_MEBIBYTES)
            yield from memory_rows(f"web server's memory, {size}", [peak_memory(many.web.pid)], WEB_MEBIBYTES)


def _start(process: Process) -> float:
    """Return the seconds until a process like this reports that it is ready: sd_notify(3)."""
    with (
        # The name of a socket may have 108 letters.
        tempfile.TemporaryDirectory() as directory,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify,
    ):
        path = f"{directory}/notify"
        notify.bind(path)
        notify.settimeout(READY_SECONDS)
        environ = process.environ | {"NOTIFY_SOCKET": path}
        again = Process(f"{process.name}.py", environ, process.directory)
        began = time.perf_counter()
        with again:
            while b"READY=1" not in notify.recv(4096):
                pass
            return time.perf_counter() - began
