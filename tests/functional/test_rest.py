"""A block's bytes come by REST, also when bitcoind has closed the connection since the last."""

import select
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from admin.installation import settings_for
from admin.regtest import RegtestNode
from config import load_settings
from daemon.bitcoind import Bitcoind
from tests.waiting import wait_until


def test_a_connection_that_was_idle_too_long_is_made_anew(
    start_node: Callable[..., RegtestNode], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most blocks come minutes after the last; as hex by RPC, each would take ten times as long."""
    node = start_node("-rpcservertimeout=1")
    (tip,) = node.mine(1)
    bitcoind = Bitcoind(load_settings(settings_for(node, tmp_path), tmp_path))

    def refuse(method: str, *_parameters: Any, **_options: Any) -> None:
        raise AssertionError(f"{method} was asked for by RPC")

    monkeypatch.setattr(bitcoind, "_call", refuse)
    assert bitcoind.block(tip).hash == tip
    connection = bitcoind._rest
    assert connection is not None
    assert connection.sock is not None
    wait_until(lambda: select.select([connection.sock], [], [], 0)[0], what="bitcoind to close it")
    assert bitcoind.block(tip).hash == tip
    bitcoind.close()
