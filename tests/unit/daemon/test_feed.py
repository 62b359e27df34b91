"""How much the feed takes at a time: a new tip does not wait for what came before it."""

from collections.abc import Iterator
from itertools import count

import pytest
import zmq

from daemon.node import feed as feed_module
from daemon.node.feed import BATCH_BYTES, BATCH_SIZE, Feed
from regtest.child import free_ports
from tests.support.dead_address import NAME, dead_address, resolve
from tests.support.waiting import wait_until

LARGE = bytes(BATCH_BYTES * 3 // 5)


class Publisher:
    """Publishes as bitcoind does, each topic at an address of its own."""

    def __init__(self, addresses: list[str] | None = None) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._sockets: dict[str, zmq.Socket[bytes]] = {}
        self._numbers = {"rawtx": count(), "hashblock": count()}
        self.addresses = addresses or [f"tcp://127.0.0.1:{port}" for port in free_ports(2)]
        for topic, address in zip(self._numbers, self.addresses, strict=True):
            # XPUB: it is told of a subscription, and can wait for it.
            self._sockets[topic] = self._context.socket(zmq.XPUB)
            self._sockets[topic].set(zmq.SNDHWM, 0)
            self._sockets[topic].set(zmq.IPV6, int("[" in address))
            self._sockets[topic].bind(address)

    def wait_for_subscriptions(self) -> None:
        """Until both topics have been asked for."""
        for topic, socket in self._sockets.items():
            assert socket.poll(30_000)
            assert socket.recv() == b"\x01" + topic.encode()

    def say(self, topic: str, body: bytes) -> None:
        """A message, with the topic's next number."""
        number = next(self._numbers[topic]).to_bytes(4, "little")
        self._sockets[topic].send_multipart([topic.encode(), body, number])

    def close(self) -> None:
        """Let the sockets go, once all is sent."""
        self._context.destroy()


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    """One with a subscriber to come."""
    opened = Publisher()
    yield opened
    opened.close()


@pytest.fixture
def feed(publisher: Publisher) -> Iterator[Feed]:
    """Connected and subscribed."""
    opened = Feed(*publisher.addresses)
    publisher.wait_for_subscriptions()
    while opened.silent_topics():
        opened.poll(0.1)
    yield opened
    opened.close()


def sizes(feed: Feed, wanted: int) -> list[int]:
    """How many transactions each batch has, until there were so many."""
    found: list[int] = []
    while sum(found) < wanted:
        batch = feed.poll(1)
        if batch.transactions:
            found.append(len(batch.transactions))
    return found


def test_after_two_large_transactions_no_third_is_taken(publisher: Publisher, feed: Feed) -> None:
    """To read each of them takes a millisecond or two."""
    for _ in range(4):
        publisher.say("rawtx", LARGE)
    assert max(sizes(feed, 4)) <= 2


def test_of_small_ones_no_more_than_a_batch_is_taken(publisher: Publisher, feed: Feed) -> None:
    """However many there are."""
    for _ in range(3 * BATCH_SIZE):
        publisher.say("rawtx", b"small")
    assert max(sizes(feed, 3 * BATCH_SIZE)) <= BATCH_SIZE


def test_a_new_tip_comes_before_the_transactions_that_wait(publisher: Publisher, feed: Feed) -> None:
    """It needs none of them."""
    publisher.say("rawtx", b"first")
    publisher.say("hashblock", bytes(32))
    tips = transactions = 0
    while not (tips and transactions):
        batch = feed.poll(1)
        assert not (batch.has_new_tip and batch.transactions)
        tips, transactions = tips + batch.tips, transactions + len(batch.transactions)
    assert (tips, transactions) == (1, 1)


def test_a_dead_address_of_the_host_is_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name has a dead IPv6 address before the live one, or nothing listens yet: the feed arrives."""
    publisher = Publisher()
    ports = [int(address.rpartition(":")[2]) for address in publisher.addresses]
    resolve(monkeypatch, "::1", "127.0.0.1")
    with dead_address("::1", ports[0]), dead_address("::1", ports[1]):
        feed = Feed(*(f"tcp://{NAME}:{port}" for port in ports))
        try:
            publisher.wait_for_subscriptions()
            publisher.say("rawtx", b"\x01")
            assert sizes(feed, 1) == [1]
        finally:
            feed.close()
            publisher.close()


def test_an_address_that_comes_alive_later_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """bitcoind listens on IPv6 alone, and starts after the daemon."""
    monkeypatch.setattr(feed_module, "CHOICE_PAUSE_SECONDS", 0.1)
    ports = free_ports(2)
    resolve(monkeypatch, "127.0.0.1", "::1")
    feed = Feed(*(f"tcp://{NAME}:{port}" for port in ports))
    feed.poll(0.1)
    publisher = Publisher([f"tcp://[::1]:{port}" for port in ports])
    try:
        wait_until(lambda: feed.poll(0.1) and not feed.silent_topics(), what="both topics")
        publisher.wait_for_subscriptions()
        publisher.say("rawtx", b"\x01")
        assert sizes(feed, 1) == [1]
    finally:
        feed.close()
        publisher.close()
