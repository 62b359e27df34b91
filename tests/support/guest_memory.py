"""The memory of emulated processes, without the emulator's own.

qemu places all memory of its guest in one range of addresses (QEMU_GUEST_BASE and QEMU_RESERVED_VA). The
resident pages of that range are what the program has in memory. qemu's own code, its translated code and
its tables are outside of the range.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

FIRST_ADDRESS, BYTES = 0x10_0000_0000, 0x40_0000_0000
ENVIRONMENT = {"QEMU_GUEST_BASE": hex(FIRST_ADDRESS), "QEMU_RESERVED_VA": hex(BYTES)}
"""The environment that an emulated process needs so that it can be measured."""

LOOK_SECONDS = 0.5
_MAPPING = re.compile(r"^([0-9a-f]+)-[0-9a-f]+ ")


@contextmanager
def peak_memory(programs: tuple[str, ...]) -> Iterator[dict[str, int]]:
    """Yield a dictionary that has the largest resident size in bytes of each program, such as run_web.py."""
    peaks = dict.fromkeys(programs, 0)
    done = Event()

    def watch() -> None:
        while not done.wait(LOOK_SECONDS):
            for name in programs:
                peaks[name] = max([peaks[name], *map(guest_bytes, _processes(name))])

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peaks
    finally:
        done.set()
        thread.join()


def guest_bytes(process: Path) -> int:
    """Return the resident bytes of the guest in this directory of /proc. Return 0 after the process's end."""
    resident, is_guest = 0, False
    with suppress(OSError):
        for line in (process / "smaps").read_text().splitlines():
            if found := _MAPPING.match(line):
                is_guest = FIRST_ADDRESS <= int(found[1], 16) < FIRST_ADDRESS + BYTES
            elif is_guest and line.startswith("Rss:"):
                resident += int(line.split()[1]) * 1024
    return resident


def _processes(program: str) -> Iterator[Path]:
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            arguments = (process / "cmdline").read_bytes().split(b"\0")
            if any(Path(argument.decode(errors="replace")).name == program for argument in arguments):
                yield process
