"""The sellers and their API keys."""

import re
from datetime import datetime

import peewee

from models.db.connection import Table, UtcDateTimeField, fetch_one

SELLER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Seller(Table):
    """A shop. The API key is stored as a SHA-256 hash.

    The previous API key works before `previous_api_key_until`, by the web server's clock.
    `support` is the email address or the web page at which customers get help. `wallet_id` is the wallet
    of its addresses, or None for the default wallet.
    """

    id = peewee.CharField(primary_key=True, max_length=64)
    name = peewee.TextField(default="")
    email = peewee.TextField(default="")
    support = peewee.TextField(null=True)
    api_key_hash = peewee.CharField(max_length=64, unique=True)
    previous_api_key_hash = peewee.CharField(max_length=64, unique=True, null=True)
    previous_api_key_until = UtcDateTimeField(null=True)
    created_at = UtcDateTimeField()
    removed_at = UtcDateTimeField(null=True)
    wallet_id = peewee.IntegerField(null=True)

    def previous_key_until(self, now: datetime) -> datetime | None:
        """Return the time until which the previous API key works, or None where it does not work."""
        until: datetime | None = self.previous_api_key_until
        return until if until is not None and now < until and self.removed_at is None else None


_PUBLIC_COLUMNS = (
    "id, name, email, support, api_key_hash, previous_api_key_hash, previous_api_key_until, "
    "created_at, removed_at"
)


def seller_by_key_hash(api_key_hash: str, now: datetime) -> Seller | None:
    """Return the seller whose key has this hash, unless it was removed.

    The previous key counts while it works.
    """
    # The text contains only constants of this module.
    query = f"""SELECT {_PUBLIC_COLUMNS} FROM seller
        WHERE (api_key_hash = ? OR previous_api_key_hash = ? AND previous_api_key_until > ?)
        AND removed_at IS NULL"""  # noqa: S608
    return fetch_one(Seller, query, api_key_hash, api_key_hash, Seller.previous_api_key_until.db_value(now))


def seller_by_id(seller_id: str) -> Seller | None:
    """Return the seller with this id."""
    # The text contains only constants of this module.
    return fetch_one(Seller, f"SELECT {_PUBLIC_COLUMNS} FROM seller WHERE id = ?", seller_id)  # noqa: S608
