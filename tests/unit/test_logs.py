"""A log line is one line, whatever its values are."""

import json
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

import logs
from config import Secret
from tests.support.stuck_reader import stuck_pipe

PROJECT = Path(__file__).resolve().parent.parent.parent

anything = st.one_of(st.text(st.characters(codec=None)), st.integers(), st.booleans(), st.none(), st.binary())


@pytest.fixture
def written(capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """Return a function that returns all standard output so far. Restore the configuration afterwards."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, sys.excepthook, threading.excepthook
    streams = sys.stdout, sys.stderr
    pieces: list[str] = []

    def read() -> str:
        logs.drain(60)
        pieces.append(capfd.readouterr().out)
        return "".join(pieces)

    yield read
    logs.drain(60)
    root.handlers[:], root.level, sys.excepthook, threading.excepthook = before
    sys.stdout, sys.stderr = streams
    structlog.reset_defaults()


def test_a_line_starts_with_time_level_and_event(written: Callable[[], str]) -> None:
    logs.configure("logfmt", "info")
    structlog.get_logger("daemon").info("payment received", payment="PR-1", amount_sats=5, late=False)
    moment, rest = written().split(" ", 1)
    assert re.fullmatch(r"time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", moment)
    assert rest == 'level=info event="payment received" payment=PR-1 amount_sats=5 late=false\n'


def test_a_json_line_has_the_same_fields(written: Callable[[], str]) -> None:
    logs.configure("json", "info")
    structlog.get_logger("daemon").info("payment received", payment="PR-1", amount_sats=5, note="ä\n\u2028")
    line = json.loads(written())
    assert list(line)[:3] == ["time", "level", "event"]
    assert (line["payment"], line["amount_sats"], line["note"]) == ("PR-1", 5, "ä\n\u2028")
    assert written().isascii()


@pytest.mark.parametrize("log_format", ["logfmt", "json"])
def test_no_value_ends_its_line_or_forges_another_key(written: Callable[[], str], log_format: str) -> None:
    """The text after a value is read correctly, whatever the value is."""
    logs.configure(log_format, "info")
    processors = structlog.get_config()["processors"]

    @given(anything)
    def holds(value: object) -> None:
        line: Any = {"event": "x", "value": value, "last": "end"}
        for processor in processors:
            line = processor(None, "info", line)
        assert isinstance(line, str)
        assert line.splitlines() == [line]
        if log_format == "logfmt":
            assert_not_forged(line)
        else:
            assert list(json.loads(line)) == ["time", "level", "event", "value", "last"]

    holds()


def assert_not_forged(line: str) -> None:
    _, _, rest = line.partition(" level=info event=x value=")
    assert rest.endswith(" last=end")
    quoted = rest.removesuffix(" last=end")
    assert quoted.isprintable()
    if quoted.startswith('"'):
        assert isinstance(json.loads(quoted), str)
    else:
        assert not set(quoted) & set(' ="')


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "null"), (True, "true"), ("a b", '"a b"'), ("ä", "ä"), ("a\nb c", '"a\\nb c"'), ('"', '"\\""')],
)
def test_a_value_is_shown_in_readable_form(written: Callable[[], str], value: object, text: str) -> None:
    logs.configure("logfmt", "info")
    structlog.get_logger().info("x", value=value)
    assert written().endswith(f" value={text}\n")


def test_a_traceback_is_one_field_without_local_variables(written: Callable[[], str]) -> None:
    """Local variables may be secrets."""
    logs.configure("logfmt", "info")
    password = "hun" + "ter2"
    try:
        raise ValueError(f"{len(password)} characters")
    except ValueError:
        structlog.get_logger("web").exception("request failed", path="/x")
    assert written().count("\n") == 1
    assert "ValueError: 7 characters" in written()
    assert "hunter2" not in written()


def test_an_uncaught_exception_is_logged_in_one_line(written: Callable[[], str]) -> None:
    """This holds for each thread."""
    logs.configure("logfmt", "info")
    error = ValueError("bad\nthing")
    sys.excepthook(ValueError, error, None)

    def fail() -> None:
        raise error

    thread = threading.Thread(target=fail, name="outbox")
    thread.start()
    thread.join()
    lines = written().splitlines()
    assert len(lines) == 2
    assert all("level=critical event=crashed" in line for line in lines)
    assert "thread=outbox" in lines[1]


def test_a_logged_secret_is_hidden(written: Callable[[], str]) -> None:
    logs.configure("logfmt", "info")
    structlog.get_logger().info("login", password=Secret("hunter2"))
    assert "hunter2" not in written()


@pytest.mark.parametrize("level", ["debug", "info"])
def test_libraries_log_only_warnings_and_errors(written: Callable[[], str], level: str) -> None:
    """The RPC library would log each answer, and the database library each query with its values."""
    logs.configure("logfmt", level)
    for name in ("BitcoinRPC", "urllib3.connectionpool", "peewee", "uvicorn"):
        logging.getLogger(name).debug("secret")
        logging.getLogger(name).info("secret")
        logging.getLogger(name).warning("%s is\nodd", name)
    assert "secret" not in written()
    assert len(written().splitlines()) == 4


def test_lines_below_the_level_are_not_logged(written: Callable[[], str]) -> None:
    """This holds for libraries, too."""
    logs.configure("logfmt", "error")
    structlog.get_logger().warning("no")
    logging.getLogger("uvicorn").warning("no")
    structlog.get_logger().error("yes")
    assert [line.split(" ")[2] for line in written().splitlines()] == ["event=yes"]


# These lines are longer together than the texts that may wait, and a pipe's buffer.
WRITER = """
import sys, structlog, logs
logs.configure("logfmt", "info")
log = structlog.get_logger()
for number in range(12_000):
    log.info("fact", number=number, text="x" * 80)
print("the end", file=sys.stderr)
"""


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_stuck_reader_does_not_block_the_process(stream: str) -> None:
    """The process continues and ends, though one of its outputs is full from the beginning."""
    reader, writer = stuck_pipe()
    outputs: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: writer}
    with subprocess.Popen([sys.executable, "-c", WRITER], cwd=PROJECT, **outputs) as process:
        os.close(writer)
        assert process.wait(60) == 0
    os.close(reader)


def test_dropped_lines_are_counted_when_the_reader_continues() -> None:
    """Each line is complete and in order, or in the count of dropped lines."""
    reader, writer = stuck_pipe()
    program = WRITER + "\nsys.stdin.read()\nlog.info('after')"
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        os.close(writer)
        assert process.stderr is not None
        assert process.stderr.readline() == "the end\n"
        with os.fdopen(reader) as lines:
            written = []
            for line in lines:
                written += [line] if line != "\n" else []
                if "log lines dropped" in line:
                    break
            assert process.stdin is not None
            process.stdin.close()
            last = lines.read()
    assert process.returncode == 0
    *facts, dropped = written
    count = int(dropped.split("count=")[1])
    assert "level=warning" in dropped
    assert count > 0
    assert [int(re.findall(r" number=(\d+) ", line)[0]) for line in facts] == [*range(12_000 - count)]
    assert last.endswith("event=after\n")


def test_a_normal_end_loses_no_line() -> None:
    """The process writes its last lines before it ends, also to a slow reader."""
    program = WRITER.replace("12_000", "3_000")
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        process.stderr.readline()
        output, _ = process.communicate(timeout=60)
    assert output.count(b"\n") == 3_000


def test_a_full_disk_loses_lines_and_stops_no_process() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([sys.executable, "-c", WRITER], cwd=PROJECT, stdout=full, check=False)
    assert done.returncode == 0


def test_a_shared_non_blocking_output_loses_no_line() -> None:
    """Another program has set the pipe to non-blocking, which holds for all its users."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    program = WRITER.replace("12_000", "3_000")
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=PROJECT, stdout=writer, stderr=subprocess.DEVNULL
    ) as process:
        os.close(writer)
        with os.fdopen(reader) as lines:
            assert len(lines.readlines()) == 3_000
    assert process.returncode == 0


