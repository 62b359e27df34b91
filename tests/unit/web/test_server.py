"""The server withstands slow, broken and numerous clients, and stops without losing a request."""

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import wait_until
from web.http.connections import Connections, listener
from web.http.server import CONNECTIONS, Server
from web.http.strict_json import MAX_BODY_BYTES
from web.http.threads import COUNT, Threads

Start = Callable[..., Any]


def hello(environ: dict[str, Any], start_response: Start) -> list[bytes]:
    """Read the body, and respond with the method and the body's size."""
    size = len(environ["wsgi.input"].read())
    body = f"{environ['REQUEST_METHOD']} {size}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


@contextmanager
def serving(
    app: Callable[..., Any], pulse: Callable[[], None] = lambda: None, threads: int = COUNT
) -> Iterator[Server]:
    """Run a server in a thread."""
    server = Server(app, "127.0.0.1", 0, Threads(count=threads), pulse=pulse)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()


def dial(server: Server) -> socket.socket:
    """Open a connection."""
    return socket.create_connection(server.addresses[0], timeout=30)


def all_of(connection: socket.socket) -> bytes:
    """Read until the server closes."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def read_answer(connection: socket.socket) -> tuple[http.client.HTTPResponse, bytes]:
    """Read one response, which may come in pieces."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer, answer.read()


def ask(server: Server) -> bytes:
    """Send a plain GET on a new connection, and return the body."""
    connection = http.client.HTTPConnection(*server.addresses[0], timeout=30)
    connection.request("GET", "/")
    body = connection.getresponse().read()
    connection.close()
    return body


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: no host\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: a\x7fb\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: a\x01b\r\n\r\n",
    ],
    ids=lambda sent: sent[:60].decode(),
)
def test_invalid_http_is_refused(sent: bytes) -> None:
    """The server closes the connection, and others are served."""
    with serving(hello) as server:
        with dial(server) as connection:
            connection.sendall(sent)
            received = all_of(connection)
        assert ask(server) == b"GET 0"
    assert received.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 431 "))


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_no_second_request_is_smuggled_behind_a_body(head: bytes) -> None:
    """A proxy may use the other length, and treat the rest as a request of its client."""
    with serving(hello) as server, dial(server) as connection:
        connection.sendall(head + b"0\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answers = all_of(connection)
    assert answers.count(b" 400 Bad Request\r\n") == 1
    assert b" 200 OK\r\n" not in answers


@pytest.mark.parametrize(
    "sent",
    [
        b"Content-Length: 99999999999\r\n\r\n",
        b"Expect: 100-continue\r\nContent-Length: 99999\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nfffff\r\n" + b" " * 0xFFFFF + b"\r\n0\r\n\r\n",
        b"Content-Length: 70000\r\n\r\n" + b" " * 70_000,
        b"Content-Length: 900000\r\n\r\n" + b" " * 900_000,
    ],
    ids=lambda sent: sent[:60].decode(),
)
def test_a_body_that_is_too_large_is_413(sent: bytes) -> None:
    """The client receives a problem and not a broken connection, and is not asked for more."""
    with serving(hello) as server, dial(server) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\n" + sent)
        received = all_of(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"content-type: application/problem+json" in head.lower()
    assert str(MAX_BODY_BYTES) in json.loads(body)["detail"]


def test_expect_100_continue_is_answered() -> None:
    with serving(hello) as server, dial(server) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"{}")
        _, body = read_answer(connection)
    assert body == b"POST 2"


def test_a_chunked_body_is_read() -> None:
    """A program may not know the length of its body when it begins to send it."""
    with serving(hello) as server, dial(server) as connection:
        connection.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        )
        _, body = read_answer(connection)
    assert body == b"POST 5"


def test_a_header_with_an_underscore_is_no_proxy_header() -> None:
    """WSGI spells X_Forwarded_For and X-Forwarded-For the same way."""

    def forwarded(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ.get("HTTP_X_FORWARDED_FOR", "none").encode()]

    with serving(forwarded) as server, dial(server) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX_Forwarded_For: 1.2.3.4\r\n\r\n")
        _, body = read_answer(connection)
    assert body == b"none"


def test_the_server_header_has_no_version() -> None:
    with serving(hello) as server:
        connection = http.client.HTTPConnection(*server.addresses[0], timeout=30)
        connection.request("GET", "/")
        assert connection.getresponse().getheader("Server") == "nodetill"
        connection.close()


HALF_SENT = [
    b"GET / HTTP/1.1\r\nHost: x\r\nX: ",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nh",
    b"",
]


