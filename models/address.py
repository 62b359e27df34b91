"""The address table: the scripts that belong to us, and the addresses that are free for new requests."""

from collections.abc import Collection, Iterable, Sequence, Set
from datetime import datetime
from typing import Any, ClassVar

import peewee

from models.db.connection import (
    BytesField,
    Table,
    UtcDateTimeField,
    chunked,
    execute,
    fetch_one,
    is_sqlite,
    statement,
)
from models.wallet import BITCOIND, Wallet, skip_watched

FREE = "claimed_at IS NULL AND held_at IS NULL"


class Address(Table):
    """An address of a wallet. A claim is final, and the address stays watched for ever.

    `wallet` is the name of the wallet in bitcoind, or of the descriptor. `wallet_id` is the row of `Wallet`,
    and `derivation_index` the index in its descriptor. While `held_at` is set, no request can claim the
    address. Either bitcoind's wallet does not contain it, or the pool has not taken it from the descriptor.
    """

    id = peewee.BigAutoField()
    script = BytesField(unique=True)
    address = peewee.CharField(max_length=100, unique=True)
    wallet = peewee.TextField()
    created_at = UtcDateTimeField()
    claimed_at = UtcDateTimeField(null=True)
    held_at = UtcDateTimeField(null=True)
    wallet_id = peewee.IntegerField(default=BITCOIND)
    derivation_index = peewee.BigIntegerField(null=True)

    partial_indexes: ClassVar = {
        "address_free": FREE,
        "address_held": "claimed_at IS NULL AND held_at IS NOT NULL",
    }

    @classmethod
    def is_free(cls) -> Any:
        """Return the condition that a request can claim this address."""
        return cls.claimed_at.is_null() & cls.held_at.is_null()

    @classmethod
    def is_held(cls) -> Any:
        """Return the condition that the address is unclaimed and held."""
        return cls.claimed_at.is_null() & cls.held_at.is_null(False)


Address.add_index(
    Address.index(
        Address.wallet_id,
        Address.derivation_index,
        name="address_derivation",
        unique=True,
        where=Address.derivation_index.is_null(False),
    )
)


def find_scripts(scripts: Set[bytes]) -> dict[bytes, int]:
    """Map those of the scripts that are in the table to the ids of their addresses."""
    found: dict[bytes, int] = {}
    # In the index's order, scripts of one page follow each other. So the database reads each page once.
    for batch in chunked(sorted(scripts)):
        query = "SELECT script, id FROM address WHERE script IN ?"
        rows = execute(query, batch)
        found.update((bytes(script), address_id) for script, address_id in rows)
    return found


def newest_address_id() -> int:
    """Return the highest id, or 0 in an empty table."""
    return int(Address.select(peewee.fn.MAX(Address.id)).scalar() or 0)


def unknown_addresses(addresses: Iterable[str]) -> list[str]:
    """Return the addresses that are not in the table, in their order."""
    unknown: list[str] = []
    for batch in chunked(addresses):
        rows = Address.select(Address.address).where(Address.address.in_(batch))
        known = {row.address for row in rows}
        unknown += [address for address in batch if address not in known]
    return unknown


def known_positions(addresses: Sequence[str]) -> list[int]:
    """Return the positions in the list of the addresses that the table has."""
    unknown = set(unknown_addresses(addresses))
    return [position for position, address in enumerate(addresses) if address not in unknown]


def add_addresses(
    pairs: Sequence[tuple[str, bytes]], wallet: str, now: datetime, *, are_free: bool = True
) -> None:
    """Add new addresses of bitcoind's wallet with their scripts. An address that is stored stays unchanged.

    With `are_free` False the addresses are only watched, and no request can claim them.
    """
    claimed_at = None if are_free else now
    rows = [
        {
            "address": address,
            "script": script,
            "wallet": wallet,
            "created_at": now,
            "claimed_at": claimed_at,
        }
        for address, script in pairs
    ]
    Address.insert_many(rows).on_conflict_ignore().execute()


