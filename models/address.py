"""The address table: the scripts that belong to us, and the addresses that are free for new requests."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

import peewee

from models.db.connection import (
    BytesField,
    Table,
    UtcDateTimeField,
    chunked,
    database,
    fetch_one,
    is_sqlite,
    placeholders,
    with_paramstyle,
)


class Address(Table):
    """An address of the wallet. A claim is final, and the address stays watched for ever.

    While `held_at` is set, the wallet does not contain the address, so no request can claim it.
    """

    id = peewee.BigAutoField()
    script = BytesField(unique=True)
    address = peewee.CharField(max_length=100, unique=True)
    wallet = peewee.TextField()
    created_at = UtcDateTimeField()
    claimed_at = UtcDateTimeField(null=True)
    held_at = UtcDateTimeField(null=True)

    @classmethod
    def is_free(cls) -> Any:
        """Return the condition that a request can claim this address."""
        return cls.claimed_at.is_null() & cls.held_at.is_null()

    @classmethod
    def is_held(cls) -> Any:
        """Return the condition that the address is unclaimed and held."""
        return cls.claimed_at.is_null() & cls.held_at.is_null(False)


def find_scripts(scripts: Iterable[bytes]) -> tuple[dict[bytes, int], int]:
    """Return the address ids of those scripts that are in the table, and the table's highest id, or 0.

    This uses raw SQL, because each foreign output needs this query, and the query builder is slower.
    """
    found: dict[bytes, int] = {}
    newest_id = 0
    # NULL matches no row, so without scripts the query returns only the highest id.
    wanted: set[bytes | None] = {*scripts} or {None}
    for batch in chunked(wanted):
        # The text contains only placeholders. One query returns the highest id too, to save a round trip.
        query = (
            f"SELECT script, id FROM address WHERE script IN ({placeholders(batch)}) "  # noqa: S608
            "UNION ALL SELECT NULL, coalesce(max(id), 0) FROM address"
        )
        for script, address_id in database.execute_sql(with_paramstyle(query), batch):
            if script is None:
                newest_id = address_id
            else:
                found[bytes(script)] = address_id
    return found, newest_id


def scripts_after(address_id: int, limit: int) -> list[tuple[int, bytes]]:
    """Return the next addresses above this id, in the order of their ids, each as (id, script)."""
    query = with_paramstyle("SELECT id, script FROM address WHERE id > ? ORDER BY id LIMIT ?")
    rows = database.execute_sql(query, (address_id, limit)).fetchall()
    return [(address_id, bytes(script)) for address_id, script in rows]


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


def add_addresses(
    pairs: Sequence[tuple[str, bytes]], wallet: str, now: datetime, *, are_free: bool = True
) -> None:
    """Add new addresses with their scripts to the pool. An address that is in the table stays unchanged.

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


def free_count(wallet: str | None = None) -> int:
    """Return the number of addresses that can be claimed, of all wallets or of one."""
    is_wanted = Address.is_free()
    if wallet is not None:
        is_wanted &= Address.wallet == wallet
    return Address.select().where(is_wanted).count()


def has_free_address() -> bool:
    """Return whether the pool has a free address, without the write lock of a claim."""
    return bool(Address.select(Address.id).where(Address.is_free()).exists())


def claim_address(now: datetime) -> Address | None:
    """Claim the oldest free address. Return None if the pool is empty. Must run inside a transaction."""
    oldest = "SELECT id FROM address WHERE claimed_at IS NULL AND held_at IS NULL ORDER BY id LIMIT 1"
    # SQLite needs no row lock, because it allows one writer at a time.
    lock = "" if is_sqlite() else " FOR UPDATE SKIP LOCKED"
    query = f"UPDATE address SET claimed_at = ? WHERE id = ({oldest}{lock}) RETURNING *"  # noqa: S608
    return fetch_one(Address, query, Address.claimed_at.db_value(now))


def retire(address_ids: Iterable[int], now: datetime) -> None:
    """Remove addresses from the pool that received money before a request claimed them."""
    (
        Address.update(claimed_at=now)
        .where(Address.id.in_(list(address_ids)) & Address.claimed_at.is_null())
        .execute()
    )


def retire_others(wallet: str, now: datetime) -> int:
    """Remove the unclaimed addresses of all other wallets from the pool. Return their number."""
    return _retire_unclaimed(Address.wallet != wallet, now)


def references_for(address_ids: Collection[int]) -> dict[int, tuple[str, str | None]]:
    """Map each id to the address as text and to the reference of the request that claimed it, or None."""
    found: dict[int, tuple[str, str | None]] = {}
    for batch in chunked(address_ids):
        # The text contains only placeholders.
        query = (
            "SELECT a.id, a.address, p.reference FROM address a "  # noqa: S608
            f"LEFT JOIN payment_request p ON p.address_id = a.id WHERE a.id IN ({placeholders(batch)})"
        )
        cursor = database.execute_sql(with_paramstyle(query), batch)
        found.update((address_id, (address, reference)) for address_id, address, reference in cursor)
    return found


def retire_free(now: datetime) -> int:
    """Remove every address from the pool for ever. Return their number. They stay watched."""
    return _retire_unclaimed(Address.id > 0, now)


def unclaimed_addresses() -> list[Address]:
    """Return the addresses that no request has claimed, including the held addresses."""
    selects = [Address.select().where(is_wanted).order_by(Address.id) for is_wanted in _unclaimed()]
    return [row for select in selects for row in select]


def pool_ends() -> list[Address]:
    """Return the oldest and the newest address that a request can claim."""
    ends = Address.select(peewee.fn.MIN(Address.id), peewee.fn.MAX(Address.id)).where(Address.is_free())
    return list(Address.select().where(Address.id.in_(ends.tuples().get())).order_by(Address.id))


def held_count() -> int:
    """Return the number of unclaimed addresses that are held."""
    return Address.select().where(Address.is_held()).count()


def hold_unclaimed(strangers: Iterable[int], now: datetime) -> int:
    """Hold these unclaimed addresses, and release all others. Return the number that are newly held."""
    ids = set(strangers)
    free, held = [[row.id for row in Address.select(Address.id).where(each)] for each in _unclaimed()]
    newly_held = [address_id for address_id in free if address_id in ids]
    _set_held(newly_held, now)
    _set_held([address_id for address_id in held if address_id not in ids], None)
    return len(newly_held)


def _unclaimed() -> tuple[Any, Any]:
    """Return the two conditions of unclaimed addresses. Each condition has its own partial index."""
    return Address.is_free(), Address.is_held()


def _retire_unclaimed(is_wanted: Any, now: datetime) -> int:
    updates = (Address.update(claimed_at=now).where(each & is_wanted) for each in _unclaimed())
    return sum(int(update.execute()) for update in updates)


def _set_held(address_ids: Iterable[int], held_at: datetime | None) -> None:
    for batch in chunked(address_ids):
        Address.update(held_at=held_at).where(Address.id.in_(batch)).execute()
