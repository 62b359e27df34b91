"""A mail server on this machine that answers each command with the bytes that the test chooses."""

import socketserver
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from config import SmtpServer

Reply = bytes | Callable[[str], bytes]

POLITE: dict[str, Reply] = {
    "": b"220 ready\r\n",
    "EHLO": b"250-host\r\n250 SIZE 1000000\r\n",
    "DATA": b"354 go on\r\n",
    "QUIT": b"221 bye\r\n",
}


class ScriptedMailServer:
    """Answers each command from `replies`.

    In `replies`, "" is the greeting, "." the end of a message, and "…" a line of a login.

    `commands` has each received line, and `messages` each received message.
    """

    def __init__(self, replies: dict[str, Reply]) -> None:
        self.replies = {**POLITE, **replies}
        self.commands: list[str] = []
        self.messages: list[bytes] = []
        script = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                script._serve(self)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """Ignore a client that closes its connection early."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        return int(self._server.server_address[1])

    def address(self, **changes: Any) -> SmtpServer:
        """Return the settings of this server."""
        values = {"host": "127.0.0.1", "port": self.port, "username": None, "password": None}
        return SmtpServer(**{**values, "security": "none", **changes})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _serve(self, handler: socketserver.StreamRequestHandler) -> None:
        handler.wfile.write(self._reply("", ""))
        for raw in handler.rfile:
            line = raw.decode("latin-1").strip()
            self.commands.append(line)
            verb = line.split(" ")[0].upper()
            is_known = verb in {*self.replies, "MAIL", "RCPT", "RSET"}
            handler.wfile.write(self._reply(verb if is_known else "…", line))
            if verb == "DATA" and b"354" in self._reply("DATA", line):
                self.messages.append(b"".join(iter(handler.rfile.readline, b".\r\n")))
                handler.wfile.write(self._reply(".", ""))

    def _reply(self, verb: str, line: str) -> bytes:
        reply = self.replies.get(verb, b"250 ok\r\n")
        return reply(line) if callable(reply) else reply
