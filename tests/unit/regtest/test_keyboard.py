"""regtest/keyboard.py, on a pseudo-terminal."""

import os
import pty
import sys
import termios
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from regtest.keyboard import has_keyboard, single_keys

PATIENCE_SECONDS = 30.0


@pytest.fixture
def hand(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Make standard input a terminal, and return the end at which keys are pressed."""
    hand, terminal = pty.openpty()
    with os.fdopen(terminal) as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        yield hand
    with suppress(OSError):
        os.close(hand)


def mode(hand: int) -> list[object]:
    return list(termios.tcgetattr(hand))


def test_a_key_arrives_without_enter(hand: int) -> None:
    """Nothing is left for the line that Enter would end."""
    with single_keys() as keys:
        os.write(hand, b"p")
        assert keys.keys(PATIENCE_SECONDS) == "p"
        assert keys.keys(0) == ""


def test_arrows_and_other_letters_are_no_keys(hand: int) -> None:
    """An arrow is an escape sequence that ends in a letter, such as ESC [ D."""
    with single_keys() as keys:
        os.write(hand, "mü\x1b[D".encode())
        assert keys.keys(PATIENCE_SECONDS) == "m"


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, RuntimeError])
def test_the_terminal_is_restored(hand: int, error: type[BaseException] | None) -> None:
    """This holds after an error, too."""
    before = mode(hand)
    with suppress(KeyboardInterrupt, RuntimeError), single_keys():
        assert mode(hand) != before
        if error is not None:
            raise error
    assert mode(hand) == before


def test_a_terminal_that_is_gone_ends_the_input(hand: int) -> None:
    with single_keys() as keys:
        os.close(hand)
        with pytest.raises(EOFError):
            keys.keys(PATIENCE_SECONDS)


def test_another_process_s_terminal_is_no_keyboard(hand: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel stops a process that sets the mode of a terminal in whose background it runs."""
    monkeypatch.setattr(os, "tcgetpgrp", lambda _terminal: os.getpgrp())
    assert has_keyboard()
    monkeypatch.setattr(os, "tcgetpgrp", lambda _terminal: os.getpgrp() + 1)
    assert not has_keyboard()


def test_a_closed_input_is_no_keyboard(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path(os.devnull).open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert not has_keyboard()
    assert not has_keyboard()
    monkeypatch.setattr(sys, "stdin", None)
    assert not has_keyboard()
