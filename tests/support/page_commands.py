"""The commands of a Markdown page: the lines of its blocks marked `sh`, in the order of the page."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_HEREDOC = re.compile(r"<<'?(\w+)'?")


@dataclass(frozen=True)
class Command:
    """One command as a reader types it, with its section's heading. A here-document has several lines."""

    section: str
    text: str


def page_commands(page: str) -> Iterator[Command]:
    """Yield each command of the page."""
    section = ""
    block: list[str] | None = None
    for line in page.splitlines():
        if block is not None and line == "```":
            yield from (Command(section, text) for text in _commands(block))
            block = None
        elif block is not None:
            block.append(line)
        elif line == "```sh":
            block = []
        elif line.startswith("## "):
            section = line.removeprefix("## ")
    assert block is None, f"the block in {section} has no end"


def _commands(lines: list[str]) -> Iterator[str]:
    """Join the lines that a backslash or a here-document continues. Leave out empty lines."""
    rest = iter(lines)
    for line in rest:
        command = line
        while command.endswith("\\"):
            command += f"\n{next(rest)}"
        if heredoc := _HEREDOC.search(command):
            for inner in rest:
                command += f"\n{inner}"
                if inner == heredoc[1]:
                    break
            else:
                raise AssertionError(f"no line {heredoc[1]} ends {line!r}")
        if command:
            yield command
