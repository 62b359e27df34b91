"""Log lines about the progress of long work."""

import time
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)

REPORT_SECONDS = 5.0


class Progress:
    """A log line every REPORT_SECONDS, so shorter work has no line. `monotonic` returns seconds."""

    def __init__(self, event: str, total: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._event = event
        self._total = total
        self._monotonic = monotonic
        self._report_at = monotonic() + REPORT_SECONDS

    def report(self, done: int, **facts: object) -> None:
        """Log that `done` of the total is finished, if a line is due."""
        if self._monotonic() >= self._report_at:
            self._report_at = self._monotonic() + REPORT_SECONDS
            log.info(self._event, done=done, total=self._total, **facts)
