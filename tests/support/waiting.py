"""The only code of the tests that waits by the clock."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(predicate: Callable[[], T], timeout: float = 30.0, what: str = "") -> T:
    """Call `predicate` every 10 ms, and return its result once this is true.

    Raises AssertionError after `timeout` seconds, with `what` was expected and the last result.
    """
    deadline = time.monotonic() + timeout
    while not (answer := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what or predicate}; last: {answer!r}")
        time.sleep(0.01)
    return answer
