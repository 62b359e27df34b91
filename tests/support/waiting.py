"""The one place in the tests that waits by the clock."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(predicate: Callable[[], T], timeout: float = 30.0, what: str = "") -> T:
    """Ask `predicate` every 10 ms and return its answer once that is true.

    Raises AssertionError with `what` was waited for, and the last answer, after `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while not (answer := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what or predicate}; last: {answer!r}")
        time.sleep(0.01)
    return answer
