"""The commands' output for people: columns, and colours where the output is a terminal."""

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import IO

BOLD, DIM, GREEN, RED, YELLOW = "1", "2", "32", "31", "33"


def has_colours(stream: IO[str]) -> bool:
    """Return whether this is a terminal whose user has not switched colours off (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def coloured(text: str, colour: str, stream: IO[str] | None = None) -> str:
    """Return the text in this colour, where `stream` (by default standard output) has colours."""
    is_shown = has_colours(sys.stdout if stream is None else stream)
    return f"\x1b[{colour}m{text}\x1b[0m" if colour and is_shown else text


def width() -> int | None:
    """Return the terminal's columns, or None where standard output is a file or a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def is_interactive() -> bool:
    """Return whether a person at a terminal can answer a question."""
    return sys.stdin.isatty()


def readable_time(moment: str) -> str:
    """Return a document's time as people read it: 2026-11-23 16:19:27 UTC."""
    return moment.replace("T", " ").replace("Z", " UTC")


def printable(text: object) -> str:
    """Return the text on one line, without control characters: notes come from shops' customers."""
    return "".join(letter if letter.isprintable() else " " for letter in str(text))


def wrapped(text: str, indent: int) -> str:
    """Return the text in as many lines as the terminal needs, for column `indent` of its first line.

    No word is broken, because it may be a line of bitcoin.conf to copy.
    """
    limit = width()
    if limit is None:
        return text
    lines = textwrap.wrap(text, max(limit - indent, 20), break_long_words=False, break_on_hyphens=False)
    return f"\n{' ' * indent}".join(lines)


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a line for the headings and for each row, padded to columns."""
    cells = [list(headings), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in cells)