def add_derived(wallet: Wallet, first_index: int, pairs: Sequence[tuple[str, bytes]], now: datetime) -> None:
    """Add addresses of a descriptor with their scripts. The first one has the index `first_index`.

    The addresses below the wallet's next index are only watched, and the others wait for the pool. An address
    that is stored stays unchanged, so no request gets it again.
    """
    rows = [
        {
            "address": address,
            "script": script,
            "wallet": wallet.name,
            "wallet_id": wallet.id,
            "derivation_index": index,
            "created_at": now,
            "claimed_at": now if index < wallet.next_index else None,
            "held_at": None if index < wallet.next_index else now,
        }
        for index, (address, script) in enumerate(pairs, first_index)
    ]
    for batch in chunked(rows):
        Address.insert_many(batch).on_conflict_ignore().execute()


def release_derived(wallet: Wallet, until_index: int) -> None:
    """Let requests claim the addresses of a descriptor from the wallet's next index to `until_index`."""
    is_next = (Address.derivation_index >= wallet.next_index) & (Address.derivation_index < until_index)
    is_its = (Address.wallet_id == wallet.id) & is_next & Address.claimed_at.is_null()
    Address.update(held_at=None).where(is_its).execute()


def free_count(wallet: str | None = None) -> int:
    """Return the number of addresses that can be claimed, of all wallets or of one."""
    is_wanted = Address.is_free()
    if wallet is not None:
        is_wanted &= Address.wallet == wallet
    return Address.select().where(is_wanted).count()


def free_count_of(wallet: Wallet) -> int:
    """Return the number of addresses of a wallet that can be claimed."""
    return Address.select().where(Address.is_free() & (Address.wallet_id == wallet.id)).count()


_FREE_OF_SELLER = statement(
    """SELECT id FROM address
    WHERE wallet_id = coalesce(
        (SELECT wallet_id FROM seller WHERE id = ?), (SELECT id FROM wallet WHERE is_default)
    ) AND {free}""",
    free=FREE,
)
"""The free addresses of the wallet of a seller, or of the default wallet where the seller has none."""


def has_free_address(seller_id: str) -> bool:
    """Return whether the seller's wallet has a free address, without the write lock of a claim."""
    return execute(f"{_FREE_OF_SELLER} LIMIT 1", seller_id).fetchone() is not None


def free_count_for(seller_id: str, limit: int) -> int:
    """Return the number of free addresses of the seller's wallet, at most `limit`."""
    query = statement("SELECT count(*) FROM ({free} LIMIT ?) AS free", free=_FREE_OF_SELLER)
    return int(execute(query, seller_id, limit).fetchone()[0])


def claim_address(now: datetime, seller_id: str = "") -> Address | None:
    """Claim the oldest free address of the seller's wallet. Return None if that wallet has none.

    Must run inside a transaction.
    """
    # SQLite needs no row lock, because it allows one writer at a time.
    lock = "" if is_sqlite() else " FOR UPDATE SKIP LOCKED"
    oldest = f"{_FREE_OF_SELLER} ORDER BY id LIMIT 1{lock}"
    query = statement("UPDATE address SET claimed_at = ? WHERE id = ({oldest}) RETURNING *", oldest=oldest)
    return fetch_one(Address, query, Address.claimed_at.db_value(now), seller_id)


def retire(address_ids: Iterable[int], now: datetime) -> None:
    """Remove addresses from the pool that received money before a request claimed them.

    A descriptor's addresses are assigned in their order. So somebody has got such an address from an older
    copy of this database or from another program, and may have got all addresses before it, too.
    """
    is_one = Address.id.in_(list(address_ids)) & Address.claimed_at.is_null()
    is_derived = Address.derivation_index.is_null(False)
    # The wallet's row is locked before its addresses, as the pool does.
    for row in Address.select().where(is_one & is_derived).order_by(Address.wallet_id):
        _retire_up_to(row.wallet_id, int(row.derivation_index or 0), now)
    Address.update(claimed_at=now).where(is_one).execute()


