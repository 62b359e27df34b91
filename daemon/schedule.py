"""The times of the loop's looks at chain and mempool, and of its checks of unconfirmed payments."""

import time
from collections.abc import Callable

from daemon.node.feed_checks import LOOK_SECONDS

TICK_SECONDS = 0.2
RETRY_SECONDS = 1.0
"""The delay before another look at an open matter.

Examples are a missing payment, and a chain that is catching up. After a new connection, the subscription may
not have reached bitcoind yet.
"""
CHECK_SECONDS = 2.0
"""The interval of the checks that unconfirmed payments are still in the mempool.

With DROP_GRACE and RETRY_SECONDS, a dropped payment is found in less than ten seconds.
"""
PAUSE_PER_LOOK, MAX_PAUSE_SECONDS = 10, 10.0
"""While a part of the feed is missing, a pause is so many times as long as a look, up to this limit."""


class LookSchedule:
    """The time of the next look, and of the next check. `monotonic` returns seconds."""

    def __init__(self, interval_seconds: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Let the first look be due now. `interval_seconds` is the usual pause between two looks."""
        self.retry_seconds = RETRY_SECONDS
        self._interval_seconds = interval_seconds
        self._monotonic = monotonic
        self._look_at = self._check_at = monotonic()
        self._connected_at = monotonic() - self.retry_seconds

    def is_look_due(self) -> bool:
        return self._monotonic() >= self._look_at

    def is_check_due(self) -> bool:
        """Return whether a check is due. If so, schedule the next check."""
        if self._monotonic() < self._check_at:
            return False
        self._check_at = self._monotonic() + CHECK_SECONDS
        return True

    def poll_seconds(self) -> float:
        """Return how long the loop may wait for the feed."""
        return min(TICK_SECONDS, max(self._look_at - self._monotonic(), 0))

    def note_connection(self) -> None:
        """Note a new connection of the feed. The next look comes soon."""
        self._connected_at = self._monotonic()

    def look_within(self, seconds: float) -> None:
        """Look after `seconds` at the latest."""
        self._look_at = min(self._look_at, self._monotonic() + seconds)

    def look_after(self, seconds: float) -> None:
        """Look after `seconds`, whatever was scheduled before."""
        self._look_at = self._monotonic() + seconds

    def end_look(self, look_seconds: float, *, is_settled: bool, is_feed_whole: bool) -> None:
        """Schedule the next look. `is_settled` is false if this look, of `look_seconds`, left work."""
        has_just_connected = self._monotonic() < self._connected_at + self.retry_seconds
        if not is_settled or has_just_connected:
            pause = self.retry_seconds
        elif is_feed_whole:
            pause = self._interval_seconds
        else:
            usual = max(LOOK_SECONDS, PAUSE_PER_LOOK * look_seconds)
            pause = min(usual, MAX_PAUSE_SECONDS, self._interval_seconds)
        self.look_after(pause)
