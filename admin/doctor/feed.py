"""How it is with bitcoind's ZMQ feed: what it publishes, and whether that arrives here."""

import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from admin.doctor.findings import Finding, advice, not_tried, ok, wrong
from config import Settings
from daemon.node.checks import mark_problem, place_problem, topics
from daemon.node.client import Bitcoind
from daemon.node.feed import Feed
from daemon.node.rpc import NodeError, RpcError

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
        """One of each topic, within LISTEN_SECONDS of the beginning, and of a mark that is too small."""
        try:
            chain, published = node.tip().chain, node.publications()
        except (NodeError, RpcError):
            chain, published = None, None
        self._listen()
        for topic, address in self._topics:
            if chain is None or published is None:
                is_here = topic in self._received
                yield ok(topic, f"comes from {address}") if is_here else self._unasked(topic, address)
                continue
            problem = place_problem(topic, address, published)
            if problem is not None:
                yield wrong(topic, problem)
                continue
            yield self._heard(topic, address) or _unheard(topic, address, chain)
            mark = mark_problem(topic, address, published)
            if mark is not None:
                yield wrong(topic, mark)

    def close(self) -> None:
        """Let the connections go."""
        self._feed.close()

    def _unasked(self, topic: str, address: str) -> Finding:
        """bitcoind can't be asked what it publishes."""
        is_silent = f"{topic} at {address}" in self._feed.silent_topics()
        how = f"nobody publishes at {address}" if is_silent else f"connected to {address}, where nothing came"
        return next(not_tried([topic], f"bitcoind does not answer; {how}"))

    def _heard(self, topic: str, address: str) -> Finding | None:
        """That it comes, or that it can't; None where nothing was published."""
        if f"{topic} at {address}" in self._feed.silent_topics():
            return wrong(topic, _why_silent(topic, address))
        return ok(topic, f"comes from {address}") if topic in self._received else None

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


def _unheard(topic: str, address: str, chain: str) -> Finding:
    """It is published, we are connected, and there was nothing to be told."""
    how = f"connected to {address}, where bitcoind publishes it"
    if topic != "rawtx":
        return ok(topic, f"{how}; no new block came meanwhile")
    if chain != "main":
        return ok(topic, f"{how}; none came in {LISTEN_SECONDS:g} s, as is usual where few are made")
    return advice(
        topic,
        f"{how}; none came in {LISTEN_SECONDS:g} s, which is odd on the main chain: see that bitcoind has "
        "peers (bitcoin-cli getconnectioncount)",
    )


def _why_silent(topic: str, address: str) -> str:
    """Why there is no connection to a publisher there."""
    parts = urlsplit(address)
    if parts.scheme != "tcp" or parts.hostname is None or parts.port is None:
        return f"nobody publishes at {address}: see that bitcoind runs, and that we may open that path"
    try:
        socket.create_connection((parts.hostname, parts.port), CONNECT_SECONDS).close()
    except OSError as error:
        return (
            f"{address} cannot be reached ({error.strerror or 'timed out'}): "
            f"see that BITCOIND_ZMQ_{topic.upper()} is right, and that no firewall is between"
        )
    return f"what listens at {address} is no ZMQ publisher: give bitcoind a port that is free"
