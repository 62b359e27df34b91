"""An HTTP server on this machine. The test chooses its responses, including broken HTTP."""

import socket
import ssl
from collections.abc import Callable
from pathlib import Path

from tests.support.local_server import LocalServer

CERTIFICATE = Path(__file__).parent / "localhost.pem"
"""A self-signed certificate for localhost and 127.0.0.1, with its key. It is valid for a hundred years."""

PUBLIC_CERTIFICATE = CERTIFICATE.with_name("shop.example.pem")
"""A self-signed certificate for shop.example, mail.example and rates.example."""


class Request:
    """A received request: the first line, headers with names in lower case, the body."""

    def __init__(self, head: bytes, body: bytes) -> None:
        first, *rest = head.decode("latin-1").rstrip().split("\r\n")
        self.line = first
        self.headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in rest)}
        self.body = body


Behaviour = Callable[["Endpoint", socket.socket, Request], None]


class Endpoint(LocalServer):
    """Reads one request from each connection in a thread of its own, and calls `behave` to respond."""

    def __init__(self, behave: Behaviour, *, is_tls: bool = False, certificate: Path = CERTIFICATE) -> None:
        self.behave = behave
        self.requests: list[Request] = []
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if is_tls else None
        if self._tls is not None:
            self._tls.load_cert_chain(certificate)
        super().__init__()

    @property
    def url(self) -> str:
        """A URL of this server."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/hook?key=secret"

    def trickle(self, connection: socket.socket, byte: bytes = b"x") -> None:
        """Send one byte at a time until the test is over or the client has closed the connection."""
        while not self.released.wait(0.05):
            connection.sendall(byte)

    def _serve(self, connection: socket.socket) -> None:
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True)
        with connection, connection.makefile("rb") as stream:
            head = b""
            while (line := stream.readline()) not in (b"\r\n", b""):
                head += line
            if not head:
                return
            length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            body = stream.read(int(length[0].split(b":")[1])) if length else b""
            request = Request(head, body)
            self.requests.append(request)
            self.behave(self, connection, request)


def answers(status: int, body: bytes = b"", *headers: str) -> Behaviour:
    """Return a behaviour that sends a complete response."""

    def behave(_endpoint: Endpoint, connection: socket.socket, _request: Request) -> None:
        framing = ["Connection: close", f"Content-Length: {len(body)}"]
        lines = [f"HTTP/1.1 {status} X", *framing, *headers, "", ""]
        connection.sendall("\r\n".join(lines).encode() + body)

    return behave


def sends(raw: bytes) -> Behaviour:
    """Return a behaviour that sends these bytes and closes the connection."""

    def behave(_endpoint: Endpoint, connection: socket.socket, _request: Request) -> None:
        connection.sendall(raw)

    return behave


def trickles(start: bytes) -> Behaviour:
    """Return a behaviour that sends `start`, and then a byte at a time without end."""

    def behave(endpoint: Endpoint, connection: socket.socket, _request: Request) -> None:
        connection.sendall(start)
        endpoint.trickle(connection)

    return behave


def hangs(endpoint: Endpoint, _connection: socket.socket, _request: Request) -> None:
    """Send nothing."""
    endpoint.hang()