@pytest.mark.parametrize("sent", HALF_SENT)
def test_hundreds_of_half_sent_requests_block_no_others(sent: bytes) -> None:
    """Five hundred clients send a part of a request and wait."""
    assert CONNECTIONS >= 1000
    with serving(hello) as server, ExitStack() as stack:
        for _ in range(500):
            stack.enter_context(dial(server)).sendall(sent)
        for _ in range(20):
            assert ask(server) == b"GET 0"


def test_connections_of_one_client_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another client is still served, and so is a proxy on this machine."""
    monkeypatch.setattr("web.http.connections.MAX_PER_CLIENT", 20)
    monkeypatch.setattr("web.http.connections.is_loopback", lambda address: address == "127.0.0.1")
    with serving(hello) as server, ExitStack() as held:

        def is_served(address: str) -> bool:
            """Send a request from the address, and hold the connection. A refused one ends at any moment."""
            try:
                connection = held.enter_context(
                    socket.create_connection(server.addresses[0], 30, (address, 0))
                )
                connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                return connection.recv(65536).startswith(b"HTTP/1.1 200")
            except ConnectionError:
                return False

        assert [is_served("127.0.0.2") for _ in range(40)] == [True] * 20 + [False] * 20
        assert is_served("127.0.0.3")
        assert all(is_served("127.0.0.1") for _ in range(40))
        held.close()
        wait_until(lambda: is_served("127.0.0.2"), what="a place for the client again")


@pytest.mark.parametrize("sent", HALF_SENT)
def test_a_request_that_trickles_in_is_cut_off(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    """One byte at a time must not keep a connection open for ever."""
    monkeypatch.setattr("web.http.asgi.BODY_SECONDS", 0.5)
    monkeypatch.setattr("web.http.connections.IDLE_SECONDS", 0.5)
    with serving(hello) as server, dial(server) as connection:
        connection.sendall(sent)

        def is_closed() -> bool:
            try:
                connection.sendall(b"x" if sent else b"")
                connection.setblocking(False)
                while connection.recv(65536):
                    pass
            except BlockingIOError:
                return False
            except ConnectionError:
                return True
            finally:
                connection.settimeout(30)
            return True

        wait_until(is_closed, what="the connection to be closed")
        assert ask(server) == b"GET 0"


def large(environ: dict[str, Any], start_response: Start) -> list[bytes]:
    """Respond with a page of 50 kB, or a short one."""
    body = b"x" * 50_000 if environ["PATH_INFO"] == "/docs" else b"short"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def resident_mib() -> int:
    """Return the memory of this process."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) // 1024


@contextmanager
def pipelining(server: Server, connections: int, request: bytes, count: int) -> Iterator[list[socket.socket]]:
    """Send many requests on each connection at once, and read no response."""
    with ExitStack() as stack:
        opened = []
        for _ in range(connections):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            client.settimeout(30)
            client.connect(server.addresses[0])
            client.setblocking(False)
            # The rest stays unsent if the server does not read it.
            client.send(request * count)
            opened.append(client)
        yield opened


def test_unread_responses_use_bounded_memory() -> None:
    """Many requests are sent at once on each connection, and others are still served."""
    with serving(large) as server:
        assert ask(server) == b"short"
        before = resident_mib()
        request = b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n"
        with (
            pipelining(server, 3 * COUNT, request, 372),
            pipelining(server, 17, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 5000),
        ):
            for _ in range(50):
                assert ask(server) == b"short"
            assert resident_mib() < before + 60
        assert ask(server) == b"short"


def test_a_connection_with_unread_responses_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server frees its memory."""
    monkeypatch.setattr("web.http.connections.IDLE_SECONDS", 0.5)
    request = b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n"
    with serving(large) as server, pipelining(server, 3, request, 372) as clients:
        ended: set[socket.socket] = set()

        def are_reset() -> bool:
            # Reading SO_ERROR clears it.
            ended.update(each for each in clients if each.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
            return ended == set(clients)

        wait_until(are_reset, what="the connections to be reset")


def test_a_body_is_sent_without_waiting_for_the_client_s_ack() -> None:
    """The server sends headers and body one after the other, and a client may confirm the first late."""
    with listener(("127.0.0.1", 0), socket.AF_INET, 1) as listening:
        listening.connections = Connections()
        with socket.create_connection(listening.getsockname()), listening.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_a_connection_is_closed_after_max_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Later requests are dropped, and the client connects again."""
    monkeypatch.setattr("web.http.connections.MAX_REQUESTS", 5)
    with serving(hello) as server, dial(server) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        assert all_of(connection).count(b"HTTP/1.1 200 OK") == 5
        assert ask(server) == b"GET 0"


