"""The wallets: bitcoind's own, and those of descriptors."""

import re
from datetime import datetime

import peewee

from models.db.connection import (
    BytesField,
    Table,
    UtcDateTimeField,
    execute,
    fetch_all,
    is_sqlite,
    statement,
)

BITCOIND = 1
"""The id of the wallet that BITCOIND_WALLET names in bitcoind."""

LOOKAHEAD = 1000
"""The addresses of a descriptor that are watched beyond its pool. A restore skips at least so many."""

BITCOIND_NAME = "bitcoind"
WALLET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

MAX_INDEX = 2**31 - 2**21
"""The highest index at which a wallet may begin. BIP 32 ends at 2^31 - 1."""


class Wallet(Table):
    """A source of addresses. bitcoind's own wallet has no descriptor, and its keys are in bitcoind.

    The address table has all addresses of a descriptor from `start_index` to `watched_until`, without the
    last. The addresses below `next_index` are free or were assigned. From `next_index` on they are only
    watched, and the pool takes its next addresses there. `first_script` is the script at index 0, and
    identifies the keys.
    """

    id = peewee.AutoField()
    name = peewee.CharField(max_length=64, unique=True)
    descriptor = peewee.TextField(null=True)
    first_script = BytesField(null=True, unique=True)
    address_type = peewee.CharField(max_length=16, null=True)
    is_default = peewee.BooleanField(default=False)
    start_index = peewee.BigIntegerField(default=0)
    next_index = peewee.BigIntegerField(default=0)
    watched_until = peewee.BigIntegerField(default=0)
    created_at = UtcDateTimeField(null=True)

    @property
    def is_bitcoind(self) -> bool:
        """Return whether bitcoind holds this wallet's keys."""
        return bool(self.id == BITCOIND)


Wallet.add_index(
    Wallet.index(Wallet.is_default, name="wallet_one_default", unique=True, where=Wallet.is_default)
)

_IN_USE = """is_default OR id IN (
    SELECT wallet_id FROM seller WHERE wallet_id IS NOT NULL AND removed_at IS NULL
)"""


def wallets_in_use() -> list[Wallet]:
    """Return the default wallet and the wallets of the sellers that are not removed."""
    return fetch_all(Wallet, statement("SELECT * FROM wallet WHERE {in_use} ORDER BY id", in_use=_IN_USE))


def is_bitcoind_used() -> bool:
    """Return whether the wallet in bitcoind is the default, or a seller's. Otherwise nothing calls it."""
    query = statement("SELECT 1 FROM wallet WHERE id = ? AND ({in_use})", in_use=_IN_USE)
    return execute(query, BITCOIND).fetchone() is not None


def descriptor_wallets() -> list[Wallet]:
    """Return the wallets that have a descriptor, also those that are not in use."""
    return fetch_all(Wallet, "SELECT * FROM wallet WHERE descriptor IS NOT NULL ORDER BY id")


def wallet_named(name: str) -> Wallet | None:
    found: Wallet | None = Wallet.get_or_none(Wallet.name == name)
    return found


def wallet_name(wallet_id: int | None) -> str | None:
    """Return the name of a wallet, or None for None. The web server may read names."""
    if wallet_id is None:
        return None
    name: str = Wallet.select(Wallet.name).where(Wallet.id == wallet_id).scalar()
    return name


def wallet_by_script(first_script: bytes) -> Wallet | None:
    """Return the wallet whose first address has this script."""
    found: Wallet | None = Wallet.get_or_none(Wallet.first_script == first_script)
    return found


def make_default(wallet: Wallet) -> None:
    """Make a wallet the default. Must run inside a transaction."""
    Wallet.update(is_default=False).where(Wallet.is_default).execute()
    Wallet.update(is_default=True).where(Wallet.id == wallet.id).execute()
    wallet.is_default = True


def advance(wallet: Wallet, next_index: int, watched_until: int) -> bool:
    """Store how far the addresses of a wallet reach. Return False if another writer has changed that.

    Until the end of the transaction no other writer can change it. Must run inside a transaction.
    """
    is_same = (
        (Wallet.id == wallet.id)
        & (Wallet.next_index == wallet.next_index)
        & (Wallet.watched_until == wallet.watched_until)
    )
    return bool(Wallet.update(next_index=next_index, watched_until=watched_until).where(is_same).execute())


def skip_watched(extra: int = 0) -> None:
    """Continue each descriptor after all addresses that are in the table, and `extra` further ones.

    A wallet that had no address in the table yet skips LOOKAHEAD addresses.
    """
    greatest = peewee.fn.MAX if is_sqlite() else peewee.fn.GREATEST
    behind = greatest(Wallet.next_index, Wallet.watched_until, Wallet.start_index + LOOKAHEAD)
    Wallet.update(next_index=behind + extra).where(Wallet.descriptor.is_null(False)).execute()


def wallet_added(
    name: str, descriptor: str, first_script: bytes, address_type: str, start_index: int, now: datetime
) -> Wallet:
    """Store and return a new wallet. Raise peewee.IntegrityError for a name or keys that another has."""
    row: Wallet = Wallet.create(
        name=name,
        descriptor=descriptor,
        first_script=first_script,
        address_type=address_type,
        start_index=start_index,
        next_index=start_index,
        watched_until=start_index,
        created_at=now,
    )
    return row
