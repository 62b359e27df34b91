"""A node in memory behind bitcoind's interfaces: JSON-RPC over HTTP, and the ZMQ feed.

It stands in for regtest.node.RegtestNode where a test needs a whole daemon and no property that only a real
bitcoind has. Formats: Bitcoin Core's doc/JSON-RPC-interface.md and doc/zmq.md.
"""

import json
import secrets
import socket
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

import zmq

from daemon.node.errors import RpcError
from regtest.child import free_ports
from tests.support.in_memory_miner import MiningNode
from tests.support.in_memory_node import StoredBlock
from tests.support.local_server import LocalServer

MISC_ERROR, NO_SUCH_WALLET = -1, -18  # Core's rpc/protocol.h
MAX_PARAMETERS = 15


class InMemoryBitcoind(MiningNode):
    """A node that listens on ports of 127.0.0.1 while it runs."""

    def __init__(self, directory: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        super().__init__(now)
        self.password = secrets.token_urlsafe()
        self.rpc_port, self._rawtx_port, self._hashblock_port = free_ports(3)
        self.zmq_rawtx = f"tcp://127.0.0.1:{self._rawtx_port}"
        self.zmq_hashblock = f"tcp://127.0.0.1:{self._hashblock_port}"
        self.topics = [("rawtx", self.zmq_rawtx, 0), ("hashblock", self.zmq_hashblock, 0)]
        """The published topics with their addresses and high-water marks, from the next launch on."""
        self.cookie_file = directory / ".cookie"
        self._lock = threading.RLock()
        self._server: _RpcServer | None = None
        self._feed: _Publisher | None = None

    @property
    def rpc_url(self) -> str:
        return f"http://nodetill:{self.password}@127.0.0.1:{self.rpc_port}"

    @property
    def is_running(self) -> bool:
        return self._server is not None

    def launch(self) -> None:
        self._feed = _Publisher(self.topics, lambda: self._tip)
        self.feeds.append(self._feed)
        self._server = _RpcServer(self)
        self._server.__enter__()

    def stop(self) -> None:
        """Close the ports and all connections. The chain and the mempool stay, as on a disk."""
        if self._server is None or self._feed is None:
            return
        self._server.__exit__(None, None, None)
        self.feeds.remove(self._feed)
        self._feed.close()
        self._server = self._feed = None

    def kill(self) -> None:
        """Close the ports, and lose all that was not on the disk."""
        self.stop()
        super().kill()

    def restart(self, *extra: str) -> None:
        self.stop()
        self.launch()

    def rpc(self, method: str, *arguments: Any, wallet: str | None = None, seconds: float = 0) -> Any:
        with self._lock:
            return super().rpc(method, *arguments, wallet=wallet)

    def answer(self, path: str, call: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to one call of a client."""
        wallet = unquote(path.removeprefix("/wallet/")) if path.startswith("/wallet/") else None
        result, problem = None, None
        try:
            if len(call["params"]) > MAX_PARAMETERS:
                raise RpcError(MISC_ERROR, "too many parameters")
            if wallet is not None and wallet not in self._wallets:
                raise RpcError(NO_SUCH_WALLET, "Requested wallet does not exist")
            result = self.rpc(call["method"], *call["params"], wallet=wallet)
        except RpcError as error:
            problem = {"code": error.code, "message": str(error)}
        return {"result": result, "error": problem, "id": call.get("id")}

    def _rpc_getzmqnotifications(self) -> list[dict[str, Any]]:
        return [{"type": f"pub{topic}", "address": place, "hwm": mark} for topic, place, mark in self.topics]


class _Publisher:
    """The publisher of these topics. The messages of each have a number of their own.

    Topics at one address share a socket, whose high-water mark is that of the first topic in the alphabet.
    """

    def __init__(self, topics: Sequence[tuple[str, str, int]], tip: Callable[[], StoredBlock]) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        bound: dict[str, zmq.Socket[bytes]] = {}
        self._sockets: dict[bytes, zmq.Socket[bytes]] = {}
        for topic, address, mark in sorted(topics):
            if address not in bound:
                bound[address] = self._bound(address, mark)
            self._sockets[topic.encode()] = bound[address]
        self._numbers = dict.fromkeys(self._sockets, 0)
        self._tip = tip

    def publish(self, raw: bytes) -> None:
        self._send(b"rawtx", raw)

    def publish_tip(self) -> None:
        self._send(b"hashblock", bytes.fromhex(self._tip().hash))
        self._send(b"rawblock", self._tip().raw)

    def reconnect(self) -> None:
        """Do nothing: a restart makes another publisher."""

    def close(self) -> None:
        self._context.destroy(linger=0)

    def _send(self, topic: bytes, body: bytes) -> None:
        if topic not in self._sockets:
            return
        self._sockets[topic].send_multipart([topic, body, self._numbers[topic].to_bytes(4, "little")])
        self._numbers[topic] += 1

    def _bound(self, address: str, mark: int) -> "zmq.Socket[bytes]":
        publisher = self._context.socket(zmq.PUB)
        publisher.set(zmq.SNDHWM, mark)
        publisher.bind(address)
        return publisher


class _RpcServer(LocalServer):
    """The node's port for calls."""

    def __init__(self, bitcoind: InMemoryBitcoind) -> None:
        super().__init__(bitcoind.rpc_port)

        class Handler(_Handler):
            node = bitcoind

        self._handler = Handler

    def _serve(self, connection: socket.socket) -> None:
        self._handler(connection, connection.getpeername(), self._server)


class _Handler(BaseHTTPRequestHandler):
    """A connection to the node."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    node: InMemoryBitcoind

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        calls = body if isinstance(body, list) else [body]
        answers = [self.node.answer(self.path, call) for call in calls]
        has_failed = isinstance(body, dict) and answers[0]["error"] is not None
        self._send(500 if has_failed else 200, answers if isinstance(body, list) else answers[0])

    def do_GET(self) -> None:
        """Refuse REST, as bitcoind does without rest=1."""
        self._send(404, None)

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def _send(self, status: int, document: Any) -> None:
        body = json.dumps(document, default=_number).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _number(value: object) -> float:
    return float(cast(Decimal, value))
