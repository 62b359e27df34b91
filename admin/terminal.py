"""How commands write for people: as wide as the terminal, in colours on a terminal alone."""

import os
import shutil
import sys
import textwrap
from collections.abc import Collection, Sequence
from typing import IO

BOLD, DIM, GREEN, RED, YELLOW = "1", "2", "32", "31", "33"

NARROWEST_COLUMN = 10
"""What is left of a column that may be cut."""


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


def table(headings: Sequence[str], rows: Sequence[Sequence[object]], expendable: Collection[str] = ()) -> str:
    """Columns as wide as what is in them.

    Where that is too wide for the terminal, the last column is cut, and then the `expendable` ones are left
    out, the first of them first, with a line that says so. No other is: an id has to be whole.
    """
    cells = [list(headings), *([printable(cell) for cell in row] for row in rows)]
    limit, left_out = width(), []
    for heading in (*expendable, None):
        if limit is None or _narrowest(cells) <= limit or heading is None:
            break
        place = cells[0].index(heading)
        cells = [row[:place] + row[place + 1 :] for row in cells]
        left_out.append(heading)
    lines = _lines(cells, limit)
    if left_out:
        lines += ["", f"A wider terminal shows {', '.join(reversed(left_out))} too; --json has all."]
    return "\n".join(lines)


def _narrowest(cells: Sequence[Sequence[str]]) -> int:
    *widths, last = _widths(cells)
    return sum(widths) + 2 * len(widths) + min(last, NARROWEST_COLUMN)


def _lines(cells: Sequence[Sequence[str]], limit: int | None) -> list[str]:
    *widths, last = _widths(cells)
    if limit is not None:
        last = min(last, max(limit - sum(widths) - 2 * len(widths), NARROWEST_COLUMN))
    cut = ([*row[:-1], _cut(row[-1], last)] for row in cells)
    return ["  ".join(map(str.ljust, row, [*widths, last])).rstrip() for row in cut]


def _widths(cells: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*cells, strict=True)]


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
