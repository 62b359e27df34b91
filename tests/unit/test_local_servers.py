"""The servers of the tests close their connections when they stop. No later test finds one of them open."""

import socket
import ssl
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from tests.support.endpoint import CERTIFICATE, Endpoint, hangs
from tests.support.in_memory_bitcoind import InMemoryBitcoind
from tests.support.mail_server import MailServer
from tests.support.scripted_mail_server import ScriptedMailServer
from tests.support.socks_server import SocksServer, hangs_silently

SERVERS: dict[str, Callable[[], AbstractContextManager[Endpoint | ScriptedMailServer | SocksServer]]] = {
    "endpoint": lambda: Endpoint(hangs),
    "mail": lambda: ScriptedMailServer({}),
    "proxy": lambda: SocksServer(greeting=hangs_silently),
}


@pytest.mark.parametrize("name", SERVERS)
def test_a_stopped_server_has_closed_its_connections(name: str) -> None:
    """This holds for a silent client, too, and for one in the middle of a request."""
    with ExitStack() as clients:
        with SERVERS[name]() as server:
            silent, busy = (
                clients.enter_context(socket.create_connection(("127.0.0.1", server.port), 30))
                for _ in range(2)
            )
            busy.sendall(b"GET / HTTP/1.1\r\n\r\n")
        for client in (silent, busy):
            assert is_closed(client)


@pytest.mark.parametrize("security", ["none", "starttls", "tls"])
def test_a_stopped_mail_server_has_closed_its_connections(security: str) -> None:
    with ExitStack() as clients:
        with MailServer(security) as server:  # type: ignore[arg-type]
            address = ("127.0.0.1", server.address().port)
            client = clients.enter_context(socket.create_connection(address, 30))
            if security == "tls":
                trusting = ssl.create_default_context(cafile=CERTIFICATE)
                client = clients.enter_context(trusting.wrap_socket(client, server_hostname="localhost"))
        assert is_closed(client)


def test_a_stopped_node_answers_on_no_connection(tmp_path: Path) -> None:
    """A daemon with an open connection would otherwise miss the stop."""
    node = InMemoryBitcoind(tmp_path)
    node.launch()
    with socket.create_connection(("127.0.0.1", node.rpc_port), 30) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 404")
        node.stop()
        assert is_closed(client)


def is_closed(client: socket.socket) -> bool:
    """Read until the server closes the connection. Raise TimeoutError if it does not."""
    try:
        while client.recv(65536):
            pass
    except (ConnectionResetError, ssl.SSLEOFError):
        pass
    return True
