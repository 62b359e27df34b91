"""Tells a node that catches up from one that stays on a chain with less work than the one already read."""

import time
from collections.abc import Callable

STALLED_SECONDS = 3600.0
MIN_BLOCKS = 30
"""A node that catches up reads more in an hour. A chain that only grows has about six."""


class StalledChain:
    """Watches a node whose chain has less work. `monotonic` gives seconds."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._since: float | None = None
        self._height = 0

    def is_stalled(self, height: int) -> bool:
        """Return whether the node has gained less than MIN_BLOCKS in STALLED_SECONDS. It is at `height`."""
        now = self._monotonic()
        if self._since is None or height >= self._height + MIN_BLOCKS:
            self._since, self._height = now, height
        return now - self._since >= STALLED_SECONDS

    def clear(self) -> None:
        """Begin anew: the node's chain has enough work."""
        self._since = None
