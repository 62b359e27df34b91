#!/usr/bin/env python3
"""The operator's program, also installed as nodetill, with the commands of admin and the demo."""

import packages  # noqa: F401 (from here on a missing package is reported in one sentence)

# isort: split
import os
import sys
from pathlib import Path

from admin.main import manage
from config.command import PROGRAMS, manage_command
from regtest.demo import demo

__all__ = ["main", "manage"]

manage.add_command(demo)


def main() -> None:
    """Run the command line, under the name by which the operator has called the program."""
    # Only the operator may read the files that a command creates.
    os.umask(0o077)
    # A letter that the terminal cannot show, as in a seller's name, must not end the command.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    # On Debian and in a container a script runs manage.py, and the operator calls the script.
    called, command = Path(sys.argv[0]).name, manage_command()
    manage(prog_name=command if called == "manage.py" and command in PROGRAMS else called)


if __name__ == "__main__":
    main()
