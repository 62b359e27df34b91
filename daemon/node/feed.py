"""bitcoind's ZMQ feed of raw transactions and new tips.

Messages make the daemon fast, but they prove nothing. A lost message does no harm. The daemon looks at
bitcoind itself after a gap in the sequence numbers, a new connection, or silence. The format is in Bitcoin
Core's doc/zmq.md.
"""

import struct
import time
from contextlib import closing
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import zmq

from config.addresses import is_ip_address, netloc_of
from daemon.net.connection import open_connection
from daemon.node.feed_places import Source, Sources

BATCH_SIZE, BATCH_BYTES = 250, 100_000
"""The limits of one batch of raw transactions. A new tip never waits for more than one batch."""

CHOICE_SECONDS, CHOICE_PAUSE_SECONDS = 1.0, 5.0
"""The time limit to choose an address of a host, and the pause after a choice that has not connected."""

NO_SOURCES = Sources()

_EVENT = struct.Struct("=hi")
_SEQUENCE = struct.Struct("<I")


@dataclass(slots=True)
class Batch:
    """The messages of one poll. `tips` and `lost` count messages of new tips and lost messages.

    `is_incomplete` is true where messages may be missing. The daemon then looks at bitcoind.
    """

    transactions: list[bytes] = field(default_factory=list)
    tips: int = 0
    is_incomplete: bool = False
    has_connected: bool = False
    lost: int = 0

    @property
    def has_new_tip(self) -> bool:
        """Return whether the node has a tip to read."""
        return self.tips > 0


class Feed:
    """The subscriptions to transactions and to new tips, each on a socket of its own.

    bitcoind has a queue for each socket. So transactions never push a tip out, even at one address.
    """

    def __init__(self, sources: Sources = NO_SOURCES) -> None:
        self._context = zmq.Context()
        self._poller = zmq.Poller()
        self._transactions: _Subscription | None = None
        self._tips: _Subscription | None = None
        self.subscribe(sources)

    @property
    def is_whole(self) -> bool:
        """Return whether transactions and new tips have a source, and both are connected."""
        both = (self._transactions, self._tips)
        return all(each is not None and each.is_connected for each in both)

    def subscribe(self, sources: Sources) -> None:
        """Change to these sources. A source that stays keeps its connection."""
        self._tips = self._changed(self._tips, sources.tips)
        self._transactions = self._changed(self._transactions, sources.transactions)

    def poll(self, timeout_seconds: float) -> Batch:
        """Wait for messages, and return a batch. The batch is empty after the timeout."""
        batch = Batch()
        subscriptions = self._subscriptions()
        if not subscriptions:
            # A poller without sockets does not wait.
            time.sleep(max(timeout_seconds, 0))
            return batch
        for each in subscriptions:
            each.choose_again()
        if self._poller.poll(int(max(timeout_seconds, 0) * 1000)):
            for each in subscriptions:
                each.take_connection_events(batch)
            if self._tips is not None:
                batch.tips = len(self._tips.take(batch))
            # bitcoind publishes a block's transactions before its tip. The tip need not wait for them.
            if self._transactions is not None and not batch.has_new_tip:
                batch.transactions = self._transactions.take(batch)
        return batch

    def silent_sources(self) -> list[Source]:
        """Return each source whose publisher is not connected."""
        return [each.source for each in self._subscriptions() if not each.is_connected]

    def close(self) -> None:
        """Close the sockets."""
        self._context.destroy(linger=0)

    def _subscriptions(self) -> "list[_Subscription]":
        return [each for each in (self._transactions, self._tips) if each is not None]

    def _changed(self, present: "_Subscription | None", source: Source | None) -> "_Subscription | None":
        if present is not None and present.source == source:
            return present
        if present is not None:
            present.close()
        return None if source is None else _Subscription(self._context, self._poller, source)


