"""Debian's programs for the tests: installed ones, or fetched into `.debian/` without root."""

import shutil
from pathlib import Path

from regtest.fetch import fetched_command

CACHE = Path(__file__).parent.parent.parent / ".debian"


def find_program(program: str, package: str) -> list[str]:
    """Return the command that runs `program`, which `package` has."""
    # Debian keeps servers in /usr/sbin, which is not on the path of a user other than root.
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    return [found] if found else fetched_command(package, CACHE / package, program)
