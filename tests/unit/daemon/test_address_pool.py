"""The pool has addresses when they are safe to use, and not before."""

from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any, cast

import pytest

from config import load_settings
from daemon.address_pool import AddressPool
from daemon.node.client import Bitcoind
from daemon.node.types import NodeTip
from models.address import free_count
from models.block import Block
from models.db.connection import disconnect
from tests.support.prepared_database import open_prepared
from tests.support.rows import BLOCK_HASH, NOW, script

TIP = NodeTip("regtest", BLOCK_HASH, 50, 50, "0" * 64, NOW, 0, is_initial_download=False)


class Wallet:
    """A bitcoind that only makes addresses."""

    def __init__(self) -> None:
        self._numbers = count()

    def new_addresses(self, count: int) -> list[tuple[str, bytes]]:
        numbers = islice(self._numbers, count)
        return [(f"bcrt1q{number:038x}", script(number)) for number in numbers]

    def tip(self) -> NodeTip:
        return TIP

    def on_wait(self, _callback: Any) -> None:
        """Do nothing, since no call takes long."""


@pytest.fixture
def pool(database_url: str, tmp_path: Path) -> Iterator[AddressPool]:
    """Return a pool of thirty addresses on a new database."""
    open_prepared(database_url)
    settings = load_settings({"ADDRESS_POOL": "30"}, tmp_path)
    yield AddressPool(settings, cast(Bitcoind, Wallet()), lambda: NOW)
    disconnect()


def test_no_address_is_ready_before_the_chain_is_followed(pool: AddressPool) -> None:
    """A payment to it could be in a block before the first one that the daemon reads."""
    pool.fill()
    assert free_count() == 0
    Block.create(height=101, hash=BLOCK_HASH, chainwork="0" * 64, mined_at=NOW)
    pool.fill()
    assert free_count() == 30
