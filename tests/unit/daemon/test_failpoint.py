"""The failpoints at which tests kill the daemon are complete, and none is reached by accident."""

import ast
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from config import EX_CONFIG
from daemon import failpoint
from daemon.node.calls import RPC_CALLS
from tests.support.fork_server import run_python

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
    """Return the strings in the first argument of a call."""
    constants = [node for node in ast.walk(call.args[0]) if isinstance(node, ast.Constant)]
    return [constant.value for constant in constants if isinstance(constant.value, str)]


def test_each_transaction_of_the_daemon_has_its_failpoints() -> None:
    """`unit_of_work` is the only way to begin a transaction, and takes its name."""
    for path, tree in SOURCES.items():
        if path.name != "unit_of_work.py":
            assert not list(_calls(tree, "atomic")), f"{path}: use unit_of_work"
    named = [
        text for tree in SOURCES.values() for call in _calls(tree, "unit_of_work") for text in _texts(call)
    ]
    assert sorted({name for name in named if not name.startswith(".")}) == list(failpoint.TRANSACTIONS)


def test_each_send_and_each_rpc_call_has_its_failpoints() -> None:
    """A send has one before and one after it, and a call has one after its answer."""
    reached = [text for tree in SOURCES.values() for call in _calls(tree, "reach") for text in _texts(call)]
    assert {".to-be-sent", ".sent", "rpc.", *failpoint.OTHERS} <= set(reached)
    names = ("send", "send_btcpay", "send_webhook")
    sends = {
        ast.unparse(call.func) for tree in SOURCES.values() for name in names for call in _calls(tree, name)
    }
    expected = {"self._mailer.send", "send_webhook", "sender.send", "sender.send_btcpay"}
    assert sends == expected, "each send needs its failpoints"


@pytest.fixture
def _disarmed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failpoint, "_armed", None)


@pytest.mark.usefixtures("_disarmed")
@pytest.mark.parametrize("value", ["nowhere", "assessed", "assessed.written:0", "assessed.written:x", ":1"])
def test_an_unknown_failpoint_is_refused(value: str) -> None:
    """A test with a misspelt failpoint must not pass."""
    with pytest.raises(failpoint.UnknownFailpoint):
        failpoint.arm({failpoint.VARIABLE: value}, failpoint.names(RPC_CALLS))


@pytest.mark.usefixtures("_disarmed")
def test_only_the_chosen_arrival_kills(monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL allows no clean-up."""
    kills: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: kills.append((pid, number)))
    failpoint.arm({failpoint.VARIABLE: "email.sent:3"}, failpoint.names(RPC_CALLS))
    for name in ("email.sent", "webhook.sent", "email.sent"):
        failpoint.reach(name)
    assert kills == []
    failpoint.reach("email.sent")
    assert kills == [(os.getpid(), 9)]
    failpoint.reach("email.sent")
    assert len(kills) == 1


@pytest.mark.usefixtures("_disarmed")
@pytest.mark.parametrize("environ", [{}, {failpoint.VARIABLE: ""}])
def test_without_the_variable_no_failpoint_kills(environ: dict[str, str]) -> None:
    assert failpoint.arm(environ, failpoint.names(RPC_CALLS)) is None
    for name in failpoint.names(RPC_CALLS):
        failpoint.reach(name)


def _start(tmp_path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return run_python("run_daemon.py", tmp_path, **{"SMTP_URL": f"maildir:{tmp_path / 'mail'}"} | variables)


def test_a_daemon_with_a_failpoint_logs_a_warning(tmp_path: Path) -> None:
    """An operator must notice a failpoint in production before the daemon is killed."""
    done = _start(tmp_path, NODETILL_FAILPOINT="rates-stored.written", RATE_SOURCES="fixed:EUR=50000")
    assert done.returncode == -9
    assert "level=warning" in done.stdout
    assert "THIS DAEMON WILL KILL ITSELF" in done.stdout


def test_the_failpoint_is_no_setting(tmp_path: Path) -> None:
    """`.env` cannot set it, and an unknown name stops the start."""
    (tmp_path / ".env").write_text("NODETILL_FAILPOINT=nowhere\nCONFIRMATIONS=many\n")
    assert "CONFIRMATIONS" in _start(tmp_path).stderr
    (tmp_path / ".env").unlink()
    refused = _start(tmp_path, NODETILL_FAILPOINT="nowhere")
    assert refused.returncode == EX_CONFIG
    assert "NODETILL_FAILPOINT" in refused.stderr
