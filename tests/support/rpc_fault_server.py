"""A proxy between the daemon and bitcoind, which answers with a fault that the test chooses."""

import http.client
import http.server
import json
import socket
import threading
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

from regtest.node import RegtestNode
from tests.support.local_server import LocalServer

WARMUP = {"result": None, "error": {"code": -28, "message": "Loading block index…"}, "id": 1}
RESCANNING = b'"scanning":{"duration":7,"progress":0.5}'
OUT_OF_RANGE = {"result": None, "error": {"code": -8, "message": "Block height out of range"}, "id": 1}
NOT_FOUND = {"result": None, "error": {"code": -5, "message": "Block not found"}, "id": 1}

WALLET_ERROR = {"result": None, "error": {"code": -4, "message": "Wallet is currently rescanning."}, "id": 1}


class RpcFault(Enum):
    """The answer to a call."""

    NONE = "bitcoind's own answer"
    BUSY = "503, in plain text, because the work queue is full"
    WARMUP = "-28, because bitcoind is starting"
    GARBAGE = "bytes that are not JSON, with JSON's content type"
    NOT_RPC = "JSON that is no JSON-RPC answer"
    NO_HTTP = "bytes that are not HTTP"
    HALF = "half of an answer, and then the end of the connection"
    STALL = "half of an answer, and then nothing"
    SILENCE = "nothing at all"
    DROP = "the end of the connection"
    LOWER_TIP = "a chain that ends lower, and an empty mempool"
    SCANNING = "a wallet that rescans the chain, and lists nothing meanwhile"


