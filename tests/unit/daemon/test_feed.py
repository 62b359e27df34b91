"""The feed limits each batch, so that a new tip does not wait for earlier transactions."""

import time
from collections.abc import Iterator
from contextlib import closing
from itertools import count

import pytest
import zmq

from daemon.node import feed as feed_module
from daemon.node.feed import BATCH_BYTES, BATCH_SIZE, Batch, Feed
from daemon.node.feed_places import Source, Sources
from regtest.child import free_ports
from tests.support.dead_address import NAME, dead_address, resolve
from tests.support.waiting import wait_until

LARGE = bytes(BATCH_BYTES * 3 // 5)


def sources_at(rawtx: str, hashblock: str) -> Sources:
    return Sources(Source(("rawtx",), rawtx), Source(("hashblock",), hashblock))


class Publisher:
    """A publisher like bitcoind, with an address of its own for each topic."""

    def __init__(
        self, addresses: list[str] | None = None, topics: tuple[str, str] = ("rawtx", "hashblock")
    ) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._sockets: dict[str, zmq.Socket[bytes]] = {}
        self._numbers = {topic: count() for topic in topics}
        self.addresses = addresses or [f"tcp://127.0.0.1:{port}" for port in free_ports(2)]
        for topic, address in zip(self._numbers, self.addresses, strict=True):
            # An XPUB socket receives each subscription, so the publisher can wait for it.
            self._sockets[topic] = self._context.socket(zmq.XPUB)
            self._sockets[topic].set(zmq.SNDHWM, 0)
            self._sockets[topic].set(zmq.IPV6, int("[" in address))
            self._sockets[topic].bind(address)

    def wait_for_subscriptions(self) -> None:
        """Wait until a subscriber has subscribed to both topics."""
        for topic, socket in self._sockets.items():
            assert socket.poll(30_000)
            assert socket.recv() == b"\x01" + topic.encode()

    def wait_for(self, topic: str, subscriptions: int = 1) -> None:
        """Wait until a subscriber has subscribed to so many topics at the address of this topic."""
        for _ in range(subscriptions):
            assert self._sockets[topic].poll(30_000)
            assert self._sockets[topic].recv().startswith(b"\x01")

    def skip(self, topic: str, messages: int) -> None:
        """Lose messages, as bitcoind does above its high-water mark."""
        for _ in range(messages):
            next(self._numbers[topic])

    def publish(self, topic: str, body: bytes) -> None:
        """Publish a message with the topic's next sequence number."""
        number = next(self._numbers[topic]).to_bytes(4, "little")
        self._sockets[topic].send_multipart([topic.encode(), body, number])

    def close(self) -> None:
        """Close the sockets after all messages are sent."""
        self._context.destroy()


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    """Open a publisher, which has no subscriber yet."""
    opened = Publisher()
    yield opened
    opened.close()


@pytest.fixture
def feed(publisher: Publisher) -> Iterator[Feed]:
    """Open a feed that is connected and subscribed."""
    opened = Feed(sources_at(*publisher.addresses))
    publisher.wait_for_subscriptions()
    while not opened.is_whole:
        opened.poll(0.1)
    yield opened
    opened.close()


def batch_sizes(feed: Feed, wanted: int) -> list[int]:
    """Return the number of transactions of each batch, until `wanted` have arrived."""
    found: list[int] = []
    while sum(found) < wanted:
        batch = feed.poll(1)
        if batch.transactions:
            found.append(len(batch.transactions))
    return found


def next_batch(feed: Feed) -> Batch:
    """Return the next batch with a message."""
    while not ((batch := feed.poll(1)).tips or batch.transactions):
        pass
    return batch


def test_a_batch_has_at_most_two_large_transactions(publisher: Publisher, feed: Feed) -> None:
    """Parsing each takes a millisecond or two."""
    for _ in range(4):
        publisher.publish("rawtx", LARGE)
    assert max(batch_sizes(feed, 4)) <= 2


def test_a_batch_has_at_most_batch_size_small_transactions(publisher: Publisher, feed: Feed) -> None:
    for _ in range(3 * BATCH_SIZE):
        publisher.publish("rawtx", b"small")
    assert max(batch_sizes(feed, 3 * BATCH_SIZE)) <= BATCH_SIZE


def test_a_new_tip_comes_before_waiting_transactions(publisher: Publisher, feed: Feed) -> None:
    """The daemon needs none of them to process a block."""
    publisher.publish("rawtx", b"first")
    publisher.publish("hashblock", bytes(32))
    tips = transactions = 0
    while not (tips and transactions):
        batch = feed.poll(1)
        assert not (batch.has_new_tip and batch.transactions)
        tips, transactions = tips + batch.tips, transactions + len(batch.transactions)
    assert (tips, transactions) == (1, 1)


def test_a_dead_address_of_the_host_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name has a dead IPv6 address before the live one."""
    publisher = Publisher()
    ports = [int(address.rpartition(":")[2]) for address in publisher.addresses]
    resolve(monkeypatch, "::1", "127.0.0.1")
    with dead_address("::1", ports[0]), dead_address("::1", ports[1]):
        feed = Feed(sources_at(*(f"tcp://{NAME}:{port}" for port in ports)))
        try:
            publisher.wait_for_subscriptions()
            publisher.publish("rawtx", b"\x01")
            assert batch_sizes(feed, 1) == [1]
        finally:
            feed.close()
            publisher.close()


def test_an_address_that_is_live_later_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """bitcoind listens only on IPv6, and starts after the daemon."""
    monkeypatch.setattr(feed_module, "CHOICE_PAUSE_SECONDS", 0.1)
    ports = free_ports(2)
    resolve(monkeypatch, "127.0.0.1", "::1")
    feed = Feed(sources_at(*(f"tcp://{NAME}:{port}" for port in ports)))
    feed.poll(0.1)
    publisher = Publisher([f"tcp://[::1]:{port}" for port in ports])
    try:
        wait_until(lambda: feed.poll(0.1) and feed.is_whole, what="both topics")
        publisher.wait_for_subscriptions()
        publisher.publish("rawtx", b"\x01")
        assert batch_sizes(feed, 1) == [1]
    finally:
        feed.close()
        publisher.close()


def test_rawblock_announces_a_tip_as_hashblock_does() -> None:
    """The subscriber of both topics takes whichever comes, and counts each topic's numbers apart."""
    publisher = Publisher(topics=("rawtx", "rawblock"))
    _, blocks = publisher.addresses
    feed = Feed(Sources(None, Source(("hashblock", "rawblock"), blocks)))
    try:
        wait_until(lambda: feed.poll(0.1) and not feed.silent_sources(), what="the connection")
        publisher.wait_for("rawblock", subscriptions=2)
        publisher.publish("rawblock", bytes(1_000_000))
        batch = next_batch(feed)
        assert (batch.tips, batch.lost, batch.transactions) == (1, 0, [])
        assert not feed.is_whole
    finally:
        feed.close()
        publisher.close()


def test_a_feed_without_sources_waits_and_brings_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the daemon would use a whole core while bitcoind publishes nothing."""
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    feed = Feed()
    try:
        batch = feed.poll(0.01)
        assert waits == [0.01]
        assert (batch.tips, batch.transactions, batch.is_incomplete) == (0, [], False)
        assert not feed.is_whole
        assert feed.silent_sources() == []
    finally:
        feed.close()


def test_another_source_takes_the_place_of_the_first(publisher: Publisher, feed: Feed) -> None:
    """The socket of new tips keeps its connection. The number of the new publisher's message is no gap."""
    publisher.publish("rawtx", b"old")
    assert batch_sizes(feed, 1) == [1]
    with closing(Publisher()) as other:
        rawtx, _ = other.addresses
        feed.subscribe(sources_at(rawtx, publisher.addresses[1]))
        wait_until(lambda: feed.poll(0.1) and feed.is_whole, what="both sources")
        other.wait_for("rawtx")
        publisher.publish("rawtx", b"nobody reads this")
        other.publish("rawtx", b"skipped, as its subscriber is new")
        assert batch_sizes(feed, 1) == [1]
        publisher.publish("hashblock", bytes(32))
        wait_until(lambda: feed.poll(0.1).has_new_tip, what="the tip")


def test_a_gap_in_the_numbers_counts_the_lost_messages(publisher: Publisher, feed: Feed) -> None:
    publisher.publish("rawtx", b"first")
    assert batch_sizes(feed, 1) == [1]
    publisher.skip("rawtx", 41)
    publisher.publish("rawtx", b"after the gap")
    batch = next_batch(feed)
    assert (batch.lost, batch.is_incomplete) == (41, True)