def _retire_up_to(wallet_id: int, index: int, now: datetime) -> None:
    """Retire the unclaimed addresses of a descriptor up to this index, and continue after it."""
    is_before = (Wallet.id == wallet_id) & (Wallet.next_index <= index)
    Wallet.update(next_index=index + 1).where(is_before).execute()
    is_its = (Address.wallet_id == wallet_id) & (Address.derivation_index <= index)
    Address.update(claimed_at=now).where(is_its & Address.claimed_at.is_null()).execute()


def retire_others(wallet: str, now: datetime) -> int:
    """Remove the unclaimed addresses of bitcoind's other wallets from the pool. Return their number."""
    return _retire_unclaimed((Address.wallet != wallet) & (Address.wallet_id == BITCOIND), now)


def references_for(address_ids: Collection[int]) -> dict[int, tuple[str, str | None]]:
    """Map each id to the address as text and to the reference of the request that claimed it, or None."""
    found: dict[int, tuple[str, str | None]] = {}
    for batch in chunked(address_ids):
        query = """SELECT a.id, a.address, p.reference FROM address a
            LEFT JOIN payment_request p ON p.address_id = a.id WHERE a.id IN ?"""
        cursor = execute(query, batch)
        found.update((address_id, (address, reference)) for address_id, address, reference in cursor)
    return found


def retire_bitcoinds(now: datetime) -> int:
    """Remove every address of bitcoind's wallet from the pool for ever. Return their number."""
    return _retire_unclaimed(Address.wallet_id == BITCOIND, now)


def retire_free(now: datetime, skipped: int = 0) -> int:
    """Remove every address from the pools for ever. Return the number of free ones. They stay watched.

    Descriptors continue after all addresses that the table has, and `skipped` further ones.
    """
    skip_watched(skipped)
    retired = _retire_unclaimed(Address.held_at.is_null() | (Address.wallet_id == BITCOIND), now)
    _retire_unclaimed(Address.id > 0, now)
    return retired


def unclaimed_addresses() -> list[Address]:
    """Return the addresses of bitcoind's wallet that no request has claimed, including the held ones."""
    selects = [Address.select().where(is_wanted).order_by(Address.id) for is_wanted in _unclaimed()]
    return [row for select in selects for row in select]


def pool_ends() -> list[Address]:
    """Return the oldest and the newest address of bitcoind's wallet that a request can claim."""
    is_wanted = Address.is_free() & (Address.wallet_id == BITCOIND)
    ends = Address.select(peewee.fn.MIN(Address.id), peewee.fn.MAX(Address.id)).where(is_wanted)
    return list(Address.select().where(Address.id.in_(ends.tuples().get())).order_by(Address.id))


def held_count() -> int:
    """Return the number of unclaimed addresses of bitcoind's wallet that are held."""
    return Address.select().where(Address.is_held() & (Address.wallet_id == BITCOIND)).count()


def hold_unclaimed(strangers: Iterable[int], now: datetime) -> int:
    """Hold these unclaimed addresses of bitcoind's wallet, and release its others.

    Return the number that are newly held.
    """
    ids = set(strangers)
    free, held = [[row.id for row in Address.select(Address.id).where(each)] for each in _unclaimed()]
    newly_held = [address_id for address_id in free if address_id in ids]
    _set_held(newly_held, now)
    _set_held([address_id for address_id in held if address_id not in ids], None)
    return len(newly_held)


def _unclaimed() -> tuple[Any, Any]:
    """Return the two conditions of unclaimed addresses of bitcoind's wallet. Each has a partial index."""
    is_its = Address.wallet_id == BITCOIND
    return Address.is_free() & is_its, Address.is_held() & is_its


def _retire_unclaimed(is_wanted: Any, now: datetime) -> int:
    unclaimed = Address.is_free(), Address.is_held()
    updates = (Address.update(claimed_at=now).where(each & is_wanted) for each in unclaimed)
    return sum(int(update.execute()) for update in updates)


def _set_held(address_ids: Iterable[int], held_at: datetime | None) -> None:
    for batch in chunked(address_ids):
        Address.update(held_at=held_at).where(Address.id.in_(batch)).execute()
