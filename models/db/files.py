"""Files beside a database: for their owner alone, or for the group that their directory is shared by."""

import os
import stat
from pathlib import Path

_PRIVATE, _SHARED = 0o600, 0o660


def open_private(path: Path) -> int:
    """Open a file for reading and writing, made where it is missing, and return its descriptor.

    A file is made for its owner alone. In a directory with the set-group-ID bit that its group may write, the
    file is made for the group too: so two servers with a user each share a SQLite database.
    """
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        pass
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _PRIVATE)
    if _is_shared(path.parent):
        # The umask of the servers takes the group's rights away from what they make.
        os.fchmod(descriptor, _SHARED)
    return descriptor


def _is_shared(directory: Path) -> bool:
    wanted = stat.S_ISGID | stat.S_IWGRP
    return directory.stat().st_mode & wanted == wanted
