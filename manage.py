#!/usr/bin/env python3
"""The operator's program, also installed as nodetill: admin's commands, and the demo."""

import packages  # noqa: F401 (a missing package is one sentence from here on)

# isort: split
import os
import sys
from pathlib import Path

from admin.main import manage
from regtest.demo import demo

__all__ = ["main", "manage"]

manage.add_command(demo)


def main() -> None:
    """Run the command of the command line under the name by which the operator has called it."""
    # What a command creates is the operator's alone.
    os.umask(0o077)
    # Where the terminal has no such letter, a seller's name must not end the command.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    manage(prog_name=Path(sys.argv[0]).name)


if __name__ == "__main__":
    main()
