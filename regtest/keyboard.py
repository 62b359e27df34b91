"""Single keys from a terminal, without Enter."""

import os
import select
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress

ESCAPE = b"\x1b"
MAX_KEYS = 64


class Keyboard:
    """Reads keys from the terminal at the file descriptor `terminal`, whose mode `single_keys` has set."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal

    def keys(self, seconds: float) -> str:
        """Return the next keys, or "" after `seconds`. Raise EOFError where the terminal is gone."""
        if not select.select([self._terminal], [], [], seconds)[0]:
            return ""
        try:
            pressed = os.read(self._terminal, MAX_KEYS)
        except OSError as error:
            raise EOFError from error
        if not pressed:
            raise EOFError
        # A terminal sends an escape sequence for an arrow or a function key.
        return pressed.partition(ESCAPE)[0].decode("ascii", errors="ignore")


def has_keyboard() -> bool:
    """Return whether standard input is a terminal whose keys go to this process.

    A process in the background would be stopped when it changes the terminal's mode.
    """
    try:
        terminal = sys.stdin.fileno()
        return os.isatty(terminal) and os.tcgetpgrp(terminal) == os.getpgrp()
    except (AttributeError, OSError, ValueError):
        return False  # standard input is closed, or another program's terminal


@contextmanager
def single_keys() -> Iterator[Keyboard]:
    """Deliver each key of standard input at once and don't show it. Restore the terminal at the end."""
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal)
        yield Keyboard(terminal)
    finally:
        with suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
