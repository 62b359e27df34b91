"""The server stands up to clients that are slow, broken or too many, and stops without losing a call."""

import errno
import http.client
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from tests.support.waiting import wait_until
from web.http.channel import Channel
from web.http.server import CONNECTIONS, THREADS, Server
from web.http.strict_json import BODY_LIMIT_BYTES

Start = Callable[..., Any]


def hello(environ: dict[str, Any], start_response: Start) -> list[bytes]:
    """An application that reads what it is sent."""
    size = len(environ["wsgi.input"].read())
    body = f"{environ['REQUEST_METHOD']} {size}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


@contextmanager
def serving(
    app: Callable[..., Any], pulse: Callable[[], None] = lambda: None, threads: int = THREADS
) -> Iterator[Server]:
    """A server in a thread."""
    server = Server(app, "127.0.0.1", 0, threads=threads, pulse=pulse)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()


def dial(server: Server) -> socket.socket:
    """A connection."""
    return socket.create_connection(server.addresses[0], timeout=30)


def exchange(server: Server, sent: bytes) -> tuple[int, dict[str, Any]]:
    """Send bytes as they are; the status and the problem that come back."""
    with dial(server) as connection:
        connection.sendall(sent)
        answer, body = read_answer(connection)
    assert answer.getheader("Content-Type") == "application/problem+json"
    return answer.status, json.loads(body)


