"""The base of the servers on this machine that a test starts: each connection has a thread of its own."""

import socket
import socketserver
import threading
from types import TracebackType
from typing import Self


class LocalServer:
    """Listens on a free port of 127.0.0.1 inside its `with` block, and calls `_serve` for each connection."""

    def __init__(self) -> None:
        self.released = threading.Event()
        local = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                local._serve(self.request)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            request_queue_size = 100

            def handle_error(self, *_: object) -> None:
                """Ignore a client that closes its connection early."""

        self._server = Server(("127.0.0.1", 0), Handler)
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
        self._server.server_close()
        self._thread.join()

    def _serve(self, connection: socket.socket) -> None:
        raise NotImplementedError
