"""The demo's output: one line for each step, with the time since the start."""

import sys
import textwrap
import time
from typing import IO

from admin.terminal import BOLD, DIM, has_colours

INDENT = " " * 11


class Console:
    """Writes to `stream`, with colours only on a terminal. `steps` has the steps and their times."""

    def __init__(self, stream: IO[str] | None) -> None:
        self.steps: list[dict[str, float | str]] = []
        self._stream = stream
        self._start = time.monotonic()
        self._has_colours = stream is not None and has_colours(stream)

    def title(self, text: str) -> None:
        self._write(f"\n{self._in(BOLD, text)}\n")

    def step(self, text: str, colour: str = "") -> None:
        """Write a step with the present time, and store it in `steps`."""
        seconds = time.monotonic() - self._start
        self.steps.append({"seconds": round(seconds, 3), "step": text})
        self._write(f"{self._in(DIM, f'{seconds:7.1f} s')}  {self._in(colour, text)}")

    def detail(self, text: str) -> None:
        """Write details of the last step."""
        self._write(self._in(DIM, textwrap.indent(text, INDENT)))

    def block(self, text: str) -> None:
        """Write a text unchanged, such as an email."""
        lines = ["", *text.strip().splitlines(), ""]
        self._write("\n".join(f"{INDENT}| {line}".rstrip() for line in lines))

    def plain(self, text: str) -> None:
        self._write(text)

    def _in(self, colour: str, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._has_colours and colour else text

    def _write(self, text: str) -> None:
        if self._stream is not None:
            print(text, file=self._stream, flush=True)


def standard_output() -> IO[str]:
    """Return standard output, which replaces characters that the terminal cannot show."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    return sys.stdout