def read_answer(connection: socket.socket) -> tuple[http.client.HTTPResponse, bytes]:
    """The answer to what was sent, and its body: they may come in pieces."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer, answer.read()


def ask(server: Server) -> bytes:
    """A plain GET."""
    connection = http.client.HTTPConnection(*server.addresses[0], timeout=30)
    connection.request("GET", "/")
    body = connection.getresponse().read()
    connection.close()
    return body


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 99999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n" + b" " * 0xFFFF, 413),
    ],
)
def test_what_is_no_http_is_a_problem_too(sent: bytes, status: int) -> None:
    """Refusals by the server itself look like the application's."""
    with serving(hello) as server:
        code, problem = exchange(server, sent)
    assert (code, problem["status"]) == (status, status)


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_no_second_request_is_smuggled_behind_a_body(head: bytes) -> None:
    """A proxy that takes the other length for the body's would take what follows for its client's."""
    with serving(hello) as server, dial(server) as connection:
        connection.sendall(head + b"0\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answers = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answers.count(b" 400 Bad Request\r\n") == 1
    assert b" 200 OK\r\n" not in answers


def test_a_body_that_is_far_too_large_is_still_answered() -> None:
    """The client gets to send all of it and then reads 413, rather than a broken connection."""
    size = 5_000_000
    with serving(hello) as server:
        head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode()
        status, problem = exchange(server, head + b" " * size)
    assert status == 413
    assert str(BODY_LIMIT_BYTES) in problem["detail"]


def test_the_server_tells_no_version() -> None:
    """Nobody needs to know what it runs on."""
    with serving(hello) as server:
        connection = http.client.HTTPConnection(*server.addresses[0], timeout=30)
        connection.request("GET", "/")
        assert connection.getresponse().getheader("Server") == "nodetill"
        connection.close()


def test_hundreds_of_half_sent_requests_block_nobody() -> None:
    """Three hundred clients that send a part and wait: the next one is served."""
    assert CONNECTIONS >= 1000
    with serving(hello) as server:
        held = [dial(server) for _ in range(300)]
        try:
            for connection in held:
                connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
            assert ask(server) == b"GET 0"
        finally:
            for connection in held:
                connection.close()


def test_a_request_that_trickles_in_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """One byte now and then does not keep a connection open for ever."""
    monkeypatch.setattr("web.http.server.IDLE_SECONDS", 1)
    monkeypatch.setattr("web.http.server.CLEANUP_SECONDS", 0)
    with serving(hello) as server, dial(server) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")

        def is_closed() -> bool:
            try:
                connection.sendall(b" ")
                connection.setblocking(False)
                return connection.recv(1) == b""
            except BlockingIOError:
                return False
            except ConnectionError:
                return True
            finally:
                connection.settimeout(30)

        wait_until(is_closed, what="the connection to be closed")


def test_a_stop_lets_requests_under_way_finish() -> None:
    """Those that were taken are answered; afterwards nobody listens."""
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
    """Whether anybody takes connections there."""
    try:
        socket.create_connection(address, timeout=30).close()
    except ConnectionError:
        return False
    return True


def test_a_server_whose_threads_are_all_stuck_feeds_no_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not while calls wait that nobody takes; busy threads alone are no sign of it."""
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
        # Ten of its beats; nothing happens that could be waited for.
        assert not go_on.wait(0.5)
        assert len(pulses) == seen
        go_on.set()
        assert pulses_again()


def test_its_threads_stay_on_one_core_and_nobody_elses() -> None:
    """Where the system lets a thread be kept on one: servers on consecutive ports have different ones."""

    def core(_environ: dict[str, Any], start_response: Start) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [json.dumps(sorted(os.sched_getaffinity(0))).encode()]

    before = os.sched_getaffinity(0)
    with serving(core, threads=2) as server:
        _, port = server.addresses[0]
        found = {ask(server) for _ in range(4)}
    [cores] = map(json.loads, found)
    assert cores == [sorted(before)[port % len(before)]]
    assert os.sched_getaffinity(0) == before


def test_where_threads_may_not_be_kept_on_a_core_it_serves_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A unit that forbids the system call costs speed, and nothing else."""

    def forbidden(_thread: int, _cores: set[int]) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setaffinity", forbidden)
    with serving(hello) as server:
        assert ask(server) == b"GET 0"


def test_what_a_thread_sends_the_loop_does_not_wait_to_send() -> None:
    """It would ask again and again until that thread is done, and keep Python's lock from it."""
    is_called, may_go_on = threading.Event(), threading.Event()

    def slow(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        is_called.set()
        may_go_on.wait(30)
        return hello(environ, start_response)

    with serving(slow) as server, dial(server) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert is_called.wait(30)
        [channel] = [each for each in server._map.values() if isinstance(each, Channel)]
        with channel.outbuf_lock:
            channel.total_outbufs_len = 1
            assert not asked_elsewhere(channel.writable)
            # That thread waits for room, which is the loop's to make.
            channel.total_outbufs_len = channel.adj.outbuf_high_watermark + 1
            assert asked_elsewhere(channel.writable)
            channel.total_outbufs_len = 0
        may_go_on.set()
        _, body = read_answer(connection)
    assert body == b"GET 0"


def asked_elsewhere(question: Callable[[], bool]) -> bool:
    """What another thread gets to hear."""
    with ThreadPoolExecutor() as threads:
        return threads.submit(question).result()


def test_one_client_keeps_one_thread_busy() -> None:
    """The one whose connection to the database is warm; others wait until they are needed."""
    names: set[str] = set()

    def name(environ: dict[str, Any], start_response: Start) -> list[bytes]:
        names.add(threading.current_thread().name)
        return hello(environ, start_response)

    def are_all_idle(server: Server) -> bool:
        dispatcher = server._dispatcher
        with dispatcher.lock:
            return bool(dispatcher.active_count == 0)

    with serving(name) as server:
        for _ in range(2 * THREADS):
            wait_until(lambda: are_all_idle(server), what="the threads to wait")
            ask(server)
    assert len(names) == 1


def unchanged(_environ: dict[str, Any], start_response: Start) -> list[bytes]:
    """An application that has nothing new to say."""
    start_response("304 Not Modified", [("ETag", '"1"')])
    return []


def test_a_checkout_page_keeps_its_connection_while_nothing_changes() -> None:
    """Each of its questions is answered with 304, and a new connection costs more."""
    with serving(unchanged) as server, dial(server) as connection:
        for _ in range(3):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
            head = connection.recv(65536)
            assert head.startswith(b"HTTP/1.1 304 ")
            assert b"close" not in head.lower()


@pytest.mark.parametrize("request_line", [b"GET / HTTP/1.1\r\nConnection: close", b"GET / HTTP/1.0"])
def test_an_answer_without_a_body_ends_a_connection_that_is_not_to_be_kept(request_line: bytes) -> None:
    """As any other answer does."""
    with serving(unchanged) as server, dial(server) as connection:
        connection.sendall(request_line + b"\r\nHost: shop\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b"connection: close" in answer.lower()
