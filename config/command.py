"""The command that starts manage.py on this machine, for texts that the operator copies."""

import os
import shlex
import shutil
import sys
from functools import cache
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_NAME = "nodetill"
PROGRAMS = (_NAME, "manage")
"""The scripts that may start manage.py: on Debian, and in a container."""


@cache
def manage_command() -> str:
    """Return the command of this process's installation, such as "nodetill"."""
    return command_of(_ROOT, Path(sys.executable), Path.cwd(), os.environ.get("PATH"))


def command_of(root: Path, python: Path, directory: Path, search_path: str | None) -> str:
    """Return the command that starts manage.py of the program in `root`.

    `python` is the program's Python, `directory` its working directory, and `search_path` a PATH variable.
    """
    for program in PROGRAMS:
        found = shutil.which(program, path=search_path)
        if found is not None and _starts(Path(found), root):
            return program
    if root.name == "site-packages":
        # pip has put the program beside its Python.
        return shlex.quote(str(python.with_name(_NAME)))
    words = [python, root / "manage.py"]
    if directory == root and python.is_relative_to(root):
        words = [word.relative_to(root) for word in words]
    return shlex.join(map(str, words))


def _starts(script: Path, root: Path) -> bool:
    """Return whether this script, such as systemd/nodetill, starts the program in `root`."""
    try:
        return str(root / "manage.py") in script.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
