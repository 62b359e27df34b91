"""Each seller's requests get addresses of the seller's wallet, and each address once."""

from collections.abc import Iterator

import peewee
import pytest

from models.address import (
    Address,
    add_derived,
    claim_address,
    free_count_of,
    has_free_address,
    held_count,
    hold_unclaimed,
    pool_ends,
    release_derived,
    retire,
    retire_free,
    retire_others,
    unclaimed_addresses,
)
from models.db.connection import database, disconnect
from models.queries.wallets import free_addresses, paid_addresses, wallet_figures
from models.wallet import (
    BITCOIND,
    LOOKAHEAD,
    Wallet,
    advance,
    is_bitcoind_used,
    make_default,
    wallet_added,
    wallet_named,
    wallets_in_use,
)
from tests.support.prepared_database import open_prepared
from tests.support.rows import NOW, TXID, fill_pool, new_output, new_payment, new_seller

AHEAD = 10


@pytest.fixture(autouse=True)
def _database(database_url: str) -> Iterator[None]:
    open_prepared(database_url)
    yield
    disconnect()


def added(name: str, free: int, start: int = 0) -> Wallet:
    """Store a wallet with free addresses, and AHEAD addresses beyond."""
    wallet = wallet_added(name, f"wpkh({name}/0/*)", name.encode(), "bech32", start, NOW)
    return more(wallet, free)


def more(wallet: Wallet, free: int) -> Wallet:
    """Release addresses of a wallet, and derive as many."""
    next_index, until = wallet.next_index + free, wallet.next_index + free + AHEAD
    indexes = range(wallet.watched_until, until)
    assert advance(wallet, next_index, until)
    pairs = [(f"{wallet.name}-{i}", f"{wallet.name}-{i}".encode()) for i in indexes]
    add_derived(wallet, wallet.watched_until, pairs, NOW)
    release_derived(wallet, next_index)
    return stored(wallet)


def stored(wallet: Wallet) -> Wallet:
    found = wallet_named(wallet.name)
    assert found is not None
    return found


def claimed(seller: str = "") -> str | None:
    row = claim_address(NOW, seller)
    return None if row is None else row.address


def row(address: str) -> Address:
    found: Address = Address.get(Address.address == address)
    return found


def test_a_new_database_has_bitcoinds_wallet_alone() -> None:
    assert [(w.id, w.name, w.is_default) for w in Wallet.select()] == [(BITCOIND, "bitcoind", True)]
    assert is_bitcoind_used()


def test_a_request_gets_an_address_of_its_sellers_wallet() -> None:
    """A seller without a wallet gets the default wallet's. Nothing is taken from another wallet."""
    fill_pool(2)
    shop, vault = added("shop", 2), added("vault", 1)
    new_seller("company1")
    new_seller("company2", wallet_id=vault.id)
    assert claimed("company2") == "vault-0"
    assert (claimed("company2"), has_free_address("company2")) == (None, False)
    assert claimed("company1") == f"bcrt1q{0:038x}"
    assert has_free_address("company1")
    make_default(shop)
    assert [claimed("company1"), claimed(), claimed("company1")] == ["shop-0", "shop-1", None]
    assert free_addresses() == {"shop": 0, "vault": 0}


def test_one_wallet_is_the_default() -> None:
    """The database refuses a second one."""
    shop = added("shop", 0)
    make_default(shop)
    assert [w.name for w in Wallet.select().where(Wallet.is_default)] == ["shop"]
    with pytest.raises(peewee.IntegrityError), database.atomic():
        Wallet.update(is_default=True).execute()


def test_the_wallets_in_use_are_the_default_and_those_of_sellers() -> None:
    """A removed seller has none."""
    shop, vault, old = added("shop", 1), added("vault", 1), added("old", 1)
    make_default(shop)
    new_seller("company1", wallet_id=vault.id)
    new_seller("company2", wallet_id=old.id, removed_at=NOW)
    assert [w.name for w in wallets_in_use()] == ["shop", "vault"]
    assert not is_bitcoind_used()
    new_seller("company3", wallet_id=BITCOIND)
    assert is_bitcoind_used()


def test_keys_and_names_are_stored_once() -> None:
    added("shop", 0)
    for name, script in (("shop", b"other"), ("other", b"shop")):
        with pytest.raises(peewee.IntegrityError), database.atomic():
            wallet_added(name, "d", script, "bech32", 0, NOW)


