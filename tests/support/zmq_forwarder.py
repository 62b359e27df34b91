"""A forwarder between bitcoind's ZMQ feed and the daemon, which drops messages as the test chooses."""

import random
import threading
from collections import deque
from types import TracebackType
from typing import Self

import zmq

from regtest.child import free_ports
from regtest.node import RegtestNode

POLL_MILLISECONDS = 10


class ZmqForwarder:
    """Forwards messages unchanged, with their sequence numbers, and drops the fraction `loss` of them."""

    def __init__(self, node: RegtestNode, loss: float = 0.0) -> None:
        self.loss = loss
        self.passed = self.lost = 0
        self.rawtx, self.hashblock = (f"tcp://127.0.0.1:{port}" for port in free_ports(2))
        self._pairs = ((node.zmq_rawtx, self.rawtx), (node.zmq_hashblock, self.hashblock))
        self._invented: deque[list[bytes]] = deque()
        self._random = random.Random(11)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def settings(self) -> dict[str, str]:
        """The settings that connect a daemon to this forwarder."""
        return {"BITCOIND_ZMQ_RAWTX": self.rawtx, "BITCOIND_ZMQ_HASHBLOCK": self.hashblock}

    def say(self, topic: bytes, body: bytes, sequence: int = 0) -> None:
        """Publish a message that bitcoind did not send."""
        self._invented.append([topic, body, sequence.to_bytes(4, "little")])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        poller = zmq.Poller()
        outgoing_of = {}
        for source, own in self._pairs:
            incoming, outgoing = context.socket(zmq.SUB), context.socket(zmq.PUB)
            for socket in (incoming, outgoing):
                socket.set(zmq.RCVHWM if socket is incoming else zmq.SNDHWM, 0)
            incoming.set(zmq.SUBSCRIBE, b"")
            incoming.set(zmq.RECONNECT_IVL, 100)
            incoming.connect(source)
            outgoing.bind(own)
            poller.register(incoming, zmq.POLLIN)
            outgoing_of[incoming] = outgoing
        while not self._is_over.is_set():
            for incoming, _ in poller.poll(POLL_MILLISECONDS):
                self._pass_on(incoming.recv_multipart(), outgoing_of[incoming])
            while self._invented:
                frames = self._invented.popleft()
                list(outgoing_of.values())[frames[0] == b"hashblock"].send_multipart(frames)
        context.destroy(linger=0)

    def _pass_on(self, frames: list[bytes], outgoing: "zmq.Socket[bytes]") -> None:
        if self._random.random() < self.loss:
            self.lost += 1
            return
        self.passed += 1
        outgoing.send_multipart(frames)
