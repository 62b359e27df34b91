"""Programs of Debian's for the tests: the system's own, or fetched into `.debian/`, without root."""

import shutil
from pathlib import Path

from regtest.fetch import fetched_command

CACHE = Path(__file__).parent.parent.parent / ".debian"


def find_program(program: str, package: str) -> list[str]:
    """The command that runs it."""
    # Where the path of a user who is not root leaves servers out, Debian keeps them all the same.
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    return [found] if found else fetched_command(package, CACHE / package, program)
