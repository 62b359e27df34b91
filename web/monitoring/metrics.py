"""Metrics for Prometheus. They come from the database, so all web processes return the same metrics.

A scrape reads open requests and waiting messages, never closed requests. Its duration therefore does not grow
with the number of past requests.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from models.block import stored_tip
from models.daemon_status import DaemonReport, daemon_report
from models.db.connection import is_sqlite, snapshot
from models.queries import metrics as statistics
from models.queries.links import created_link_count, open_link_counts
from models.queries.wallets import free_addresses
from payments.link import LinkEvent
from payments.status import EventType, Status
from version import VERSION
from web.api.pricing import prices_now
from web.http.request import Request
from web.http.responses import PROMETHEUS, Response
from web.monitoring.health import figures, problems

_UNDERWAY = (Status.NEW, Status.UNDERPAID, Status.RECEIVED, Status.CONFIRMING)
_CHANNELS = ("email", "webhook")
_OUTCOMES = ("delivered", "delayed", "given up")
_TOPICS = ("rawtx", "hashblock")


def metrics(request: Request) -> Response:
    """GET /metrics: the metrics in the text format of Prometheus."""
    with snapshot():
        families = [
            *_of_installation(request),
            *_of_payments(),
            *_of_links(),
            *_of_chain(),
            *_of_outbox(),
            *_of_prices(request),
        ]
        families += _of_daemon(daemon_report())
    return Response(HTTPStatus.OK, generate_latest(_Collected(families)), PROMETHEUS)


class _Collected:
    """A registry of these metrics alone, because nothing is stored between two scrapes."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _of_installation(request: Request) -> Iterator[Metric]:
    build = {
        "version": VERSION,
        "schema": statistics.schema_version(),
        "database": "sqlite" if is_sqlite() else "postgresql",
    }
    yield _gauge("build_info", "Version, schema and database of this Nodetill", [(build, 1)])
    faults = list(problems(request.settings, request.now, figures(request.now)))
    yield _gauge("problems", "Problems that /health reports", [({}, len(faults))])
    free = [({"wallet": name}, count) for name, count in free_addresses().items()]
    yield _gauge("free_addresses", "Free addresses for new requests, of each wallet in use", free)


def _of_payments() -> Iterator[Metric]:
    found = statistics.underway_by_status()
    counted = [({"status": status.value}, found.get(status.value, 0)) for status in _UNDERWAY]
    yield _gauge("payment_requests", "Requests that are neither confirmed nor expired", counted)
    created = statistics.created_count()
    yield _counter("payment_requests_created", "Requests ever created", [({}, created)])


def _of_links() -> Iterator[Metric]:
    kinds = {False: "single-use", True: "reusable"}
    counts = open_link_counts()
    open_links = [({"kind": kind}, counts[is_reusable]) for is_reusable, kind in kinds.items()]
    yield _gauge("links", "Payment links that are neither paid nor closed", open_links)
    yield _counter("links_created", "Payment links ever created", [({}, created_link_count())])


def _of_chain() -> Iterator[Metric]:
    report, tip = daemon_report(), stored_tip()
    yield _gauge("chain_height", "Height at which statuses are computed", [({}, report.assessed_height)])
    if report.node_height is not None:
        behind = max(report.node_height - report.assessed_height, 0)
        yield _gauge("node_height", "Height of bitcoind", [({}, report.node_height)])
        yield _gauge("chain_lag_blocks", "Blocks by which chain_height is behind node_height", [({}, behind)])
    if tip is not None:
        yield _time("last_block", "Time in the header of the newest block", [({}, tip.mined_at)])


def _of_outbox() -> Iterator[Metric]:
    waiting = {queue.channel: queue for queue in statistics.queues()}
    pending = [({"channel": c}, waiting[c].pending if c in waiting else 0) for c in _CHANNELS]
    yield _gauge("outbox_pending_messages", "Messages that wait for their first or next attempt", pending)
    oldest = [({"channel": channel}, queue.oldest_at) for channel, queue in waiting.items()]
    yield _time("outbox_oldest", "When the oldest waiting message was created", oldest)
    given_up = statistics.undeliverable_count()
    yield _gauge("outbox_undeliverable_messages", "Messages that were given up", [({}, given_up)])


def _of_prices(request: Request) -> Iterator[Metric]:
    fetched = [({"source": source}, at) for source, at in statistics.rates_fetched_at().items()]
    yield _time("rate", "When the rate source last returned rates", fetched)
    priced = [({"currency": p.currency}, p.fetched_at) for p in prices_now(request.settings, request.now)]
    yield _time("price", "When the price for new requests was fetched", priced)


def _of_daemon(report: DaemonReport) -> Iterator[Metric]:
    """Return the figures that the daemon stores with its heartbeat. Its counters restart from 0 with it."""
    counters: Mapping[str, Any] = report.counters
    if report.heartbeat_at is not None:
        beat_at = report.heartbeat_at
        yield _time("daemon_heartbeat", "When the daemon last stored its heartbeat", [({}, beat_at)])
    for name, meaning, label, values in (
        ("feed_messages", "Messages of bitcoind's feed", "topic", _TOPICS),
        ("events", "Events of payments", "type", [each.value for each in (*EventType, *LinkEvent)]),
    ):
        counts = counters.get(name, {})
        yield _counter(name, meaning, [({label: value}, counts.get(value, 0)) for value in values])
    for name, meaning in (
        ("feed_messages_lost", "Messages of the feed that were lost, by its sequence numbers"),
        ("feed_gaps", "Places in the feed where messages are missing"),
        ("feed_connections", "Connections made to the feed"),
    ):
        yield _counter(name, meaning, [({}, counters.get(name, {}).get("", 0))])
    yield _deliveries(counters.get("deliveries", {}))
    yield _latencies(counters.get("latencies", {}))


def _deliveries(counts: Mapping[str, int]) -> Metric:
    attempts = [
        ({"channel": channel, "outcome": outcome}, counts.get(f"{channel} {outcome}", 0))
        for channel in _CHANNELS
        for outcome in _OUTCOMES
    ]
    return _counter("deliveries", "Attempts to deliver a message, by their outcome", attempts)


def _latencies(by_channel: Mapping[str, Any]) -> Metric:
    meaning = "Time from the first sight of a payment to the delivery of its message"
    family = HistogramMetricFamily("nodetill_received_told_seconds", meaning, labels=["channel"])
    for channel, latency in by_channel.items():
        family.add_metric([channel], buckets=latency["buckets"], sum_value=latency["sum"])
    return family


_Samples = Iterable[tuple[Mapping[str, str], float]]


def _gauge(name: str, meaning: str, samples: _Samples) -> Metric:
    return _filled(GaugeMetricFamily(f"nodetill_{name}", meaning), samples)


def _counter(name: str, meaning: str, samples: _Samples) -> Metric:
    family = CounterMetricFamily(f"nodetill_{name}", meaning)
    for labels, value in samples:
        family.add_sample(f"nodetill_{name}_total", dict(labels), value)
    return family


def _time(name: str, meaning: str, samples: Iterable[tuple[Mapping[str, str], datetime]]) -> Metric:
    """Return a gauge of a time, not of an age. An age would be wrong as soon as scrapes fail."""
    return _gauge(
        f"{name}_timestamp_seconds", meaning, [(labels, moment.timestamp()) for labels, moment in samples]
    )


def _filled(family: Metric, samples: _Samples) -> Metric:
    for labels, value in samples:
        family.add_sample(family.name, dict(labels), value)
    return family