def test_addresses_ahead_are_watched_and_not_free() -> None:
    shop = added("shop", 3, start=5)
    assert (shop.next_index, shop.watched_until) == (8, 18)
    assert Address.select().where(Address.wallet_id == shop.id).count() == 3 + AHEAD
    assert (free_count_of(shop), held_count()) == (3, 0)
    assert row("shop-5").derivation_index == 5
    assert more(shop, 2).next_index == 10
    assert free_count_of(shop) == 5


def test_two_writers_advance_a_wallet_once() -> None:
    """The second one has read an older state."""
    shop = added("shop", 3)
    assert advance(shop, 4, 14)
    assert not advance(shop, 5, 15)


def test_an_address_of_another_wallet_is_not_assigned_again() -> None:
    """bitcoind's wallet may watch the same keys. An address that is in the table stays as it is."""
    Address.create(script=b"shop-1", address="shop-1", wallet="nodetill", created_at=NOW, claimed_at=NOW)
    make_default(added("shop", 3))
    assert [claimed() for _ in range(3)] == ["shop-0", "shop-2", None]


def test_money_to_an_unclaimed_address_retires_those_before_it() -> None:
    """Somebody has got it elsewhere, and may have got the earlier ones."""
    make_default(shop := added("shop", 5))
    assert claimed() == "shop-0"
    retire([row("shop-2").id], NOW)
    assert claimed() == "shop-3"
    retire([row("shop-3").id], NOW)
    assert claimed() == "shop-4"
    retire([row("shop-8").id], NOW)
    assert (claimed(), stored(shop).next_index) == (None, 9)
    more(stored(shop), 2)
    assert [claimed(), claimed(), claimed()] == ["shop-9", "shop-10", None]


def test_after_a_restore_a_wallet_goes_on_behind_all_addresses() -> None:
    """The skipped addresses are watched, and those that are derived later, too."""
    fill_pool(2)
    make_default(shop := added("shop", 3))
    assert claimed() == "shop-0"
    assert retire_free(NOW, 5) == 4
    behind = LOOKAHEAD + 5
    assert stored(shop).next_index == behind
    assert retire_free(NOW) == 0
    assert stored(shop).next_index == behind
    more(stored(shop), 1)
    assert [claimed(), claimed()] == [f"shop-{behind}", None]
    assert row(f"shop-{behind - 1}").claimed_at == NOW


def test_checks_of_bitcoinds_wallet_leave_descriptors_alone() -> None:
    """Their addresses are not in that wallet."""
    shop = added("shop", 3)
    fill_pool(2)
    ours = [address.id for address in unclaimed_addresses()]
    assert len(ours) == len(pool_ends()) == 2
    assert hold_unclaimed([], NOW) == 0
    assert (free_count_of(shop), hold_unclaimed(ours, NOW), held_count()) == (3, 2, 2)
    assert retire_others("another", NOW) == 2
    assert free_count_of(shop) == 3


# Figures


def pay(wallet: Wallet, number: int, **values: object) -> None:
    """Make a request with the wallet's next address, and pay it unless its number is negative."""
    address = claim_address(NOW, f"of-{wallet.name}")
    assert address is not None
    payment = new_payment(abs(number) + 1000, reference=f"PR-{address.address}", address=address)
    if number >= 0:
        new_output(payment, txid=f"{number:064x}", **values)


def test_the_gap_is_the_longest_run_of_unpaid_addresses() -> None:
    """Addresses that are not assigned yet do not count, and a dropped payment is none."""
    shop = added("shop", 12, start=3)
    new_seller("of-shop", wallet_id=shop.id)
    assert [each.gap for each in wallet_figures()] == [None, 0]
    for number in (-1, -2):
        pay(shop, number)
    assert wallet_figures()[1].gap == 2
    pay(shop, 3)
    for number in (-4, -5, -6):
        pay(shop, number)
    pay(shop, 7, state="dropped")
    figures = wallet_figures()[1]
    assert (figures.next_index, figures.last_paid_index, figures.gap) == (10, 5, 4)
    pay(shop, 8)
    pay(shop, -9)
    figures = wallet_figures()[1]
    assert (figures.last_paid_index, figures.gap, figures.free, figures.is_used) == (10, 4, 3, True)
    assert wallet_figures(newest=2)[1].gap == 1


def test_the_labels_of_a_wallet_have_its_requests_and_transactions() -> None:
    shop = added("shop", 3)
    new_seller("of-shop", wallet_id=shop.id)
    pay(shop, 1)
    pay(shop, -2)
    assert [(each.address, each.reference, each.txids) for each in paid_addresses(shop.id)] == [
        ("shop-0", "PR-shop-0", (f"{1:064x}",)),
        ("shop-1", "PR-shop-1", ()),
    ]
    assert list(paid_addresses(BITCOIND)) == []
    assert TXID
