"""Files beside a database. They are private to their owner, or shared with the group of their directory."""

import os
import stat
from pathlib import Path

_PRIVATE, _SHARED = 0o600, 0o660


def open_private(path: Path) -> int:
    """Open a file for reading and writing, and create it if it is missing. Return its descriptor.

    A new file is private to its owner. In a directory with the set-group-ID bit that its group may write, a
    new file is shared with the group. So two servers with different users can share a SQLite database.
    """
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        pass
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _PRIVATE)
    if is_shared(path.parent):
        # The umask of the servers removes the group's rights from a new file.
        os.fchmod(descriptor, _SHARED)
    return descriptor


def is_shared(directory: Path) -> bool:
    """Return whether the directory has the set-group-ID bit, and its group may write."""
    wanted = stat.S_ISGID | stat.S_IWGRP
    return directory.stat().st_mode & wanted == wanted
