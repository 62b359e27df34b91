"""A full pipe that nobody reads."""

import os
from contextlib import suppress


def stuck_pipe() -> tuple[int, int]:
    """Return the reading and the writing end of a full pipe."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, b"\n" * 4096)
    os.set_blocking(writer, True)
    return reader, writer
