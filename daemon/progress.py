"""How far a long piece of work is, in the log."""

import time
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)

TELL_SECONDS = 5.0


class Progress:
    """A line each TELL_SECONDS: what is done in less has none. `monotonic` gives seconds."""

    def __init__(self, event: str, total: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._event = event
        self._total = total
        self._monotonic = monotonic
        self._tell_at = monotonic() + TELL_SECONDS

    def tell(self, done: int, **facts: object) -> None:
        """So much of the total is done."""
        if self._monotonic() >= self._tell_at:
            self._tell_at = self._monotonic() + TELL_SECONDS
            log.info(self._event, done=done, total=self._total, **facts)
