"""A mail server on this machine that answers each command with the bytes that the test chooses."""

import socket
from collections.abc import Callable
from typing import Any

from config import SmtpServer
from tests.support.local_server import LocalServer

Reply = bytes | Callable[[str], bytes]

POLITE: dict[str, Reply] = {
    "": b"220 ready\r\n",
    "EHLO": b"250-host\r\n250 SIZE 1000000\r\n",
    "DATA": b"354 go on\r\n",
    "QUIT": b"221 bye\r\n",
}


class ScriptedMailServer(LocalServer):
    """Answers each command from `replies`.

    In `replies`, "" is the greeting, "." the end of a message, and "…" a line of a login.

    `commands` has each received line, and `messages` each received message.
    """

    def __init__(self, replies: dict[str, Reply]) -> None:
        super().__init__()
        self.replies = {**POLITE, **replies}
        self.commands: list[str] = []
        self.messages: list[bytes] = []

    def address(self, **changes: Any) -> SmtpServer:
        """Return the settings of this server."""
        values = {"host": "127.0.0.1", "port": self.port, "username": None, "password": None}
        return SmtpServer(**{**values, "security": "none", **changes})

    def _serve(self, connection: socket.socket) -> None:
        connection.sendall(self._reply("", ""))
        with connection.makefile("rb") as lines:
            for raw in lines:
                line = raw.decode("latin-1").strip()
                self.commands.append(line)
                verb = line.split(" ")[0].upper()
                is_known = verb in {*self.replies, "MAIL", "RCPT", "RSET"}
                connection.sendall(self._reply(verb if is_known else "…", line))
                if verb == "DATA" and b"354" in self._reply("DATA", line):
                    self.messages.append(b"".join(iter(lines.readline, b".\r\n")))
                    connection.sendall(self._reply(".", ""))

    def _reply(self, verb: str, line: str) -> bytes:
        reply = self.replies.get(verb, b"250 ok\r\n")
        return reply(line) if callable(reply) else reply
