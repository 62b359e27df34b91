"""Checks of bitcoind's ZMQ feed: what bitcoind publishes, and if it arrives."""

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
"""The main chain has several transactions a second, but only one block in ten minutes."""
LINGER_SECONDS = 0.5
CONNECT_SECONDS = 2.0


class FeedDiagnosis:
    """Listens to the feed from its creation on, beside the daemon.

    The daemon loses no message, because a ZMQ publisher sends each message to every subscriber.
    """

    def __init__(self, settings: Settings) -> None:
        self._topics = topics(settings)
        self._feed = Feed(*(address for _, address in self._topics))
        self._until = time.monotonic() + LISTEN_SECONDS
        self._received: set[str] = set()

    def findings(self, node: Bitcoind) -> Iterator[Finding]:
        """Yield a finding for each topic, and one for each high-water mark that is too small.

        The listening ends at the latest LISTEN_SECONDS after this object's creation.
        """
        try:
            chain, published = node.tip().chain, node.publications()
        except (NodeError, RpcError):
            chain, published = None, None
        self._listen()
        for topic, address in self._topics:
            if chain is None or published is None:
                has_come = topic in self._received
                yield ok(topic, f"comes from {address}") if has_come else self._unchecked(topic, address)
                continue
            problem = place_problem(topic, address, published)
            if problem is not None:
                yield wrong(topic, problem)
                continue
            yield self._of_messages(topic, address) or _of_no_message(topic, address, chain)
            mark = mark_problem(topic, address, published)
            if mark is not None:
                yield wrong(topic, mark)

    def close(self) -> None:
        self._feed.close()

    def _unchecked(self, topic: str, address: str) -> Finding:
        """Return the finding where bitcoind does not answer what it publishes, and no message came."""
        is_silent = f"{topic} at {address}" in self._feed.silent_topics()
        how = f"nothing publishes at {address}" if is_silent else f"connected to {address}; no message came"
        return next(not_tried([topic], f"bitcoind does not answer; {how}"))

    def _of_messages(self, topic: str, address: str) -> Finding | None:
        """Return whether messages arrive, or None where the connection stands but no message came."""
        if f"{topic} at {address}" in self._feed.silent_topics():
            return wrong(topic, _why_silent(topic, address))
        return ok(topic, f"comes from {address}") if topic in self._received else None

    def _listen(self) -> None:
        """Listen until a transaction has come and both topics are connected, or until the time is up.

        After the first transaction, wait only LINGER_SECONDS longer for a block.
        """
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


def _of_no_message(topic: str, address: str, chain: str) -> Finding:
    """Return the finding where bitcoind publishes the topic and we are connected, but no message came."""
    how = f"connected to {address}, where bitcoind publishes it"
    if topic != "rawtx":
        return ok(topic, f"{how}; no new block came meanwhile")
    if chain != "main":
        return ok(topic, f"{how}; none came in {LISTEN_SECONDS:g} s, which is usual on a quiet chain")
    return advice(
        topic,
        f"{how}; none came in {LISTEN_SECONDS:g} s, which is odd on the main chain: see that bitcoind has "
        "peers (bitcoin-cli getconnectioncount)",
    )


def _why_silent(topic: str, address: str) -> str:
    """Return why there is no connection to a publisher at the address."""
    parts = urlsplit(address)
    if parts.scheme != "tcp" or parts.hostname is None or parts.port is None:
        return f"nothing publishes at {address}: see that bitcoind runs, and that we may open that path"
    try:
        socket.create_connection((parts.hostname, parts.port), CONNECT_SECONDS).close()
    except OSError as error:
        return (
            f"{address} cannot be reached ({error.strerror or 'timed out'}): "
            f"see that BITCOIND_ZMQ_{topic.upper()} is right, and that no firewall is between"
        )
    return f"the program that listens at {address} is no ZMQ publisher: give bitcoind a free port"
