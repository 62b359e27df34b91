"""The payment links. A link has no price, and each press of "Pay" makes a payment request with a price."""

import re
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import ClassVar

import peewee

from models.db.connection import (
    JsonField,
    Table,
    UtcDateTimeField,
    chunked,
    fetch_all,
    fetch_one,
    lock_in_transaction,
)
from models.identifiers import is_searchable
from models.seller import Seller

LINK_REFERENCE = re.compile(r"LK-[A-Za-z0-9]{22}")

OPEN = "closed_at IS NULL AND paid_at IS NULL"
COUNTS_PARTS = "NOT is_reusable AND (closed_at IS NULL OR paid_at IS NOT NULL)"
"""The condition that money which does not cover its request counts for the link.

It counts for no link that was closed unpaid, because nobody can pay the rest.
"""


class Link(Table):
    """A payment link. The web process writes all columns except `paid_at`, which the daemon writes.

    `amount_fiat` is None if the payer chooses the amount. `suggested` is a list of amounts as text. If
    `confirmations` or `expires_in` is None, the operator's setting holds. `paid_at` is the time at which the
    daemon stored that the link is paid. It becomes None again after a reversal. `idempotency_digest` is a
    hash of the body that came with `idempotency_key`.
    """

    seller_id: str
    id = peewee.BigAutoField()
    reference = peewee.CharField(max_length=32, unique=True)
    seller = peewee.ForeignKeyField(Seller, on_delete="RESTRICT")
    title = peewee.TextField()
    description = peewee.TextField(default="")
    order_id = peewee.TextField(null=True)
    note = peewee.TextField(default="")
    amount_fiat = peewee.TextField(null=True)
    currency = peewee.CharField(max_length=3)
    minimum = peewee.TextField(null=True)
    maximum = peewee.TextField(null=True)
    suggested = JsonField(default=list)
    due_at = UtcDateTimeField(null=True)
    is_reusable = peewee.BooleanField(default=False)
    confirmations = peewee.IntegerField(null=True)
    expires_in = peewee.IntegerField(null=True)
    redirect_url = peewee.TextField(null=True)
    thanks = peewee.TextField(default="")
    created_at = UtcDateTimeField()
    closed_at = UtcDateTimeField(null=True)
    paid_at = UtcDateTimeField(null=True)
    idempotency_key = peewee.TextField(null=True)
    idempotency_digest = peewee.TextField(null=True)

    class Meta:
        indexes = ((("seller", "idempotency_key"), True),)

    partial_indexes: ClassVar = {"link_open": OPEN}

    @property
    def amount(self) -> Decimal | None:
        """Return the amount, or None if the payer chooses it."""
        return None if self.amount_fiat is None else Decimal(self.amount_fiat)


def link_by_reference(reference: str, seller_id: str | None = None) -> Link | None:
    """Return the link with this public id, or None. With `seller_id`, return only a link of that seller."""
    if not is_searchable(reference):
        return None
    query, parameters = "SELECT * FROM link WHERE reference = ?", [reference]
    if seller_id is not None:
        query, parameters = f"{query} AND seller_id = ?", [*parameters, seller_id]
    return fetch_one(Link, query, *parameters)


def link_by_idempotency_key(seller_id: str, key: str) -> Link | None:
    """Return the link that this seller created with this Idempotency-Key, or None."""
    return fetch_one(Link, "SELECT * FROM link WHERE seller_id = ? AND idempotency_key = ?", seller_id, key)


def links_by_id(link_ids: Iterable[int]) -> dict[int, Link]:
    """Return these links by id."""
    found: dict[int, Link] = {}
    for batch in chunked(link_ids):
        query = "SELECT * FROM link WHERE id IN ?"
        found |= {link.id: link for link in fetch_all(Link, query, batch)}
    return found


def close_link(link: Link, now: datetime) -> bool:
    """Close a link, so that it makes no more requests. Return False if it is already closed."""
    is_open = (Link.id == link.id) & Link.closed_at.is_null()
    return bool(Link.update(closed_at=now).where(is_open).execute())


def mark_paid(link: Link, paid_at: datetime | None) -> None:
    """Store the time at which the link was paid, or None after a reversal."""
    link.paid_at = paid_at
    Link.update(paid_at=paid_at).where(Link.id == link.id).execute()


def lock_links() -> None:
    """Wait until no other link makes a request, so that the second of two presses finds the first request.

    Must run inside a transaction, and holds the lock until its end.
    """
    lock_in_transaction("links")
