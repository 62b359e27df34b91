"""A log line is one line, whatever is in it."""

import json
import logging
import re
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

import logs
from config import Secret

anything = st.one_of(st.text(st.characters(codec=None)), st.integers(), st.booleans(), st.none(), st.binary())


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """All that the test has written to standard output; what was configured before comes back."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, sys.excepthook, threading.excepthook
    pieces: list[str] = []

    def read() -> str:
        pieces.append(capsys.readouterr().out)
        return "".join(pieces)

    yield read
    root.handlers[:], root.level, sys.excepthook, threading.excepthook = before
    structlog.reset_defaults()


def test_a_line_starts_with_time_level_and_event(written: Callable[[], str]) -> None:
    """Then come its facts."""
    logs.configure("logfmt", "info")
    structlog.get_logger("daemon").info("payment received", payment="PR-1", amount_sats=5, late=False)
    moment, rest = written().split(" ", 1)
    assert re.fullmatch(r"time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", moment)
    assert rest == 'level=info event="payment received" payment=PR-1 amount_sats=5 late=false\n'


def test_json_has_the_same(written: Callable[[], str]) -> None:
    """One object a line."""
    logs.configure("json", "info")
    structlog.get_logger("daemon").info("payment received", payment="PR-1", amount_sats=5, note="ä\n\u2028")
    line = json.loads(written())
    assert list(line)[:3] == ["time", "level", "event"]
    assert (line["payment"], line["amount_sats"], line["note"]) == ("PR-1", 5, "ä\n\u2028")
    assert written().isascii()


@given(anything)
def test_no_value_ends_its_line_or_forges_another_key(value: object) -> None:
    """What stands after the value is read as it was written."""
    line = logs.render_logfmt(None, "", {"event": "x", "value": value, "last": "end"})
    assert line.startswith("event=x value=")
    assert line.endswith(" last=end")
    assert line.splitlines() == [line]
    quoted = line.removeprefix("event=x value=").removesuffix(" last=end")
    if quoted.startswith('"'):
        assert isinstance(json.loads(quoted), str)
    else:
        assert not set(quoted) & set(' ="\\')
    assert logs.render_json(None, "", {"event": "x", "value": value}).splitlines()[1:] == []


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


def test_an_exception_that_nobody_catches_is_one_line(written: Callable[[], str]) -> None:
    """In the main thread, and in any other."""
    logs.configure("logfmt", "info")
    error = ValueError("bad\nthing")
    sys.excepthook(ValueError, error, None)

    def fail() -> None:
        raise error

    thread = threading.Thread(target=fail, name="courier")
    thread.start()
    thread.join()
    lines = written().splitlines()
    assert len(lines) == 2
    assert all("level=critical event=crashed" in line for line in lines)
    assert "thread=courier" in lines[1]


def test_secrets_do_not_print(written: Callable[[], str]) -> None:
    """Not even by mistake."""
    logs.configure("logfmt", "info")
    structlog.get_logger().info("login", password=Secret("hunter2"))
    assert "hunter2" not in written()


@pytest.mark.parametrize("level", ["debug", "info"])
def test_libraries_speak_from_warning_up(written: Callable[[], str], level: str) -> None:
    """The RPC library would log every answer, and the database library every query, with what is in them."""
    logs.configure("logfmt", level)
    for name in ("BitcoinRPC", "urllib3.connectionpool", "peewee", "uvicorn"):
        logging.getLogger(name).debug("secret")
        logging.getLogger(name).info("secret")
        logging.getLogger(name).warning("%s is\nodd", name)
    assert "secret" not in written()
    assert len(written().splitlines()) == 4


def test_the_level_is_the_least_that_is_shown(written: Callable[[], str]) -> None:
    """Of ours and of the libraries'."""
    logs.configure("logfmt", "error")
    structlog.get_logger().warning("no")
    logging.getLogger("uvicorn").warning("no")
    structlog.get_logger().error("yes")
    assert [line.split(" ")[2] for line in written().splitlines()] == ["event=yes"]


def test_standard_logging_can_have_fields_too(written: Callable[[], str]) -> None:
    """For what may not depend on structlog."""
    logs.configure("logfmt", "info")
    logging.getLogger("nodetill.models").info("schema migrated", extra={"fields": {"migration": "0001"}})
    assert written().endswith('level=info event="schema migrated" migration=0001\n')
