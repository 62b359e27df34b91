"""Detection of a node that stays on a chain with less work than the chain already read."""

import time
from collections.abc import Callable

STALLED_SECONDS = 3600.0
MIN_SHARE = 100
"""A node that catches up reads at least 1/MIN_SHARE of the missing blocks in STALLED_SECONDS.

A node on another chain gains only newly mined blocks. If many blocks are missing, new blocks are a smaller
share. If few blocks are missing, that chain soon has enough work.
"""


class StalledChain:
    """The progress of a node whose chain has less work. `monotonic` returns seconds."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._since: float | None = None
        self._height = 0

    def is_stalled(self, height: int, read_height: int) -> bool:
        """Return whether the node, now at `height`, has not caught up for STALLED_SECONDS.

        `read_height` is the height of the chain already read.
        """
        now = self._monotonic()
        missing = read_height - self._height
        has_gained = 0 < missing <= (height - self._height) * MIN_SHARE
        if self._since is None or has_gained:
            self._since, self._height = now, height
        return now - self._since >= STALLED_SECONDS

    def clear(self) -> None:
        """Reset the state, because the node's chain has enough work."""
        self._since = None
