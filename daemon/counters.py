"""What the daemon counts while it runs. It starts from nothing, and is stored with each heartbeat.

Prometheus expects that a counter starts anew with its process; so a payment costs no write for its figures.
"""

from bisect import bisect_left
from collections import defaultdict
from threading import Lock
from typing import Any

from models.outbox import EMAIL, WEBHOOK

BOUNDS_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)
"""Of the latencies: from what is usual, by what a retry makes of it, to what an outage does."""


class Counters:
    """From any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
        # There from the beginning: Prometheus sees no first step of what appears with it.
        self._latencies = {channel: _Latency() for channel in (EMAIL, WEBHOOK)}

    def add(self, name: str, label: str = "", by: int = 1) -> None:
        """It happened, so many times."""
        with self._lock:
            self._counts[name][label] += by

    def time(self, channel: str, seconds: float) -> None:
        """It took so long until the word of a payment was taken."""
        with self._lock:
            self._latencies[channel].add(seconds)

    def document(self) -> dict[str, Any]:
        """All of it, for `DaemonReport.counters`."""
        with self._lock:
            counts = {name: dict(labels) for name, labels in self._counts.items()}
            return {**counts, "told": {name: each.document() for name, each in self._latencies.items()}}


class _Latency:
    def __init__(self) -> None:
        self._buckets = [0] * (len(BOUNDS_SECONDS) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        self._buckets[bisect_left(BOUNDS_SECONDS, seconds)] += 1
        self._sum += seconds

    def document(self) -> dict[str, Any]:
        """`buckets` are pairs of an upper bound and how many were below it, as Prometheus has them."""
        bounds = [*(f"{bound:g}" for bound in BOUNDS_SECONDS), "+Inf"]
        below = [sum(self._buckets[: place + 1]) for place in range(len(bounds))]
        return {"buckets": list(zip(bounds, below, strict=True)), "sum": self._sum}
