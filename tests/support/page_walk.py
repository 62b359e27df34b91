"""A walk through the commands of a page in a fresh Debian."""

import re
import sys

from tests.support.debian_root import Shell
from tests.support.page_commands import Command


class Walk:
    """One walk through the page. It keeps each command with its output."""

    def __init__(self, shell: Shell, replaced: dict[str, str]) -> None:
        self.shell = shell
        self.printed: list[tuple[str, str]] = []
        self._replaced = replaced
        self._unused = set(replaced)

    def do(self, command: Command) -> None:
        """Run a command of the page, with the values of the test."""
        text = command.text
        for old, new in self._replaced.items():
            if old in text:
                text = text.replace(old, new)
                self._unused.discard(old)
        if "KEY=nt_..." in text:
            text = f"KEY={self.find(r'nt_[A-Za-z0-9_-]{20,}')}"
        sys.stdout.write(f"[{command.section}] {text}\n")
        self.printed.append((command.text, self.shell.run(text)))

    def find(self, pattern: str) -> str:
        """Return the last match in the output of all commands."""
        return str(re.findall(pattern, "\n".join(out for _, out in self.printed))[-1])

    def output_of(self, start: str) -> str:
        """Return the output of the last command that begins with `start`."""
        return next(out for text, out in reversed(self.printed) if text.startswith(start))

    def assert_all_replaced(self) -> None:
        assert self._unused == set(), "the page has no such text any more"