def test_a_closed_output_is_no_error() -> None:
    """Log lines must not go into the next file that gets the free descriptor."""
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" >&- 2>&-', sys.executable, WRITER.replace("12_000", "3")],
        cwd=PROJECT,
        check=False,
    )
    assert done.returncode == 0


def test_a_forked_process_writes_its_lines_too() -> None:
    """A child has no thread of its parent. No line is lost or written twice."""
    program = """
import os, structlog, logs
logs.configure("logfmt", "info")
log = structlog.get_logger()
log.info("before")
child = os.fork()
log.info("child" if child == 0 else "parent")
if child != 0:
    os.waitpid(child, 0)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, stdout=subprocess.PIPE, check=True)
    events = [line.partition(b"event=")[2] for line in done.stdout.splitlines()]
    assert sorted(events) == [b"before", b"child", b"parent"]


def test_a_cut_line_does_not_merge_with_the_next(tmp_path: Path) -> None:
    """The file has a limit for the first line only."""
    program = """
import resource, signal, sys, structlog, logs
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
logs.configure("logfmt", "info")
structlog.get_logger().info("first", text="x" * 200)
logs.drain(60)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
structlog.get_logger().info("second")
"""
    with (tmp_path / "log").open("wb") as file:
        subprocess.run([sys.executable, "-c", program], cwd=PROJECT, stdout=file, check=True)
    torn, second, dropped = (tmp_path / "log").read_text().splitlines()
    assert len(torn) == 100
    assert second.endswith("level=info event=second")
    assert dropped.endswith('level=warning event="log lines dropped" count=1')
