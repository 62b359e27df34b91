"""The base class of servers that a test starts on this machine, with a thread for each connection."""

import socket
import socketserver
import threading
from contextlib import suppress
from types import TracebackType
from typing import Any, Self


class LocalServer:
    """Listens on 127.0.0.1 inside its `with` block, and calls `_serve` for each connection.

    Port 0 is any free port. At the end of the block all connections are closed.
    """

    def __init__(self, port: int = 0) -> None:
        self.released = threading.Event()
        self._connections: set[socket.socket] = set()
        local = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                local._serve(self.request)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = False  # so server_close waits for the threads
            request_queue_size = 100

            def process_request(self, request: Any, client_address: Any) -> None:
                local._connections.add(request)
                super().process_request(request, client_address)

            def shutdown_request(self, request: Any) -> None:
                local._connections.discard(request)
                super().shutdown_request(request)

            def handle_error(self, *_: object) -> None:
                """Ignore a client that closes its connection early."""

        self._server = Server(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        return int(self._server.server_address[1])

    def hang(self) -> None:
        """Wait until the test is over."""
        self.released.wait(60)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        # A thread that reads from its connection then continues, and ends.
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()

    def _serve(self, connection: socket.socket) -> None:
        raise NotImplementedError
