"""regtest/node.py, bitcoin.conf.example and what they promise, on a real bitcoind."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from bitcoinrpc.authproxy import JSONRPCException

from daemon.node.rpc import RPC_CALLS
from regtest.node import (
    CUSTOMER,
    PROJECT,
    NoBitcoindError,
    NodeError,
    RegtestNode,
    accepted_options,
    call,
    find_bitcoind,
)
from tests.support.waiting import wait_until

pytestmark = pytest.mark.bitcoind


def whitelist() -> list[str]:
    text = (PROJECT / "bitcoin.conf.example").read_text(encoding="utf-8")
    (line,) = [line for line in text.splitlines() if line.startswith("rpcwhitelist=")]
    return line.partition(":")[2].split(",")


def test_the_example_publishes_each_topic_with_a_mark_that_loses_nothing(regtest_node: RegtestNode) -> None:
    """What bitcoind says it publishes is what the configuration asks for, each on an address of its own."""
    published = {row["type"]: (row["address"], row["hwm"]) for row in regtest_node.rpc("getzmqnotifications")}
    assert published == {
        "pubrawtx": (regtest_node.zmq_rawtx, 0),
        "pubhashblock": (regtest_node.zmq_hashblock, 0),
    }


def test_the_whitelist_is_what_the_daemon_calls_and_no_more() -> None:
    """A call that is missing would fail on the operator's node alone; one too many is a risk for nothing."""
    assert set(whitelist()) == RPC_CALLS
    assert len(whitelist()) == len(RPC_CALLS)


def test_nodetills_user_may_make_no_call_but_those_of_the_whitelist(regtest_node: RegtestNode) -> None:
    """Every call on the list is let through; any other, such as spending or reading keys, is refused."""
    known = {line.split()[0] for line in regtest_node.rpc("help").splitlines() if line and line[0] != "="}
    assert set(whitelist()) <= known
    refused = {method for method in known if status_of(regtest_node, method) == 403}
    assert refused == known - set(whitelist())


def status_of(node: RegtestNode, method: str) -> int:
    """403 if the whitelist refuses the call, else 200. Too many arguments, so that none does anything."""
    try:
        call(node.rpc_url, method, *["too", "many"] * 10)
    except JSONRPCException as error:
        return 403 if "403" in str(error) else 200
    return 200


def test_the_cookies_user_is_not_bound_by_the_whitelist(regtest_node: RegtestNode) -> None:
    """Else the operator's own bitcoin-cli would stop working."""
    assert regtest_node.rpc("getbalance", wallet=CUSTOMER) > 0


def test_a_node_comes_back_after_a_kill_with_the_same_ports_and_wallets(
    start_node: Callable[..., RegtestNode],
) -> None:
    """As bitcoind does after a crash, so that a daemon can wait for it."""
    node = start_node()
    node.rpc("createwallet", "nodetill")
    node.mine(3)
    url, topics = node.rpc_url, node.zmq_rawtx
    node.kill()
    assert not node.is_running
    node.restart()
    assert (node.rpc_url, node.zmq_rawtx) == (url, topics)
    assert call(node.rpc_url, "getblockchaininfo")["chain"] == "regtest"
    assert set(node.rpc("listwallets")) == {"nodetill", CUSTOMER}


def test_a_node_that_does_not_start_says_why(bitcoind: list[str], tmp_path: Path) -> None:
    """A wrong option is named in the error."""
    with pytest.raises(NodeError, match="nosuchoption"):
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
    wait_until(lambda: not is_alive(pid), what="bitcoind to be gone")


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_named_bitcoind_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """$BITCOIND wins over the path and the cache; an error names it where it isn't there."""
    program = tmp_path / "bitcoind"
    program.touch()
    program.chmod(stat.S_IRWXU)
    monkeypatch.setenv("BITCOIND", str(program))
    assert find_bitcoind() == [str(program)]
    monkeypatch.setenv("BITCOIND", "/nowhere/bitcoind")
    with pytest.raises(NoBitcoindError, match="BITCOIND"):
        find_bitcoind()


def test_where_there_is_no_apt_the_error_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without bitcoind and without Debian, the operator learns where to get one and which variable to set."""
    monkeypatch.delenv("BITCOIND", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoBitcoindError, match="set BITCOIND"):
        find_bitcoind(tmp_path / "cache")


def test_options_that_this_bitcoind_does_not_know_are_left_out(tmp_path: Path) -> None:
    """Bitcoin Core has no -blockmaxsize, and would refuse to start."""
    program = tmp_path / "bitcoind"
    program.write_text("#!/bin/sh\necho '  -checkmempool=<n>'\necho '  -blockmaxweight=<n>'\n")
    program.chmod(stat.S_IRWXU)
    assert accepted_options((os.fspath(program),)) == ("-checkmempool=0", "-blockmaxweight=4000000")
