"""Checks of bitcoind's ZMQ feed: what bitcoind publishes, and if it arrives."""

import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit

from admin.doctor.findings import Finding, advice, not_tried, ok, wrong
from config import Settings
from daemon.node.client import Bitcoind
from daemon.node.errors import BitcoindError
from daemon.node.feed import Feed
from daemon.node.feed_checks import (
    FeedSetUp,
    Part,
    feed_parts,
    find_feed,
    part_advice,
    place_problem,
    silence_advice,
)
from daemon.node.feed_places import HASHBLOCK, HASHBLOCK_SETTING, RAWTX, RAWTX_SETTING, Source, choose

LISTEN_SECONDS = 5.0
"""The main chain has several transactions a second, but only one block in ten minutes."""
LINGER_SECONDS = 0.5
CONNECT_SECONDS = 2.0


class FeedDiagnosis:
    """Listens to the feed from its creation on, beside the daemon.

    The daemon loses no message, because a ZMQ publisher sends each message to every subscriber.
    """

    def __init__(self, settings: Settings, node: Bitcoind) -> None:
        self._settings = settings
        self._found = _found(settings, node)
        sources = choose(settings, None) if self._found is None else self._found.sources
        self._parts = feed_parts(settings, sources)
        self._feed = Feed(sources)
        self._until = time.monotonic() + (LISTEN_SECONDS if sources.transactions else LINGER_SECONDS)
        self._received: set[str] = set()

    def findings(self, node: Bitcoind, lost: int = 0) -> Iterator[Finding]:
        """Yield a finding for the choice of `auto`, and findings for each part of the feed.

        `lost` counts the messages that the daemon has lost. The listening ends at the latest LISTEN_SECONDS
        after this object's creation.
        """
        try:
            chain = node.tip().chain
        except BitcoindError:
            chain = None
        self._listen()
        if chain is None or self._found is None:
            yield from (self._unchecked(part) for part in self._parts)
            return
        yield from self._of_choice(self._found)
        for part in self._parts:
            yield from self._of_part(part, self._found, chain)
        if lost:
            yield advice(
                "feed",
                f"the daemon has lost {lost:,} messages since its start. It noticed that, and looked at the "
                "chain and the mempool each time",
            )

    def close(self) -> None:
        self._feed.close()

    def _of_choice(self, found: FeedSetUp) -> Iterator[Finding]:
        """Yield the two settings that `auto` chooses, also where the settings have addresses."""
        if found.published is None:
            yield from (advice("feed", line) for line in found.advice)
            return
        auto = replace(self._settings, bitcoind_zmq_rawtx=None, bitcoind_zmq_hashblock=None)
        sources = choose(auto, found.published)
        chosen = ((RAWTX_SETTING, sources.transactions), (HASHBLOCK_SETTING, sources.tips))
        lines = [_choice(setting, source) for setting, source in chosen if source is not None]
        if lines:
            yield ok("feed", f"auto chooses {' and '.join(lines)}")

    def _of_part(self, part: Part, found: FeedSetUp, chain: str) -> Iterator[Finding]:
        published = found.published
        problem = None if published is None else place_problem(part, published)
        if problem is not None:
            yield wrong(part.name, problem)
            return
        if part.source is not None:
            yield self._of_messages(part, part.source, chain)
        if published is not None:
            lines = part_advice(part, published, self._settings.rpc_host)
            yield from (advice(part.name, line) for line in lines)

    def _of_messages(self, part: Part, source: Source, chain: str) -> Finding:
        """Return whether messages arrive, or whether the connection stands."""
        if source in self._feed.silent_sources():
            if source.is_found:
                return advice(part.name, silence_advice(source))
            return wrong(part.name, _why_silent(part.setting, source.address))
        if part.name in self._received:
            return ok(part.name, _comes_from(part, source))
        return _of_no_message(part, source, chain)

    def _unchecked(self, part: Part) -> Finding:
        """Return the finding where bitcoind does not answer what it publishes."""
        source = part.source
        if source is None:
            how = f"{part.setting} is auto, and bitcoind does not answer where it publishes"
        elif part.name in self._received:
            return ok(part.name, _comes_from(part, source))
        elif source in self._feed.silent_sources():
            how = f"bitcoind does not answer; nothing publishes at {source.address}"
        else:
            how = f"bitcoind does not answer; connected to {source.address}; no message came"
        return next(not_tried([part.name], how))

    def _listen(self) -> None:
        """Listen until a transaction has come and all sources are connected, or until the time is up.

        After the first transaction, wait only LINGER_SECONDS longer for a block.
        """
        until = self._until
        while True:
            batch = self._feed.poll(until - time.monotonic())
            if batch.has_new_tip:
                self._received.add(HASHBLOCK)
            if batch.transactions and RAWTX not in self._received:
                self._received.add(RAWTX)
                until = min(until, time.monotonic() + LINGER_SECONDS)
            is_connected = not self._feed.silent_sources()
            if time.monotonic() >= (until if is_connected else self._until):
                return


def _found(settings: Settings, node: Bitcoind) -> FeedSetUp | None:
    """Return the feed as it is found, or None where bitcoind does not answer."""
    try:
        return find_feed(settings, node)
    except BitcoindError:
        return None


def _choice(setting: str, source: Source) -> str:
    topic = source.topics[0]
    return f"{setting}={source.address}{'' if topic in (RAWTX, HASHBLOCK) else f' ({topic})'}"


def _comes_from(part: Part, source: Source) -> str:
    topic = source.topics[0]
    return f"comes from {source.address}{'' if topic == part.name else f', as {topic}'}"


def _of_no_message(part: Part, source: Source, chain: str) -> Finding:
    """Return the finding where bitcoind publishes the topic and we are connected, but no message came."""
    how = f"connected to {source.address}, where bitcoind publishes {source.topics[0]}"
    if part.name != RAWTX:
        return ok(part.name, f"{how}; no new block came meanwhile")
    if chain != "main":
        return ok(part.name, f"{how}; none came in {LISTEN_SECONDS:g} s, which is usual on a quiet chain")
    return advice(
        part.name,
        f"{how}; none came in {LISTEN_SECONDS:g} s, which is odd on the main chain: check that bitcoind has "
        "peers (bitcoin-cli getconnectioncount)",
    )


def _why_silent(setting: str, address: str) -> str:
    """Return why there is no connection to a publisher at the address of the setting."""
    parts = urlsplit(address)
    if parts.scheme != "tcp" or parts.hostname is None or parts.port is None:
        return f"nothing publishes at {address}: check that bitcoind runs, and that we may open that path"
    try:
        socket.create_connection((parts.hostname, parts.port), CONNECT_SECONDS).close()
    except OSError as error:
        return (
            f"{address} cannot be reached ({error.strerror or 'timed out'}): "
            f"set {setting}=auto, or check that no firewall blocks it"
        )
    return f"the program that listens at {address} is no ZMQ publisher: give bitcoind a free port"
