"""Addresses of bitcoind's wallet are compared with that wallet before a request gets them again."""

from collections.abc import Iterator

import pytest

from admin.wallet.choice import wallets_change
from models.address import free_count, held_count
from models.db.connection import database, disconnect
from models.seller import Seller
from models.wallet import BITCOIND, make_default, wallet_added, wallet_named
from tests.support.prepared_database import open_prepared
from tests.support.rows import NOW, fill_pool, new_seller


@pytest.fixture(autouse=True)
def _database(database_url: str) -> Iterator[None]:
    """Open a database with a seller, and three free addresses of bitcoind's wallet."""
    open_prepared(database_url)
    fill_pool(3)
    new_seller()
    wallet_added("shop", "wpkh(xpub/0/*)", b"first", "bech32", 0, NOW)
    yield
    disconnect()


def use(name: str) -> None:
    wallet = wallet_named(name)
    assert wallet is not None
    with database.atomic(), wallets_change(NOW):
        make_default(wallet)


def test_a_wallet_that_stays_in_use_keeps_its_addresses_free() -> None:
    use("bitcoind")
    assert (free_count(), held_count()) == (3, 0)


def test_a_wallet_that_comes_back_into_use_has_its_addresses_held() -> None:
    """Another wallet may have its name by now. The daemon releases the addresses that the wallet knows."""
    use("shop")
    assert (free_count(), held_count()) == (3, 0)
    use("bitcoind")
    assert (free_count(), held_count()) == (0, 3)


def test_a_seller_can_bring_it_back_into_use() -> None:
    use("shop")
    with database.atomic(), wallets_change(NOW):
        Seller.update(wallet_id=BITCOIND).execute()
    assert (free_count(), held_count()) == (0, 3)
    use("bitcoind")
    assert (free_count(), held_count()) == (0, 3)
