"""Checks of other users' rights to a file."""

import os
import stat
from pathlib import Path


def may_others_write(path: Path) -> bool:
    """Return whether another user than this process's and root may write the file. Raise OSError."""
    found = path.stat()
    is_foreign = found.st_uid not in (0, os.geteuid()) and os.geteuid() != 0
    return is_foreign or bool(found.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def may_others_read(path: Path) -> bool:
    """Return whether users outside the file's group may read it, or look into it. Raise OSError."""
    return bool(path.stat().st_mode & (stat.S_IROTH | stat.S_IXOTH))
