"""Blocks and block hashes come by REST if bitcoind serves REST, and are the same by RPC."""

import select
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from config import load_settings
from daemon.node.client import Bitcoind
from regtest.installation import settings_for
from regtest.node import RegtestNode
from tests.support.waiting import wait_until


def test_a_rest_connection_that_bitcoind_closed_is_opened_again(
    start_node: Callable[..., RegtestNode], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most blocks come minutes after the last one. They still come by REST, because hex by RPC is slow."""
    node = start_node("-rpcservertimeout=1")
    (tip,) = node.mine(1)
    bitcoind = Bitcoind(load_settings(settings_for(node, tmp_path), tmp_path))

    def refuse(method: str, *_parameters: Any, **_options: Any) -> None:
        raise AssertionError(f"{method} was called by RPC")

    monkeypatch.setattr(bitcoind._rpc, "call", refuse)
    assert bitcoind.block(tip).hash == tip
    connection = bitcoind._rest._connection
    assert connection is not None
    assert connection.sock is not None
    wait_until(
        lambda: select.select([connection.sock], [], [], 0)[0], what="bitcoind to close the connection"
    )
    assert bitcoind.block(tip).hash == tip
    bitcoind.close()


@pytest.mark.parametrize("rest", ["auto", "off"])
def test_the_blocks_after_a_block_are_those_of_the_active_chain(
    start_node: Callable[..., RegtestNode], tmp_path: Path, rest: str
) -> None:
    """The list ends at the requested height. After a block that has left the chain, the list is empty."""
    node = start_node()
    hashes = node.mine(6)
    settings = {**settings_for(node, tmp_path), "BITCOIND_REST": rest}
    bitcoind = Bitcoind(load_settings(settings, tmp_path))

    def above(block_hash: str, height: int, last_height: int) -> list[str]:
        found: list[str] = []
        while height + len(found) < last_height:
            more = bitcoind.hashes_after(found[-1] if found else block_hash, height + len(found), last_height)
            if not more:
                break
            found += more
        return found

    height = node.rpc("getblockcount")
    assert above(hashes[0], height - 5, height) == hashes[1:]
    assert above(hashes[0], height - 5, height - 2) == hashes[1:4]
    node.rpc("invalidateblock", hashes[3])
    assert above(hashes[0], height - 5, height) == hashes[1:3]
    if rest == "auto":
        assert bitcoind.hashes_after(hashes[4], height - 1, height + 5) == []
    bitcoind.close()
