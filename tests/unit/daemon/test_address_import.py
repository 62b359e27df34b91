"""Addresses of the wallet that the table lacks are imported once, when this is safe."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from daemon.chain.address_import import AddressImport
from daemon.chain.block_handler import BlockHandler
from daemon.chain.watchlist import Watchlist
from daemon.node.errors import WALLET_NOT_FOUND, NodeRefused, RpcError
from daemon.node.types import NodeTip
from models.address import Address
from models.block import Block, stored_tip
from models.db.connection import disconnect
from models.db.leadership import begin_epoch, end_epoch
from tests.support.prepared_database import open_prepared
from tests.support.rows import NOW, script

READ = range(100, 111)
"""The heights of the blocks that the daemon has read."""


class Wallet:
    """A bitcoind whose wallet has one address, which was paid at a height."""

    def __init__(self, paid_height: int) -> None:
        self.paid_height = paid_height
        self.is_scanning = False
        self.error: Exception | None = None

    def addresses(self) -> list[str]:
        if self.error is not None:
            raise self.error
        return ["bcrt1qlost"]

    def is_wallet_scanning(self) -> bool:
        return self.is_scanning

    def scripts_of(self, addresses: list[str]) -> list[bytes]:
        return [script(number) for number, _ in enumerate(addresses)]

    def paid_heights(self, _block_hash: str) -> dict[str, int]:
        return {"bcrt1qlost": self.paid_height, "bcrt1qother": 101}


def tip(*, work: int = 110, pruned_below: int = 0) -> NodeTip:
    return NodeTip(
        chain="regtest",
        hash=f"{110:064x}",
        height=110,
        headers=110,
        chainwork=f"{work:064x}",
        median_time=datetime.now(UTC),
        pruned_below=pruned_below,
        is_initial_download=False,
    )


Start = Callable[[Wallet], AddressImport]


@pytest.fixture
def start(database_url: str) -> Iterator[Start]:
    """Return a function that starts an import on a database with the blocks READ."""
    open_prepared(database_url)
    begin_epoch("here")
    for height in READ:
        Block.create(height=height, hash=f"{height:064x}", chainwork=f"{height:064x}", mined_at=NOW)

    def start(wallet: Wallet) -> AddressImport:
        node = cast(Any, wallet)
        return AddressImport(node, BlockHandler(node, Watchlist(), lambda: None), "nodetill")

    yield start
    end_epoch()
    disconnect()


def imported() -> list[str]:
    return [address.address for address in Address.select().where(Address.claimed_at.is_null(False))]


def read_height() -> int | None:
    read = stored_tip()
    return read.height if read else None


def test_blocks_from_the_first_payment_on_are_disconnected(start: Start) -> None:
    """The daemon reads them again at the next reconciling, and no request claims the address."""
    start(Wallet(105)).run(tip(), NOW)
    assert imported() == ["bcrt1qlost"]
    assert read_height() == 104


def test_the_import_runs_once(start: Start) -> None:
    """Addresses that the wallet makes later belong to the pool."""
    imports = start(Wallet(105))
    imports.run(tip(), NOW)
    Address.delete().execute()
    imports.run(tip(), NOW)
    assert imported() == []


def test_a_payment_in_an_unread_block_disconnects_nothing(start: Start) -> None:
    """After a restore the later blocks are read anyway."""
    start(Wallet(111)).run(tip(), NOW)
    assert imported() == ["bcrt1qlost"]
    assert read_height() == 110


def test_a_pruned_block_is_not_disconnected(start: Start) -> None:
    """The daemon could not read it again, and would stop there. The audit names the payment."""
    with capture_logs() as lines:
        start(Wallet(105)).run(tip(pruned_below=107), NOW)
    assert imported() == ["bcrt1qlost"]
    assert read_height() == 110
    assert any("manage.py audit" in line["event"] for line in lines)


def test_the_import_waits_for_a_node_that_is_behind(start: Start) -> None:
    """With blocks disconnected, the node's chain would have work enough, and the daemon would follow it."""
    imports = start(Wallet(105))
    imports.run(tip(work=109), NOW)
    assert (imported(), read_height()) == ([], 110)
    imports.run(tip(), NOW)
    assert (imported(), read_height()) == (["bcrt1qlost"], 104)


@pytest.mark.parametrize("trouble", ["rescanning", "not loaded"])
def test_the_import_waits_for_a_wallet_that_cannot_list_its_payments(start: Start, trouble: str) -> None:
    """The wallet's list would have gaps."""
    wallet = Wallet(105)
    wallet.is_scanning = trouble == "rescanning"
    wallet.error = None if wallet.is_scanning else RpcError(WALLET_NOT_FOUND, "no such wallet")
    imports = start(wallet)
    assert not imports.run(tip(), NOW)
    assert (imported(), read_height()) == ([], 110)
    wallet.is_scanning, wallet.error = False, None
    assert imports.run(tip(), NOW)
    assert (imported(), read_height()) == (["bcrt1qlost"], 104)


def test_a_forbidden_call_is_logged_and_not_repeated(start: Start) -> None:
    """The daemon continues without the import."""
    wallet = Wallet(105)
    wallet.error = NodeRefused("add getaddressesbylabel to rpcwhitelist")
    imports = start(wallet)
    with capture_logs() as lines:
        imports.run(tip(), NOW)
        wallet.error = None
        imports.run(tip(), NOW)
    assert imported() == []
    assert len(lines) == 1
