"""The sellers."""

import re

import peewee

from models.db.connection import Table, UtcDateTimeField, fetch_one, statement
from models.identifiers import is_searchable

SELLER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


MAX_NAME_CHARACTERS = 200


class Seller(Table):
    """A shop.

    `support` is the email address or the web page at which customers get help. `wallet_id` is the wallet
    of its addresses, or None for the default wallet.
    """

    id = peewee.CharField(primary_key=True, max_length=64)
    name = peewee.TextField(default="")
    email = peewee.TextField(default="")
    support = peewee.TextField(null=True)
    created_at = UtcDateTimeField()
    removed_at = UtcDateTimeField(null=True)
    wallet_id = peewee.IntegerField(null=True)


_PUBLIC_COLUMNS = "id, name, email, support, created_at, removed_at"


def seller_by_id(seller_id: str) -> Seller | None:
    """Return the seller with this id, or None."""
    if not is_searchable(seller_id):
        return None
    return fetch_one(
        Seller,
        statement("SELECT {columns} FROM seller WHERE id = ?", columns=_PUBLIC_COLUMNS),
        seller_id,
    )


def present_sellers() -> list[Seller]:
    """Return the sellers that are not removed, by id, with their names alone."""
    # On PostgreSQL the web server's role may not read all columns.
    is_present = Seller.removed_at.is_null()
    return list(Seller.select(Seller.id, Seller.name).where(is_present).order_by(Seller.id))
