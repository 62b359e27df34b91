"""regtest/process.py and regtest/installation.py start, await and end servers."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from regtest.installation import environment
from regtest.process import Process, ProcessError

WAITS_FOR_ITS_END = """
import os, pathlib, signal, sys
print("starting", os.getpid(), flush=True)
print("without a line end", end="", flush=True)
signal.sigwait({signal.SIGTERM})
print("\\nstopping", flush=True)
sys.exit(3)
"""
FAILS = """
import sys
print("settings are read", flush=True)
sys.exit("no good")
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Callable[[str], Process]]:
    """Return a function that makes a server from a script's text; it ends after the test."""
    made: list[Process] = []

    def make(text: str) -> Process:
        script = tmp_path / f"server{len(made)}.py"
        # SIGTERM is blocked before the script prints, so that no signal comes too early.
        script.write_text(f"import signal\nsignal.pthread_sigmask(0, {{signal.SIGTERM}})\n{text}")
        made.append(Process(str(script), os.environ, tmp_path / "work"))
        return made[-1]

    yield make
    for process in made:
        process.kill()


def test_a_line_is_awaited_and_a_stop_returns_the_exit_status(server: Callable[[str], Process]) -> None:
    """Only complete lines count, of both streams."""
    process = server(WAITS_FOR_ITS_END).start()
    assert process.wait_for_line("start", str(process.pid)) == f"starting {process.pid}"
    assert process.lines() == [f"starting {process.pid}"]
    assert process.stop() == 3
    assert process.lines()[1:] == ["without a line end", "stopping"]


def test_a_wait_after_a_restart_ignores_earlier_lines(server: Callable[[str], Process]) -> None:
    """They are still in the log file."""
    process = server(WAITS_FOR_ITS_END).start()
    first = process.wait_for_line("starting")
    assert process.kill() == -signal.SIGKILL
    process.start()
    second = process.wait_for_line("starting")
    assert first != second
    assert process.log_file.read_text().count("starting") == 2


def test_a_wait_for_an_ended_server_raises_at_once(server: Callable[[str], Process]) -> None:
    """The error has its exit status and its last lines. A line before the end still counts."""
    process = server(FAILS).start()
    with pytest.raises(ProcessError, match=r"(?s)exit status 1: did not log ready.*no good"):
        process.wait_for_line("ready")
    assert process.wait_for_line("settings")
    assert process.wait() == 1


def test_a_condition_that_is_not_met_in_time_is_an_error(server: Callable[[str], Process]) -> None:
    """The error names the condition."""
    process = server(WAITS_FOR_ITS_END).start()
    with pytest.raises(ProcessError, match=r"did not dance within 0.1 s"):
        process.wait_until(lambda: None, "dance", 0.1)
    with pytest.raises(ProcessError, match=r"did not end within 0.1 s"):
        process.wait(0.1)


def test_a_server_inherits_no_setting_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other variables are kept."""
    monkeypatch.setenv("CONFIRMATIONS", "2")
    monkeypatch.setenv("SMTP_URL_FILE", "/own")
    monkeypatch.setenv("WEB_PORT", "1")
    monkeypatch.setenv("ELSE", "kept")
    made = environment({"WEB_PORT": "2"})
    assert (made["WEB_PORT"], made["ELSE"]) == ("2", "kept")
    assert not {"CONFIRMATIONS", "SMTP_URL_FILE"} & set(made)
