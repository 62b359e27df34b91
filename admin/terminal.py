"""How commands write for people: in columns, and in colours on a terminal alone."""

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import IO

BOLD, DIM, GREEN, RED, YELLOW = "1", "2", "32", "31", "33"


def has_colours(stream: IO[str]) -> bool:
    """Whether it is a terminal that shows them, and the user wants them: https://no-color.org."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def coloured(text: str, colour: str, stream: IO[str] | None = None) -> str:
    """The text in this colour, where `stream` (standard output, if none is given) has colours."""
    is_shown = has_colours(sys.stdout if stream is None else stream)
    return f"\x1b[{colour}m{text}\x1b[0m" if colour and is_shown else text


def width() -> int | None:
    """Of the terminal on standard output; None where that is a file or a pipe, whose lines have no end."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def printable(text: object) -> str:
    """On one line, and without what a terminal would act on: notes come from shops' customers."""
    return "".join(letter if letter.isprintable() else " " for letter in str(text))


def wrapped(text: str, indent: int) -> str:
    """The text to stand at column `indent` of its line, in as many lines as the terminal needs.

    A word is never broken: it may be a line of bitcoin.conf to be copied.
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
