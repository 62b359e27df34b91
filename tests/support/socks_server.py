"""A SOCKS5 proxy on this machine (RFC 1928, RFC 1929), with faults that a test chooses."""

import contextlib
import ipaddress
import socket
import threading
from collections.abc import Callable
from typing import NamedTuple

from config import Proxy, Secret
from tests.support.local_server import LocalServer

VERSION, LOGIN_VERSION = 5, 1
NO_LOGIN, LOGIN, NONE_ACCEPTABLE = 0, 2, 255
IPV4, NAME, IPV6 = 1, 3, 4
PIECE_BYTES = 65_536


class Target(NamedTuple):
    """The destination of a connection, as the client has sent it. `kind` is the ATYP of RFC 1928 5."""

    kind: int
    host: str
    port: int


Fault = Callable[["SocksServer", socket.socket], None]
"""A fault gets the client's connection, and takes the place of a reply."""


class SocksServer(LocalServer):
    """Makes each connection to the same port of 127.0.0.1, whatever the name. It keeps the `targets`.

    `greeting` and `reply` replace the server's part of the greeting, and its reply to CONNECT. `refusal` is
    the code of each reply. `cut_after` closes each connection after so many bytes of the host.
    """

    def __init__(
        self,
        *,
        login: tuple[str, str] | None = None,
        refusal: int = 0,
        greeting: Fault | None = None,
        reply: Fault | None = None,
        cut_after: int | None = None,
    ) -> None:
        self.targets: list[Target] = []
        self.logins: list[tuple[str, str]] = []
        self.connection_count = 0
        self._login = login
        self._refusal = refusal
        self._greeting = greeting
        self._reply = reply
        self._cut_after = cut_after
        super().__init__()

    @property
    def proxy(self) -> Proxy:
        """The value of PROXY for this server, with its login."""
        username, password = self._login or (None, None)
        return Proxy("127.0.0.1", self.port, username, None if password is None else Secret(password))

    @property
    def url(self) -> str:
        """The text of PROXY for this server, without a login."""
        return f"socks5h://127.0.0.1:{self.port}"

    @property
    def hosts(self) -> list[str]:
        return [target.host for target in self.targets]

    def _serve(self, connection: socket.socket) -> None:
        self.connection_count += 1
        with contextlib.suppress(OSError, EOFError):
            self._take(connection)

    def _take(self, client: socket.socket) -> None:
        if self._greeting is not None:
            _read(client, 1)
            self._greeting(self, client)
            return
        if not self._greet(client):
            return
        version, command, _, kind = _read(client, 4)
        assert (version, command) == (VERSION, 1)
        target = _read_target(client, kind)
        self.targets.append(target)
        if self._reply is not None:
            self._reply(self, client)
        elif self._refusal:
            client.sendall(bytes([VERSION, self._refusal, 0, IPV4]) + bytes(6))
        else:
            self._forward(client, target.port)

    def _greet(self, client: socket.socket) -> bool:
        version, count = _read(client, 2)
        assert version == VERSION
        methods = _read(client, count)
        wanted = NO_LOGIN if self._login is None else LOGIN
        if wanted not in methods:
            client.sendall(bytes([VERSION, NONE_ACCEPTABLE]))
            return False
        client.sendall(bytes([VERSION, wanted]))
        if self._login is None:
            return True
        assert _read(client, 1)[0] == LOGIN_VERSION
        self.logins.append((_read_text(client), _read_text(client)))
        is_right = self.logins[-1] == self._login
        client.sendall(bytes([LOGIN_VERSION, 0 if is_right else 1]))
        return is_right

    def _forward(self, client: socket.socket, port: int) -> None:
        try:
            host = socket.create_connection(("127.0.0.1", port), 10)
        except OSError:
            client.sendall(bytes([VERSION, 5, 0, IPV4]) + bytes(6))
            return
        with host:
            # The bound address may be a name, and nobody reads it.
            client.sendall(bytes([VERSION, 0, 0, NAME]) + b"\x05proxy" + bytes(2))
            there = threading.Thread(target=_copy, args=(client, host, None), daemon=True)
            there.start()
            _copy(host, client, self._cut_after)


def trickles_bytes(server: SocksServer, client: socket.socket) -> None:
    """Send the first bytes of a reply, one every half second."""
    client.sendall(bytes([VERSION]))
    while not server.released.wait(0.5):
        client.sendall(b"\x00")


def trickles_name(server: SocksServer, client: socket.socket) -> None:
    """Send the reply of a success, with a long name that arrives one byte at a time."""
    client.sendall(bytes([VERSION, 0, 0, NAME, 255]))
    while not server.released.wait(0.05):
        client.sendall(b"x")


def hangs_silently(server: SocksServer, _client: socket.socket) -> None:
    server.hang()


def replies(data: bytes) -> Fault:
    """Return a fault that sends these bytes and closes the connection."""
    return lambda _server, client: client.sendall(data)


def _copy(source: socket.socket, sink: socket.socket, limit: int | None) -> None:
    copied = 0
    with contextlib.suppress(OSError):
        while (limit is None or copied < limit) and (data := source.recv(PIECE_BYTES)):
            data = data if limit is None else data[: limit - copied]
            sink.sendall(data)
            copied += len(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def _read_text(connection: socket.socket) -> str:
    return _read(connection, _read(connection, 1)[0]).decode()


def _read_target(connection: socket.socket, kind: int) -> Target:
    if kind == NAME:
        host = _read_text(connection)
    else:
        host = str(ipaddress.ip_address(_read(connection, 4 if kind == IPV4 else 16)))
    return Target(kind, host, int.from_bytes(_read(connection, 2), "big"))
