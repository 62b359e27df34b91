"""manage.py at a terminal: help, tables, colours, and the documents of refusals with --json."""

import json
import os
import pty
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from admin import terminal
from admin.terminal import table, wrapped
from manage import manage
from regtest.node import PROJECT
from version import VERSION

COLUMNS = 80


def leaves(
    command: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield each command without subcommands, with the words that lead to it."""
    children = getattr(command, "commands", {})
    if not children:
        yield path, command
    for name, child in children.items():
        yield from leaves(child, (*path, name))


LEAVES = dict(leaves(manage))


def help_of(*path: str) -> str:
    # In a terminal click leaves two columns free, and under CliRunner it does not.
    result = CliRunner().invoke(manage, [*path, "--help"], terminal_width=COLUMNS - 2)
    assert result.exit_code == 0
    return result.stdout


def examples(text: str) -> list[list[str]]:
    """Return the lines of a help text that begin with manage.py, as words, without their explanation."""
    found = re.findall(r"^ +manage\.py (.+?)(?: {2,}.*| [|>].*)?$", text, re.MULTILINE)
    return [shlex.split(line) for line in found]


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_each_command_has_a_valid_example_in_its_help(path: tuple[str, ...]) -> None:
    """The parser accepts each example."""
    text = help_of(*path)
    own = [words[len(path) :] for words in examples(text) if tuple(words[: len(path)]) == path]
    assert own, text
    for words in own:
        LEAVES[path].make_context(path[-1], list(words))


def test_help_fits_a_terminal() -> None:
    """No line is cut or wrapped."""
    groups = {path[:-1] for path in LEAVES}
    for path in [*LEAVES, *groups]:
        for line in help_of(*path).splitlines():
            assert len(line) <= COLUMNS, (path, line)
            assert not re.search(r"[^\]]\.\.\.$", line), (path, line)


def test_the_version_is_printed() -> None:
    """It is the version of the servers, which a report of a fault names."""
    result = CliRunner().invoke(manage, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"Nodetill {VERSION}\n")


def test_the_help_names_ids_in_the_form_that_events_have() -> None:
    """A reader compares them with the ids of `events list`."""
    ids = re.findall(r"evt_\S+", help_of("events", "retry"))
    assert ids
    assert all(re.fullmatch(r"evt_[0-9a-f]{32}", each) for each in ids), ids


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_each_command_has_the_option_json(path: tuple[str, ...]) -> None:
    assert "--json" in help_of(*path)


@pytest.mark.parametrize(
    ("arguments", "environ", "status"),
    [
        (["seller", "remove", "nobody"], {}, 1),
        (["payment", "show", "PR-1"], {}, 1),
        (["events", "retry", "PR-1"], {}, 1),
        (["audit"], {"DATABASE_URL": "sqlite:///nowhere/n.db"}, 1),
        (["wallet", "create"], {"BITCOIND_COOKIE_FILE": "/nowhere"}, 1),
        (["seller", "add", "a b"], {}, 2),
        (["payment", "list", "--limit", "many"], {}, 2),
        (["payment", "list", "--bogus"], {}, 2),
        (["payment", "paint"], {}, 2),
        (["doctor"], {"CONFIRMATIONS": "many", "WEB_PORT": "x"}, 78),
        (["seller", "list"], {"CONFIRMATIONS": "many"}, 78),
    ],
)
def test_a_refusal_is_a_json_document_with_json(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    environ: dict[str, str],
    status: int,
) -> None:
    """Standard error has the same text in one line for people."""
    monkeypatch.chdir(tmp_path)
    result = CliRunner(env=environ).invoke(manage, [*arguments, "--json"])
    assert result.exit_code == status, result.output
    assert json.loads(result.stdout)["error"] in result.stderr.replace("nodetill: ", "").replace("\n", "; ")
    plain = CliRunner(env=environ).invoke(manage, arguments)
    assert (plain.exit_code, plain.stdout) == (status, "")


# Tables


def test_a_table_has_each_cell_in_full_in_its_column() -> None:
    """The terminal wraps long lines. Control characters are left out."""
    text = table(("ID", "NOTE"), [("PR-1", "Alpaca socks, two pairs"), ("PR-10", "\x1b[31mred")])
    assert text.splitlines() == ["ID     NOTE", "PR-1   Alpaca socks, two pairs", "PR-10   [31mred"]


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the width of the terminal to 60 columns."""
    monkeypatch.setattr(terminal, "width", lambda: 60)


@pytest.mark.usefixtures("narrow")
def test_a_line_to_be_copied_is_never_wrapped() -> None:
    line = f"rpcwhitelist=nodetill:{'getblock-chain,' * 20}"
    shown = wrapped(f"write as the last line of bitcoin.conf: {line} and restart", 20)
    assert line in map(str.strip, shown.splitlines())


# On a terminal


# The doctor listens to the feed for a moment only, because nothing publishes there.
IMPATIENT = """
from admin.doctor import feed
from manage import manage
feed.LISTEN_SECONDS = 0.1
manage()
"""


def run_on_a_terminal(tmp_path: Path, *arguments: str, **environ: str) -> str:
    """Return the output of manage.py on a terminal of its own."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", IMPATIENT, *arguments]
    environ = {
        "PYTHONPATH": str(PROJECT),
        "PATH": os.defpath,
        "COLUMNS": str(COLUMNS),
        "TERM": "xterm",
        **environ,
    }
    with subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        written = b""
        try:
            while piece := os.read(ours, 65536):
                written += piece
        except OSError:
            pass  # Linux raises it for a terminal whose other end is closed
        os.close(ours)
    assert process.returncode in (0, 1)
    return written.decode()


@pytest.mark.broad
def test_colours_need_a_terminal_without_no_color(tmp_path: Path) -> None:
    settings = {"RATE_SOURCES": "fixed:EUR=1", "BITCOIND_COOKIE_FILE": "/nowhere"}
    colourful = run_on_a_terminal(tmp_path, "doctor", **settings)
    assert "\x1b[31mwrong" in colourful
    plain = re.sub(r"\x1b\[[0-9]*m", "", colourful)
    assert all(len(line) <= COLUMNS or len(line.split()) == 1 for line in plain.splitlines())
    assert "\x1b" not in run_on_a_terminal(tmp_path, "doctor", NO_COLOR="1", **settings)