def test_a_large_response_is_sent_in_pieces_without_holding_a_thread() -> None:
    """Clients that read slowly leave the threads to others."""

    def endless(environ: dict[str, Any], start_response: Start) -> Iterator[bytes]:
        if environ["PATH_INFO"] != "/list":
            yield from hello(environ, start_response)
            return
        start_response("200 OK", [("Content-Type", "text/csv")])
        for _ in range(2000):
            yield b"x" * 100_000

    request = b"GET /list HTTP/1.1\r\nHost: x\r\n\r\n"
    with serving(endless, threads=2) as server, pipelining(server, 10, request, 1):
        for _ in range(20):
            assert ask(server) == b"GET 0"


def test_a_closed_connection_ends_its_response() -> None:
    """The server does no more work for it."""
    is_closed = threading.Event()

    def endless(_environ: dict[str, Any], start_response: Start) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/csv")])
        try:
            while True:
                yield b"x" * 100_000
        finally:
            is_closed.set()

    with serving(endless) as server:
        with dial(server) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(1000)
        assert is_closed.wait(30)


def test_a_stop_finishes_the_running_requests() -> None:
    """The server accepts no new connection meanwhile."""
    is_called, may_go_on = threading.Event(), threading.Event()

    def slow(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        is_called.set()
        may_go_on.wait(30)
        return hello(environ, start_response)

    answers: list[bytes] = []
    with serving(slow) as server:
        address = server.addresses[0]
        client = threading.Thread(target=lambda: answers.append(ask(server)))
        client.start()
        assert is_called.wait(30)
        server.stop()
        wait_until(lambda: not is_listening(address), what="the server to take no more")
        may_go_on.set()
        client.join()
    assert answers == [b"GET 0"]


def is_listening(address: tuple[str, int]) -> bool:
    """Return whether a program accepts connections there."""
    try:
        socket.create_connection(address, timeout=30).close()
    except ConnectionError:
        return False
    return True


def test_a_server_with_all_threads_stuck_sends_no_pulse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls wait that no thread takes. Busy threads alone do not stop the pulse."""
    monkeypatch.setattr("web.http.server.PULSE_SECONDS", 0.05)
    go_on = threading.Event()
    pulses: list[None] = []

    def hang(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        assert go_on.wait(30)
        return hello(environ, start_response)

    def pulses_again() -> bool:
        seen = len(pulses)
        return bool(wait_until(lambda: len(pulses) > seen))

    with serving(hang, lambda: pulses.append(None), threads=2) as server, ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(dial(server)).sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert pulses_again()
        for _ in range(2):
            stack.enter_context(dial(server)).sendall(b"GET / HTTP/1.0\r\n\r\n")
        wait_until(lambda: server.is_stuck)
        seen = len(pulses)
        # Half a second is ten pulses, and there is no condition to wait for.
        assert not go_on.wait(0.5)
        assert len(pulses) == seen
        go_on.set()
        assert pulses_again()


def test_each_thread_runs_its_clean_up() -> None:
    """It closes the thread's connection to the database."""
    ended: list[str] = []
    threads = Threads(lambda: ended.append(threading.current_thread().name), count=3)
    server = Server(hello, "127.0.0.1", 0, threads)
    thread = threading.Thread(target=server.run)
    thread.start()
    assert ask(server) == b"GET 0"
    server.stop()
    thread.join()
    assert sorted(ended) == ["web-0", "web-1", "web-2"]


def unchanged(_environ: dict[str, Any], start_response: Start) -> list[bytes]:
    """Respond with 304."""
    start_response("304 Not Modified", [("ETag", '"1"')])
    return []


def test_a_304_keeps_the_connection_open() -> None:
    """A checkout page polls its status, and a new connection costs more."""
    with serving(unchanged) as server, dial(server) as connection:
        for _ in range(3):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
            head = connection.recv(65536)
            assert head.startswith(b"HTTP/1.1 304 ")
            assert b"close" not in head.lower()


def test_head_has_the_headers_of_get_and_no_body() -> None:
    """The next response on the connection is read correctly."""
    with serving(hello) as server, dial(server) as connection:
        connection.sendall(
            b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        received = all_of(connection)
    head, _, rest = received.partition(b"\r\n\r\n")
    assert b"content-length: 6" in head.lower()
    assert rest.startswith(b"HTTP/1.1 200 OK\r\n")
    assert rest.endswith(b"\r\n\r\nGET 0")


@pytest.mark.parametrize("request_line", [b"GET / HTTP/1.1\r\nConnection: close", b"GET / HTTP/1.0"])
def test_a_304_closes_a_connection_without_keep_alive(request_line: bytes) -> None:
    with serving(unchanged) as server, dial(server) as connection:
        connection.sendall(request_line + b"\r\nHost: shop\r\n\r\n")
        answer = all_of(connection)
    assert b"connection: close" in answer.lower()