class _Subscription:
    """A socket that is subscribed to the topics of one source."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", poller: zmq.Poller, source: Source):
        self.source = source
        self.is_connected = False
        self._poller = poller
        self._expected: dict[bytes, int] = {}
        self._topics = [topic.encode() for topic in source.topics]
        self._socket = context.socket(zmq.SUB)
        # The default of 1000 loses most of a full block's messages even to an idle subscriber.
        self._socket.set(zmq.RCVHWM, 0)
        self._socket.set(zmq.RECONNECT_IVL, 100)
        self._socket.set(zmq.RECONNECT_IVL_MAX, 2000)
        # Heartbeats detect a publisher that vanished, and libzmq reconnects.
        self._socket.set(zmq.HEARTBEAT_IVL, 10_000)
        self._socket.set(zmq.HEARTBEAT_TIMEOUT, 30_000)
        self._monitor = self._socket.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
        )
        for topic in self._topics:
            self._socket.set(zmq.SUBSCRIBE, topic)
        self._endpoint: str | None = None
        self._choose_at = 0.0
        self._connect()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._monitor, zmq.POLLIN)

    def close(self) -> None:
        """Close the sockets. Messages that wait in them are lost."""
        for socket in (self._socket, self._monitor):
            self._poller.unregister(socket)
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close(linger=0)

    def choose_again(self) -> None:
        """Choose another address of the host if there has been no connection for a while."""
        if not self.is_connected and time.monotonic() >= self._choose_at:
            self._connect()

    def _connect(self) -> None:
        """Connect to the first address of the host that accepts a connection: libzmq tries only one."""
        endpoint = _reachable(self.source.address)
        if endpoint != self._endpoint:
            if self._endpoint is not None:
                self._socket.disconnect(self._endpoint)
            # Without this, libzmq reads a name as IPv4.
            self._socket.set(zmq.IPV6, int("[" in endpoint))
            self._socket.connect(endpoint)
            self._endpoint = endpoint
        self._choose_at = time.monotonic() + CHOICE_PAUSE_SECONDS

    def take_connection_events(self, batch: Batch) -> None:
        """Mark the batch incomplete if a connection has begun or ended.

        Messages between two connections are lost, and the sequence may not show that. A lost connection may
        mean that bitcoind has stopped, so the daemon looks at bitcoind at once.
        """
        while frames := _receive(self._monitor):
            event, _ = _EVENT.unpack(frames[0])
            self.is_connected = event == zmq.EVENT_HANDSHAKE_SUCCEEDED
            batch.has_connected |= self.is_connected
            batch.is_incomplete = True

    def take(self, batch: Batch) -> list[bytes]:
        """Return the bodies of the next messages, up to BATCH_SIZE or BATCH_BYTES.

        A foreign or malformed message only marks the batch incomplete.
        """
        bodies: list[bytes] = []
        size = 0
        while len(bodies) < BATCH_SIZE and size < BATCH_BYTES and (frames := _receive(self._socket)):
            if len(frames) != 3 or frames[0] not in self._topics or len(frames[2]) != _SEQUENCE.size:
                batch.is_incomplete = True
                continue
            bodies.append(frames[1])
            size += len(frames[1])
            self._count(frames[0], _SEQUENCE.unpack(frames[2])[0], batch)
        return bodies

    def _count(self, topic: bytes, sequence: int, batch: Batch) -> None:
        """Count missing numbers. Each message of a topic adds one, and a restart of bitcoind begins at 0."""
        expected = self._expected.get(topic, sequence)
        if sequence != expected:
            batch.is_incomplete = True
            batch.lost += max(sequence - expected, 0)
        self._expected[topic] = (sequence + 1) & 0xFFFFFFFF


def _receive(socket: "zmq.Socket[bytes]") -> list[bytes] | None:
    try:
        return socket.recv_multipart(zmq.NOBLOCK)
    except zmq.Again:
        return None


def _reachable(address: str) -> str:
    """Return the address with an IP address that accepts connections in place of a host name (RFC 8305).

    Return the address unchanged if it has no host name, or if nothing accepts a connection.
    """
    parts = urlsplit(address)
    if parts.scheme != "tcp" or not parts.hostname or parts.port is None or is_ip_address(parts.hostname):
        return address
    try:
        with closing(open_connection(parts.hostname, parts.port, CHOICE_SECONDS)) as connection:
            host = connection.getpeername()[0]
    except OSError:
        return address
    return f"tcp://{netloc_of(host, parts.port)}"
