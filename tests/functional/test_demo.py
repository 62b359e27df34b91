"""The demo shows a payment, and leaves no file and no process after any kind of end."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from regtest.node import PROJECT
from tests.support.waiting import wait_until

MANAGE = [sys.executable, str(PROJECT / "manage.py")]
BITCOIND_RUNS = "bitcoind runs"
LAST_LINE = "follow the daemon's log"

StartDemo = Callable[..., tuple[subprocess.Popen[bytes], Path]]


@pytest.fixture
def environ(tmp_path: Path, bitcoind: list[str]) -> dict[str, str]:
    """Return the demo's environment, with its temporary directory inside `tmp_path`."""
    (tmp_path / "tmp").mkdir()
    return dict(os.environ) | {"TMPDIR": str(tmp_path / "tmp")}


@pytest.fixture
def start_demo(tmp_path: Path, environ: dict[str, str]) -> Iterator[StartDemo]:
    """Yield a function that starts a demo, and returns its process and the file with its output."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> tuple[subprocess.Popen[bytes], Path]:
        output = tmp_path / "output"
        with output.open("wb") as stream:
            command = [*MANAGE, "demo", *arguments]
            started.append(subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=stream, stderr=stream))
        return started[-1], output

    yield start
    for process in started:
        process.kill()
        process.wait()


def left_behind(directory: Path) -> list[str]:
    """Return the files in `directory`, and the processes that work in it or have it as an argument."""
    found = [str(path) for path in directory.rglob("*")]
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (process / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
            if str(directory) in command or (process / "cwd").readlink().is_relative_to(directory):
                found.append(command)
    return found


def wait_for(output: Path, text: str) -> None:
    wait_until(lambda: text in output.read_text(), 60, f"the demo to print {text!r}")


@pytest.mark.broad
def test_the_demo_runs_a_payment_to_its_confirmation(tmp_path: Path, environ: dict[str, str]) -> None:
    """Two emails come. The operator's own settings do not matter."""
    environ |= {"CONFIRMATIONS": "many", "DATABASE_URL": f"sqlite:///{tmp_path}/own.db", "WEB_PORT": "0"}
    done = subprocess.run(
        [*MANAGE, "demo", "--once", "--json"], cwd=tmp_path, env=environ, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["happened"]
    payment = report["payment"]
    assert (payment["status"], payment["confirmations"]) == ("confirmed", 6)
    assert payment["received_sats"] == payment["amount_sats"]
    assert len(report["emails"]) == 2
    assert "received" in report["emails"][0]
    assert "confirmed" in report["emails"][1]
    assert all(payment["payment_request_id"] in subject for subject in report["emails"])
    assert left_behind(tmp_path / "tmp") == []
    assert not (tmp_path / "own.db").exists()


def test_the_printed_commands_work_while_the_demo_runs(
    start_demo: StartDemo, environ: dict[str, str]
) -> None:
    """The demo also prints each step and a further email. Ctrl-C ends it with exit status 0."""
    demo, output = start_demo()
    wait_for(output, LAST_LINE)
    check_steps(output.read_text())
    lines = [line.strip() for line in output.read_text().splitlines()]

    def line_after(what: str) -> list[str]:
        return shlex.split(lines[lines.index(what) + 1])

    def run(command: list[str]) -> str:
        return subprocess.run(command, check=True, capture_output=True, text=True, env=environ).stdout

    listed = json.loads(run([*line_after("list all payments, and all commands"), "--json"]))
    assert [payment["status"] for payment in listed] == ["confirmed"]
    pay = line_after("pay it")
    run([*pay[:-2], listed[0]["address"], listed[0]["amount_btc"]])
    wait_for(output, "An email:")
    run(line_after("mine a block"))
    demo.send_signal(signal.SIGINT)
    assert demo.wait(60) == 0
    assert left_behind(Path(environ["TMPDIR"])) == []


def check_steps(shown: str) -> None:
    """Check that the output, which is plain text where there is no terminal, has all steps in their order."""
    assert "\x1b" not in shown
    assert re.search(r"http://127\.0\.0\.1:\d+/pay/PR-", shown)
    steps = [
        "wallet create",
        "seller add",
        "POST",
        "pays",
        "reports: received",
        "first email",
        "second email",
    ]
    places = [shown.index(step) for step in steps]
    assert places == sorted(places)
    assert [f"{n} of 6" in shown for n in range(1, 7)] == [True] * 6


@pytest.mark.broad
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_demo_fails_and_cleans_up(
    start_demo: StartDemo, environ: dict[str, str], number: signal.Signals
) -> None:
    """Some steps are missing, so the exit status is 1."""
    demo, output = start_demo("--once")
    wait_for(output, BITCOIND_RUNS)
    demo.send_signal(number)
    assert demo.wait(60) == 1
    assert "Not all steps worked" in output.read_text()
    assert left_behind(Path(environ["TMPDIR"])) == []


@pytest.mark.broad
def test_a_killed_demo_leaves_no_process(start_demo: StartDemo, environ: dict[str, str]) -> None:
    """Only its directory stays."""
    demo, output = start_demo()
    wait_for(output, LAST_LINE)
    directory = Path(environ["TMPDIR"])
    demo.kill()
    demo.wait()
    wait_until(
        lambda: not [it for it in left_behind(directory) if not Path(it).exists()], 30, "all processes to end"
    )


@pytest.mark.slow
def test_a_failed_server_ends_the_demo(start_demo: StartDemo, environ: dict[str, str]) -> None:
    """The output names the server, and the exit status is 1."""
    demo, output = start_demo()
    wait_for(output, LAST_LINE)
    os.kill(child_of(demo.pid, "run_daemon.py"), signal.SIGKILL)
    assert demo.wait(60) == 1
    assert "run_daemon has ended" in output.read_text()
    assert left_behind(Path(environ["TMPDIR"])) == []


def child_of(parent: int, script: str) -> int:
    """Return the id of the process that runs `script`, a child of the main thread of `parent`."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    (found,) = [pid for pid in children if script in Path(f"/proc/{pid}/cmdline").read_text()]
    return int(found)


def test_a_demo_without_bitcoind_fails_with_one_line(tmp_path: Path, environ: dict[str, str]) -> None:
    environ["BITCOIND"] = "/no/such/bitcoind"
    done = subprocess.run(
        [*MANAGE, "demo", "--once"], cwd=tmp_path, env=environ, capture_output=True, text=True
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("nodetill: BITCOIND: ")
    assert left_behind(tmp_path / "tmp") == []


def test_json_requires_once(tmp_path: Path, environ: dict[str, str]) -> None:
    """A demo without --once has no end, so it has no document to print."""
    done = subprocess.run([*MANAGE, "demo", "--json"], cwd=tmp_path, env=environ, capture_output=True)
    assert done.returncode == 2
