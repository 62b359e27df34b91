"""The places at which tests have the daemon die: all of them are known, and none is reached by accident."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from config import EX_CONFIG
from daemon import failpoint
from daemon.node.rpc import RPC_CALLS

ROOT = Path(__file__).parent.parent.parent.parent
SOURCES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in ROOT.glob("daemon/**/*.py")}


def _calls(tree: ast.AST, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and name in (
            getattr(node.func, "attr", None),
            getattr(node.func, "id", None),
        ):
            yield node


def _texts(call: ast.Call) -> list[str]:
    """The strings in its first argument."""
    constants = [node for node in ast.walk(call.args[0]) if isinstance(node, ast.Constant)]
    return [constant.value for constant in constants if isinstance(constant.value, str)]


def test_every_transaction_of_the_daemon_has_its_fail_points() -> None:
    """There is one way to begin a transaction, and it names it."""
    for path, tree in SOURCES.items():
        if path.name != "unit_of_work.py":
            assert not list(_calls(tree, "atomic")), f"{path}: use unit_of_work"
    named = [
        text for tree in SOURCES.values() for call in _calls(tree, "unit_of_work") for text in _texts(call)
    ]
    assert sorted({name for name in named if not name.startswith(".")}) == list(failpoint.TRANSACTIONS)


def test_every_send_and_every_answer_of_bitcoind_has_its_fail_points() -> None:
    """Before and after; and after the answer to each call."""
    reached = [text for tree in SOURCES.values() for call in _calls(tree, "reach") for text in _texts(call)]
    assert {".to-be-sent", ".sent", "rpc.", *failpoint.OTHERS} <= set(reached)
    sends = {ast.unparse(call.func) for tree in SOURCES.values() for call in _calls(tree, "send")}
    assert sends == {"self._mailer.send", "self._webhooks.send"}, "each needs its places"


@pytest.fixture
def _disarmed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failpoint, "_armed", None)


@pytest.mark.usefixtures("_disarmed")
@pytest.mark.parametrize("value", ["nowhere", "assessed", "assessed.written:0", "assessed.written:x", ":1"])
def test_a_place_that_is_not_there_is_refused(value: str) -> None:
    """A test that means to kill must not pass because of a slip of the pen."""
    with pytest.raises(failpoint.UnknownFailpoint):
        failpoint.arm({failpoint.VARIABLE: value}, failpoint.names(RPC_CALLS))


@pytest.mark.usefixtures("_disarmed")
def test_the_named_arrival_kills_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """By SIGKILL, so that nothing is tidied up."""
    deaths: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: deaths.append((pid, number)))
    failpoint.arm({failpoint.VARIABLE: "email.sent:3"}, failpoint.names(RPC_CALLS))
    for name in ("email.sent", "webhook.sent", "email.sent"):
        failpoint.reach(name)
    assert deaths == []
    failpoint.reach("email.sent")
    assert deaths == [(os.getpid(), 9)]
    failpoint.reach("email.sent")
    assert len(deaths) == 1


@pytest.mark.usefixtures("_disarmed")
@pytest.mark.parametrize("environ", [{}, {failpoint.VARIABLE: ""}])
def test_nothing_dies_without_it(environ: dict[str, str]) -> None:
    """The usual case."""
    assert failpoint.arm(environ, failpoint.names(RPC_CALLS)) is None
    for name in failpoint.names(RPC_CALLS):
        failpoint.reach(name)


def _start(tmp_path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name != failpoint.VARIABLE}
    return subprocess.run(
        [sys.executable, str(ROOT / "run_daemon.py")],
        cwd=tmp_path,
        env=environ | {"SMTP_URL": f"maildir:{tmp_path / 'mail'}"} | variables,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_daemon_that_will_kill_itself_says_so(tmp_path: Path) -> None:
    """Loudly: nobody should find it in production by its death."""
    done = _start(tmp_path, NODETILL_FAILPOINT="rates-stored.written", RATE_SOURCES="fixed:EUR=50000")
    assert done.returncode == -9
    assert "level=warning" in done.stdout
    assert "THIS DAEMON WILL KILL ITSELF" in done.stdout


def test_it_is_no_setting(tmp_path: Path) -> None:
    """`.env` has no say in it, and a wrong name stops the start."""
    (tmp_path / ".env").write_text("NODETILL_FAILPOINT=nowhere\nCONFIRMATIONS=many\n")
    assert "CONFIRMATIONS" in _start(tmp_path).stderr
    (tmp_path / ".env").unlink()
    refused = _start(tmp_path, NODETILL_FAILPOINT="nowhere")
    assert refused.returncode == EX_CONFIG
    assert "NODETILL_FAILPOINT" in refused.stderr