class RpcFaultServer(LocalServer):
    """Answers each call with `fault`. At LOWER_TIP the chain ends `blocks_lost` blocks below its tip.

    With `is_rescanning`, getwalletinfo reports a rescan, because a real one is too short on regtest.
    """

    def __init__(self, node: RegtestNode) -> None:
        super().__init__()
        self.fault = RpcFault.NONE
        self.blocks_lost = 3
        self.is_rescanning = False
        self.calls: list[str] = []
        self._node = node
        self._is_fault_over = threading.Event()
        self._most_at_once = self._at_once = 0
        self._lock = threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                outer._serve_call(self)

            def log_message(self, *_: object) -> None:
                """Log nothing, because no test reads this log."""

        self._handler = Handler

    @property
    def settings(self) -> dict[str, str]:
        """Return the settings that make a daemon call this server, for blocks too."""
        url = urlsplit(self._node.rpc_url)
        return {
            "BITCOIND_RPC_URL": f"http://{url.username}:{url.password}@127.0.0.1:{self.port}",
            "BITCOIND_REST": "off",
        }

    @property
    def most_at_once(self) -> int:
        """The greatest number of calls at one time."""
        return self._most_at_once

    def begin(self, fault: RpcFault) -> None:
        """Answer with `fault` from now on."""
        self._is_fault_over.clear()
        self.fault = fault

    def end(self) -> None:
        """Answer normally again, and close the connections that wait."""
        self.fault = RpcFault.NONE
        self._is_fault_over.set()

    def __exit__(self, *error: Any) -> None:
        self._is_fault_over.set()
        super().__exit__(*error)

    def _serve(self, connection: socket.socket) -> None:
        self._handler(connection, connection.getpeername(), self._server)

    def _serve_call(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        with self._lock:
            self._at_once += 1
            self._most_at_once = max(self._most_at_once, self._at_once)
        try:
            self._answer(handler, body, self.fault)
        finally:
            with self._lock:
                self._at_once -= 1

    def _answer(self, handler: http.server.BaseHTTPRequestHandler, body: bytes, fault: RpcFault) -> None:
        connection: socket.socket = handler.connection
        self.calls.append(_method(body))
        match fault:
            case RpcFault.NONE:
                status, answer = self._ask(handler, body)
                if self.is_rescanning:
                    answer = answer.replace(b'"scanning":false', RESCANNING)
                _send(handler, status, answer)
            case RpcFault.LOWER_TIP:
                _send(handler, 200, json.dumps(self._lowered(handler, body), default=float).encode())
            case RpcFault.SCANNING:
                _send(handler, 200, json.dumps(self._scanning(handler, body), default=float).encode())
            case RpcFault.BUSY:
                _send(handler, 503, b"Work queue depth exceeded", "text/plain")
            case RpcFault.WARMUP:
                _send(handler, 500, json.dumps(WARMUP).encode())
            case RpcFault.GARBAGE:
                _send(handler, 200, b"<html>\xff\xfe not JSON")
            case RpcFault.NOT_RPC:
                _send(handler, 200, b"[null]")
            case _:
                self._break_off(handler, body, fault)
                handler.close_connection = True
                connection.shutdown(socket.SHUT_RDWR)

    def _break_off(self, handler: http.server.BaseHTTPRequestHandler, body: bytes, fault: RpcFault) -> None:
        """Send a part of an answer or nothing; the caller then closes the connection."""
        if fault is RpcFault.NO_HTTP:
            handler.wfile.write(b"220 mail.example.com ESMTP\r\n")
        elif fault in (RpcFault.HALF, RpcFault.STALL):
            _, whole = self._ask(handler, body)
            handler.send_response(200)
            handler.send_header("Content-Type", "application/json")
            handler.send_header("Content-Length", str(len(whole)))
            handler.end_headers()
            handler.wfile.write(whole[: len(whole) // 2])
        if fault in (RpcFault.STALL, RpcFault.SILENCE):
            self._is_fault_over.wait(120)

    def _ask(self, handler: http.server.BaseHTTPRequestHandler, body: bytes) -> tuple[int, bytes]:
        """Return bitcoind's own status and answer."""
        upstream = http.client.HTTPConnection("127.0.0.1", self._node.rpc_port, timeout=60)
        try:
            headers = {"Authorization": handler.headers["Authorization"], "Content-Type": "application/json"}
            upstream.request("POST", handler.path, body, headers)
            answer = upstream.getresponse()
            return answer.status, answer.read()
        finally:
            upstream.close()

    def _lowered(self, handler: http.server.BaseHTTPRequestHandler, body: bytes) -> Any:
        """Return the answer of a bitcoind that has lost its newest blocks and its mempool."""
        call = json.loads(body)
        if isinstance(call, list):  # transactions of the mempool
            return [NOT_FOUND | {"id": each["id"]} for each in call]
        method, parameters = call["method"], call["params"]
        height = self._node.rpc("getblockcount") - self.blocks_lost
        block_hash = self._node.rpc("getblockhash", height)
        answer = json.loads(self._ask(handler, body)[1])
        if method == "getblockchaininfo":
            work = self._node.rpc("getblockheader", block_hash)["chainwork"]
            answer["result"] |= {"blocks": height, "bestblockhash": block_hash, "chainwork": work}
        elif method == "getblockhash" and parameters[0] > height:
            return OUT_OF_RANGE
        elif method == "getrawmempool":
            answer["result"] = []
        elif method == "listsinceblock":
            answer["result"] = {"transactions": [], "removed": [], "lastblock": block_hash}
        elif method in ("getmempoolentry", "getrawtransaction", "getmempoolancestors"):
            return NOT_FOUND
        elif method == "gettxspendingprevout":
            answer["result"] = parameters[0]
        return answer

    def _scanning(self, handler: http.server.BaseHTTPRequestHandler, body: bytes) -> Any:
        """Return the answer of a bitcoind that rescans the chain for an imported or restored wallet."""
        answer = json.loads(self._ask(handler, body)[1])
        match _method(body):
            case "getwalletinfo":
                answer["result"]["scanning"] = {"duration": 60, "progress": 0.5}
            case "listsinceblock":
                answer["result"]["transactions"] = []
            case "getnewaddress":
                return WALLET_ERROR
        return answer


def _method(body: bytes) -> str:
    """Return the method of a call, or of the first call of a batch."""
    call = json.loads(body)
    return str((call[0] if isinstance(call, list) else call)["method"])


def _send(
    handler: http.server.BaseHTTPRequestHandler, status: int, body: bytes, kind: str = "application/json"
) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
