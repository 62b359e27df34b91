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
    """Run the process in a directory of its own."""
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
    """Return the status of GET /health, or None while the server does not listen."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status
    except ConnectionError:
        return None
    finally:
        connection.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.broad)])
def test_the_web_server_serves_and_stops(tmp_path: Path, number: signal.Signals) -> None:
    """It creates its database, and ends with exit status 0. Only the owner can read its files."""
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


@pytest.mark.broad
def test_a_second_signal_changes_nothing(tmp_path: Path) -> None:
    """The operator may press Ctrl-C twice, and still gets exit status 0."""
    (port,) = free_ports(1)
    with run_web(tmp_path, port) as process:
        wait_until(lambda: health(port))
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")


@pytest.mark.broad
def test_an_idle_connection_does_not_delay_the_end(tmp_path: Path) -> None:
    """This holds for a client that has sent half a request, too."""
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


@pytest.mark.broad
def test_a_used_port_is_reported_in_one_line(tmp_path: Path) -> None:
    """The line names the address and the settings, and the exit status is 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with run_web(tmp_path, port) as process:
            _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert errors.startswith(f"nodetill: cannot listen on 127.0.0.1:{port} (WEB_HOST, WEB_PORT): Address")
    assert "set WEB_PORT to another" in errors
    assert errors.count("\n") == 1


def test_an_invalid_database_is_reported_in_one_line(tmp_path: Path) -> None:
    """The exit status is 1."""
    (tmp_path / "nodetill.db").write_bytes(b"not a database at all" * 100)
    with run_web(tmp_path, free_ports(1)[0], DATABASE_URL=f"sqlite:///{tmp_path}/nodetill.db") as process:
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert errors.startswith("nodetill: cannot open the database")
    assert errors.count("\n") == 1


def test_a_wrong_setting_is_reported_in_one_line(tmp_path: Path) -> None:
    """The line names the variable, and the exit status is 78."""
    with run_web(tmp_path, free_ports(1)[0], CONFIRMATIONS="six") as process:
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 78
    assert errors.startswith("nodetill: CONFIRMATIONS")
    assert errors.count("\n") == 1
