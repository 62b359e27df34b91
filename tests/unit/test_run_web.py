"""run_web.py as the operator runs it: a process with an environment."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from regtest.child import end_with_parent, free_ports
from tests.support.waiting import wait_until

RUN_WEB = Path(__file__).parent.parent.parent / "run_web.py"


@contextmanager
def run_web(directory: Path, port: int, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """The process, in a directory of its own."""
    process = subprocess.Popen(
        [sys.executable, RUN_WEB],
        cwd=directory,
        env={"PATH": os.environ["PATH"], "WEB_PORT": str(port), **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=end_with_parent(),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def health(port: int) -> int | None:
    """The status of GET /health, or None while nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status
    except ConnectionError:
        return None
    finally:
        connection.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_and_stops(tmp_path: Path, number: signal.Signals) -> None:
    """It makes its database, answers, and ends with exit status 0; its files are the owner's alone."""
    (port,) = free_ports(1)
    with run_web(tmp_path, port, LOG_FORMAT="json") as process:
        assert wait_until(lambda: health(port)) == 503
        process.send_signal(number)
        output, errors = process.communicate(timeout=5)
    assert (process.returncode, errors) == (0, "")
    lines = [json.loads(line)["event"] for line in output.splitlines()]
    assert lines[-2:] == ["web server started", "web server stopped"]
    made = list((tmp_path / "var").iterdir())
    assert made
    assert {path.stat().st_mode & 0o777 for path in made} == {0o600}


def test_a_second_signal_changes_nothing(tmp_path: Path) -> None:
    """An operator who presses Ctrl-C again, or systemd after him, still sees exit status 0."""
    (port,) = free_ports(1)
    with run_web(tmp_path, port) as process:
        wait_until(lambda: health(port))
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")


def test_a_connection_that_idles_does_not_keep_it(tmp_path: Path) -> None:
    """A client that keeps its connection open, or has sent half a request, is not waited for."""
    (port,) = free_ports(1)
    with run_web(tmp_path, port) as process:
        wait_until(lambda: health(port))
        address = ("127.0.0.1", port)
        with socket.create_connection(address), socket.create_connection(address) as idle:
            idle.sendall(b"POST /api/v1/payments HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
            wait_until(lambda: health(port))
            process.terminate()
            _, errors = process.communicate(timeout=5)
            assert idle.recv(65536).startswith(b"HTTP/1.1 408 ")
    assert (process.returncode, errors) == (0, "")


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    """It names the address and the settings; exit status 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with run_web(tmp_path, port) as process:
            _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert errors.startswith(f"nodetill: cannot listen on 127.0.0.1:{port} (WEB_HOST, WEB_PORT): Address")
    assert "set WEB_PORT to another" in errors
    assert errors.count("\n") == 1


def test_a_database_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    """Exit status 1, and what is the matter."""
    (tmp_path / "nodetill.db").write_bytes(b"not a database at all" * 100)
    with run_web(tmp_path, free_ports(1)[0], DATABASE_URL=f"sqlite:///{tmp_path}/nodetill.db") as process:
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert errors.startswith("nodetill: cannot open the database")
    assert errors.count("\n") == 1


def test_a_wrong_setting_is_one_line(tmp_path: Path) -> None:
    """Exit status 78, and the variable's name."""
    with run_web(tmp_path, free_ports(1)[0], CONFIRMATIONS="six") as process:
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 78
    assert errors.startswith("nodetill: CONFIRMATIONS")
    assert errors.count("\n") == 1
