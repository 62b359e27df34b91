"""Blocks come by REST if bitcoind serves REST."""

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
