"""The address table: which scripts are ours, and which are still free to be handed out."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice

import peewee

from models.database import BytesField, MomentField, Table, database, is_sqlite, statement

_SCRIPTS_A_QUERY = 500


class Address(Table):
    """An address of the wallet. It is claimed once and for ever, and watched for ever."""

    id = peewee.BigAutoField()
    script = BytesField(unique=True)
    address = peewee.CharField(max_length=100, unique=True)
    wallet = peewee.TextField()
    created_at = MomentField()
    claimed_at = MomentField(null=True)


def ours(scripts: Iterable[bytes]) -> dict[bytes, int]:
    """Which of these scripts are in the table, each with its address's id.

    Raw SQL: the query builder costs eight times as much, on the path that every foreign output goes.
    """
    wanted = iter(set(scripts))
    found: dict[bytes, int] = {}
    while batch := list(islice(wanted, _SCRIPTS_A_QUERY)):
        marks = ",".join([database.obj.param] * len(batch))
        # Only marks are put into the text.
        query = f"SELECT script, id FROM address WHERE script IN ({marks})"  # noqa: S608
        cursor = database.execute_sql(query, batch)
        found.update((bytes(script), address_id) for script, address_id in cursor.fetchall())
    return found


def address_by_id(address_id: int) -> str:
    """The address as a customer gets it."""
    (address,) = database.execute_sql(
        statement("SELECT address FROM address WHERE id = ?"), (address_id,)
    ).fetchone()
    return str(address)


def scripts_after(address_id: int, limit: int) -> list[tuple[int, bytes]]:
    """The addresses with the next ids above this one, in their order, each as (id, script)."""
    query = statement("SELECT id, script FROM address WHERE id > ? ORDER BY id LIMIT ?")
    rows = database.execute_sql(query, (address_id, limit)).fetchall()
    return [(address_id, bytes(script)) for address_id, script in rows]


def newest_address_id() -> int:
    """The highest id; 0 where there is none."""
    return int(Address.select(peewee.fn.MAX(Address.id)).scalar() or 0)


def add_addresses(pairs: Sequence[tuple[str, bytes]], wallet: str, now: datetime) -> None:
    """Put fresh addresses, with their scripts, into the pool; one that is there already stays as it is."""
    rows = [
        {"address": address, "script": script, "wallet": wallet, "created_at": now}
        for address, script in pairs
    ]
    Address.insert_many(rows).on_conflict_ignore().execute()


def free_count() -> int:
    """How many addresses can be claimed."""
    return Address.select().where(Address.claimed_at.is_null()).count()


def claim_address(now: datetime) -> Address | None:
    """Claim the oldest free address, inside the caller's transaction; None where the pool is empty."""
    query = Address.select().where(Address.claimed_at.is_null()).order_by(Address.id).limit(1)
    if not is_sqlite():
        query = query.for_update(skip_locked=True)
    address: Address | None = query.first()
    if address is not None:
        address.claimed_at = now
        address.save(only=[Address.claimed_at])
    return address


def retire(address_ids: Iterable[int], now: datetime) -> None:
    """Take addresses out of the pool that got money before anybody was given them."""
    (
        Address.update(claimed_at=now)
        .where(Address.id.in_(list(address_ids)) & Address.claimed_at.is_null())
        .execute()
    )


def sample_addresses() -> Iterator[Address]:
    """The oldest and the newest: enough to see whether the wallet that is loaded knows the table."""
    for order in (Address.id.asc(), Address.id.desc()):
        yield from Address.select().order_by(order).limit(1)
