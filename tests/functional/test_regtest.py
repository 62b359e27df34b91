"""regtest/node.py and bitcoin.conf.example, on a real bitcoind."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from daemon.node.calls import ADDING_CALLS, RPC_CALLS
from daemon.node.errors import NodeRefused, RpcError
from daemon.node.rpc import Rpc
from regtest.node import (
    CUSTOMER,
    PROJECT,
    NoBitcoindError,
    NodeNotStarted,
    RegtestNode,
    accepted_options,
    find_bitcoind,
)
from tests.support.waiting import wait_until

pytestmark = pytest.mark.bitcoind


def whitelist() -> list[str]:
    text = (PROJECT / "bitcoin.conf.example").read_text(encoding="utf-8")
    (line,) = [line for line in text.splitlines() if line.startswith("rpcwhitelist=")]
    return line.partition(":")[2].split(",")


def test_the_example_publishes_each_topic_without_a_queue_limit(regtest_node: RegtestNode) -> None:
    """Each topic has its own address, and a high-water mark of 0, which means no limit."""
    published = {row["type"]: (row["address"], row["hwm"]) for row in regtest_node.rpc("getzmqnotifications")}
    assert published == {
        "pubrawtx": (regtest_node.zmq_rawtx, 0),
        "pubhashblock": (regtest_node.zmq_hashblock, 0),
    }


def test_the_whitelist_has_exactly_the_daemons_calls() -> None:
    """Those of `wallet add` come on top. A missing call would fail only on the operator's node.

    A needless call would be a risk.
    """
    assert set(whitelist()) == RPC_CALLS | ADDING_CALLS
    assert len(whitelist()) == len(RPC_CALLS | ADDING_CALLS)


def test_nodetills_user_can_make_only_the_calls_of_the_whitelist(regtest_node: RegtestNode) -> None:
    """bitcoind refuses all other calls, such as those that spend or that return keys."""
    known = {line.split()[0] for line in regtest_node.rpc("help").splitlines() if line and line[0] != "="}
    assert set(whitelist()) <= known
    refused = {method for method in known if status_of(regtest_node, method) == 403}
    assert refused == known - set(whitelist())


def status_of(node: RegtestNode, method: str) -> int:
    """Return 403 if the whitelist refuses the call, else 200.

    The call has too many arguments, so that it has no effect.
    """
    try:
        as_nodetill(node, method, *["too", "many"] * 10)
    except NodeRefused:
        return 403
    except RpcError:
        return 200
    return 200


def as_nodetill(node: RegtestNode, method: str, *parameters: Any) -> Any:
    """Return the result of a call as Nodetill's own user."""
    with closing(Rpc(node.url, lambda: f"nodetill:{node.password}")) as rpc:
        return rpc.call(method, *parameters)


def test_the_whitelist_does_not_limit_the_cookies_user(regtest_node: RegtestNode) -> None:
    """The operator's own bitcoin-cli uses the cookie."""
    assert regtest_node.rpc("getbalance", wallet=CUSTOMER) > 0


def test_a_killed_node_restarts_with_the_same_ports_and_wallets(
    start_node: Callable[..., RegtestNode],
) -> None:
    node = start_node()
    node.rpc("createwallet", "nodetill")
    node.mine(3)
    url, topics = node.rpc_url, node.zmq_rawtx
    node.kill()
    assert not node.is_running
    node.restart()
    assert (node.rpc_url, node.zmq_rawtx) == (url, topics)
    assert as_nodetill(node, "getblockchaininfo")["chain"] == "regtest"
    assert set(node.rpc("listwallets")) == {"nodetill", CUSTOMER}


def test_the_error_of_a_failed_start_has_the_reason(bitcoind: list[str], tmp_path: Path) -> None:
    """The error names the wrong option."""
    with pytest.raises(NodeNotStarted, match="nosuchoption"):
        RegtestNode.start(tmp_path / "node", bitcoind, ["-nosuchoption"])


def test_a_node_ends_with_the_process_that_started_it(bitcoind: list[str], tmp_path: Path) -> None:
    """A test run that is killed leaves no bitcoind behind."""
    program = (
        "import sys; from pathlib import Path; from regtest.node import RegtestNode;"
        "node = RegtestNode.start(Path(sys.argv[1]), sys.argv[2:]);"
        "print(node.process.pid, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "node"), *bitcoind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        starter.kill()
    wait_until(lambda: not is_alive(pid), what="bitcoind to end")


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_variable_bitcoind_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """$BITCOIND comes before the path and the cache. If its file is missing, the error names the variable."""
    program = tmp_path / "bitcoind"
    program.touch()
    program.chmod(stat.S_IRWXU)
    monkeypatch.setenv("BITCOIND", str(program))
    assert find_bitcoind() == [str(program)]
    monkeypatch.setenv("BITCOIND", "/nowhere/bitcoind")
    with pytest.raises(NoBitcoindError, match="BITCOIND"):
        find_bitcoind()


def test_without_apt_the_error_names_the_variable_to_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The system has no bitcoind, and is not Debian."""
    monkeypatch.delenv("BITCOIND", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoBitcoindError, match="set BITCOIND"):
        find_bitcoind(tmp_path / "cache")


def test_options_that_bitcoind_lacks_are_left_out(tmp_path: Path) -> None:
    """Bitcoin Core has no -blockmaxsize, and would refuse to start with it."""
    program = tmp_path / "bitcoind"
    program.write_text("#!/bin/sh\necho '  -checkmempool=<n>'\necho '  -blockmaxweight=<n>'\n")
    program.chmod(stat.S_IRWXU)
    assert accepted_options((os.fspath(program),)) == ("-checkmempool=0", "-blockmaxweight=4000000")
