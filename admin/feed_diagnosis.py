"""How it is with bitcoind's ZMQ feed: what it publishes, and whether that arrives here."""

import socket
import time
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from admin.diagnosis import Finding, not_tried, ok, wrong
from config import Settings
from daemon.bitcoind import Bitcoind, NodeError, RpcError
from daemon.feed import Feed
from daemon.node_answers import Publication
from daemon.node_checks import mark_problem, place_problem, topics

LISTEN_SECONDS = 5.0
"""On the main chain a transaction comes several times a second; a block once in ten minutes."""
LINGER_SECONDS = 0.5
CONNECT_SECONDS = 2.0


class FeedDiagnosis:
    """Listens from its creation on, beside the daemon: a publisher sends to each subscriber by itself."""

    def __init__(self, settings: Settings) -> None:
        self._topics = topics(settings)
        self._feed = Feed(*(address for _, address in self._topics))
        self._until = time.monotonic() + LISTEN_SECONDS
        self._received: set[str] = set()

    def findings(self, node: Bitcoind) -> Iterator[Finding]:
        """One of each topic, within LISTEN_SECONDS of the beginning."""
        try:
            published: Sequence[Publication] | None = node.publications()
        except (NodeError, RpcError):
            published = None
        self._listen()
        for topic, address in self._topics:
            yield from self._of_topic(topic, address, published)

    def close(self) -> None:
        """Let the connections go."""
        self._feed.close()

    def _of_topic(
        self, topic: str, address: str, published: Sequence[Publication] | None
    ) -> Iterator[Finding]:
        problem = place_problem(topic, address, published) if published is not None else None
        if problem is not None:
            yield wrong(topic, problem)
            return
        silent = f"{topic} at {address}" in self._feed.silent_topics()
        if silent:
            yield wrong(topic, _why_silent(topic, address))
        elif topic in self._received:
            yield ok(topic, f"comes from {address}")
        elif published is None:
            yield from not_tried(
                [topic], f"connected to {address}; bitcoind can't be asked what it publishes"
            )
        else:
            yield ok(
                topic,
                f"connected to {address}, where bitcoind publishes it; {_why_none(topic)}",
            )
        mark = mark_problem(topic, address, published) if published is not None else None
        if mark is not None:
            yield wrong(topic, mark)

    def _listen(self) -> None:
        """Until a transaction has come and both are connected, or the time is up; a block is waited for no
        longer than it takes after its transactions."""
        until = self._until
        while True:
            batch = self._feed.poll(until - time.monotonic())
            if batch.has_new_tip:
                self._received.add("hashblock")
            if batch.transactions and "rawtx" not in self._received:
                self._received.add("rawtx")
                until = min(until, time.monotonic() + LINGER_SECONDS)
            is_connected = not self._feed.silent_topics()
            if time.monotonic() >= (until if is_connected else self._until):
                return


def _why_none(topic: str) -> str:
    if topic == "rawtx":
        return f"none came in {LISTEN_SECONDS:g} s, as is usual where few transactions are made"
    return "no new block came meanwhile"


def _why_silent(topic: str, address: str) -> str:
    """Why there is no connection to a publisher there."""
    parts = urlsplit(address)
    if parts.scheme != "tcp" or parts.hostname is None or parts.port is None:
        return f"nobody publishes at {address}"
    try:
        socket.create_connection((parts.hostname, parts.port), CONNECT_SECONDS).close()
    except OSError as error:
        return (
            f"{address} cannot be reached ({error.strerror or 'timed out'}): "
            f"see that BITCOIND_ZMQ_{topic.upper()} is right, and that no firewall is between"
        )
    return f"what listens at {address} is no ZMQ publisher: give bitcoind a port that is free"
