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

BATCH_SIZE, BATCH_BYTES = 250, 100_000
"""The limits of one batch of raw transactions. A new tip never waits for more than one batch."""

CHOICE_SECONDS, CHOICE_PAUSE_SECONDS = 1.0, 5.0
"""The time limit to choose an address of a host, and the pause after a choice that has not connected."""

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
    """The subscriptions to both topics, each on a socket of its own."""

    def __init__(self, rawtx_address: str, hashblock_address: str) -> None:
        self._context = zmq.Context()
        self._poller = zmq.Poller()
        self._hashblock = _Topic(self._context, self._poller, b"hashblock", hashblock_address)
        self._rawtx = _Topic(self._context, self._poller, b"rawtx", rawtx_address)

    def poll(self, timeout_seconds: float) -> Batch:
        """Wait for messages, and return a batch. The batch is empty after the timeout."""
        batch = Batch()
        for topic in (self._hashblock, self._rawtx):
            topic.choose_again()
        if self._poller.poll(int(max(timeout_seconds, 0) * 1000)):
            for topic in (self._hashblock, self._rawtx):
                topic.take_connection_events(batch)
            batch.tips = len(self._hashblock.take(batch))
            # bitcoind publishes a block's transactions before its tip. The tip need not wait for them.
            if not batch.has_new_tip:
                batch.transactions = self._rawtx.take(batch)
        return batch

    def silent_topics(self) -> list[str]:
        """Return each topic whose publisher is not connected, with its address."""
        return [f"{t.name} at {t.address}" for t in (self._rawtx, self._hashblock) if not t.is_connected]

    def close(self) -> None:
        """Close the sockets."""
        self._context.destroy(linger=0)


class _Topic:
    def __init__(
        self, context: "zmq.Context[zmq.Socket[bytes]]", poller: zmq.Poller, topic: bytes, address: str
    ):
        self.name = topic.decode()
        self.address = address
        self.is_connected = False
        self._topic = topic
        self._expected: int | None = None
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
        self._socket.set(zmq.SUBSCRIBE, topic)
        self._endpoint: str | None = None
        self._choose_at = 0.0
        self._connect()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._monitor, zmq.POLLIN)

    def choose_again(self) -> None:
        """Choose another address of the host if the topic has not been connected for a while."""
        if not self.is_connected and time.monotonic() >= self._choose_at:
            self._connect()

    def _connect(self) -> None:
        """Connect to the first address of the host that accepts a connection: libzmq tries only one."""
        endpoint = _reachable(self.address)
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
            if len(frames) != 3 or frames[0] != self._topic or len(frames[2]) != _SEQUENCE.size:
                batch.is_incomplete = True
                continue
            bodies.append(frames[1])
            size += len(frames[1])
            self._count(_SEQUENCE.unpack(frames[2])[0], batch)
        return bodies

    def _count(self, sequence: int, batch: Batch) -> None:
        """Count missing numbers. Each message of a topic adds one, and a restart of bitcoind begins at 0."""
        if self._expected is not None and sequence != self._expected:
            batch.is_incomplete = True
            batch.lost += max(sequence - self._expected, 0)
        self._expected = (sequence + 1) & 0xFFFFFFFF


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
