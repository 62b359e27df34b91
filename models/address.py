"""The address table: which scripts are ours, and which are still free to be handed out."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

import peewee

from models.db.connection import (
    BytesField,
    MomentField,
    Table,
    batches,
    database,
    first,
    is_sqlite,
    marks,
    statement,
)


class Address(Table):
    """An address of the wallet. It is claimed once and for ever, and watched for ever."""

    id = peewee.BigAutoField()
    script = BytesField(unique=True)
    address = peewee.CharField(max_length=100, unique=True)
    wallet = peewee.TextField()
    created_at = MomentField()
    claimed_at = MomentField(null=True)


def ours(scripts: Iterable[bytes]) -> tuple[dict[bytes, int], int]:
    """Which of these scripts are in the table, each with its address's id; and the table's highest id, or 0.

    Raw SQL: the query builder costs eight times as much, on the path that every foreign output goes.
    """
    found: dict[bytes, int] = {}
    newest_id = 0
    # Nothing is in (NULL): where no script is asked for, it is the highest id alone.
    asked: set[bytes | None] = {*scripts} or {None}
    for batch in batches(asked):
        # Only marks are put into the text. The highest id in the same statement: each is a way to a server.
        query = (
            f"SELECT script, id FROM address WHERE script IN ({marks(batch)}) "  # noqa: S608
            "UNION ALL SELECT NULL, coalesce(max(id), 0) FROM address"
        )
        for script, address_id in database.execute_sql(statement(query), batch):
            if script is None:
                newest_id = address_id
            else:
                found[bytes(script)] = address_id
    return found, newest_id


def scripts_after(address_id: int, limit: int) -> list[tuple[int, bytes]]:
    """The addresses with the next ids above this one, in their order, each as (id, script)."""
    query = statement("SELECT id, script FROM address WHERE id > ? ORDER BY id LIMIT ?")
    rows = database.execute_sql(query, (address_id, limit)).fetchall()
    return [(address_id, bytes(script)) for address_id, script in rows]


def newest_address_id() -> int:
    """The highest id; 0 where there is none."""
    return int(Address.select(peewee.fn.MAX(Address.id)).scalar() or 0)


def unknown_addresses(addresses: Iterable[str]) -> list[str]:
    """Those that are not in the table, in their order."""
    unknown: list[str] = []
    for batch in batches(addresses):
        rows = Address.select(Address.address).where(Address.address.in_(batch))
        known = {row.address for row in rows}
        unknown += [address for address in batch if address not in known]
    return unknown


def add_addresses(
    pairs: Sequence[tuple[str, bytes]], wallet: str, now: datetime, *, are_free: bool = True
) -> None:
    """Put fresh addresses, with their scripts, into the pool; one that is there already stays as it is.

    Those that are not free are watched, and never handed out.
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
    """How many addresses can be claimed, in all or of one wallet."""
    is_wanted = Address.claimed_at.is_null()
    if wallet is not None:
        is_wanted &= Address.wallet == wallet
    return Address.select().where(is_wanted).count()


def claim_address(now: datetime) -> Address | None:
    """Claim the oldest free address. Return None where the pool is empty. Must run inside a transaction."""
    oldest = "SELECT id FROM address WHERE claimed_at IS NULL ORDER BY id LIMIT 1"
    # SQLite allows no other writer beside this transaction.
    lock = "" if is_sqlite() else " FOR UPDATE SKIP LOCKED"
    query = f"UPDATE address SET claimed_at = ? WHERE id = ({oldest}{lock}) RETURNING *"  # noqa: S608
    return first(Address, query, Address.claimed_at.db_value(now))


def retire(address_ids: Iterable[int], now: datetime) -> None:
    """Take addresses out of the pool that got money before anybody was given them."""
    (
        Address.update(claimed_at=now)
        .where(Address.id.in_(list(address_ids)) & Address.claimed_at.is_null())
        .execute()
    )


def retire_others(wallet: str, now: datetime) -> int:
    """Take the free addresses of every other wallet out of the pool; how many there were."""
    is_other = Address.claimed_at.is_null() & (Address.wallet != wallet)
    return int(Address.update(claimed_at=now).where(is_other).execute())


def owners(address_ids: Collection[int]) -> dict[int, tuple[str, str | None]]:
    """For each of these, its text and the reference of the request that it was given to."""
    found: dict[int, tuple[str, str | None]] = {}
    for batch in batches(address_ids):
        # Only marks are put into the text.
        query = (
            "SELECT a.id, a.address, p.reference FROM address a "  # noqa: S608
            f"LEFT JOIN payment_request p ON p.address_id = a.id WHERE a.id IN ({marks(batch)})"
        )
        cursor = database.execute_sql(statement(query), batch)
        found.update((address_id, (address, reference)) for address_id, address, reference in cursor)
    return found


def retire_free(now: datetime) -> None:
    """Empty the pool: none of what is in it is given to anybody. Payments to it are still seen."""
    Address.update(claimed_at=now).where(Address.claimed_at.is_null()).execute()
