"""The daemon's counters. They start at zero with the process, and each heartbeat stores them.

Prometheus expects that counters restart with their process, so a payment needs no write for its figures.
"""

from bisect import bisect_left
from collections import defaultdict
from threading import Lock
from typing import Any

from models.outbox import EMAIL, WEBHOOK

BOUNDS_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)
"""The upper bounds of the latency buckets. They cover normal delivery, retries and outages."""


class Counters:
    """Counters and latencies. Any thread may call the methods."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
        # Each latency exists from the start, because Prometheus misses the step with which a series appears.
        self._latencies = {channel: _Latency() for channel in (EMAIL, WEBHOOK)}

    def add(self, name: str, label: str = "", by: int = 1) -> None:
        with self._lock:
            self._counts[name][label] += by

    def time(self, channel: str, seconds: float) -> None:
        """Add the time from a payment to the delivery of its message."""
        with self._lock:
            self._latencies[channel].add(seconds)

    def document(self) -> dict[str, Any]:
        """Return all values, for `DaemonReport.counters`."""
        with self._lock:
            counts = {name: dict(labels) for name, labels in self._counts.items()}
            return {**counts, "latencies": {name: each.document() for name, each in self._latencies.items()}}


class _Latency:
    def __init__(self) -> None:
        self._buckets = [0] * (len(BOUNDS_SECONDS) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        self._buckets[bisect_left(BOUNDS_SECONDS, seconds)] += 1
        self._sum += seconds

    def document(self) -> dict[str, Any]:
        """Return cumulative buckets as pairs (upper bound, count), and the sum, as in Prometheus."""
        bounds = [*(f"{bound:g}" for bound in BOUNDS_SECONDS), "+Inf"]
        below = [sum(self._buckets[: index + 1]) for index in range(len(bounds))]
        return {"buckets": list(zip(bounds, below, strict=True)), "sum": self._sum}
