"""Sellers: who may ask for payments, and where they are told of them."""

import peewee

from models.database import MomentField, Table


class Seller(Table):
    """A shop. Its API key is stored as a SHA-256 hash; its webhook secret must be known to sign with it."""

    id = peewee.CharField(primary_key=True, max_length=64)
    name = peewee.TextField(default="")
    email = peewee.TextField(default="")
    api_key_hash = peewee.CharField(max_length=64, unique=True)
    webhook_url = peewee.TextField(null=True)
    webhook_secret = peewee.TextField()
    previous_webhook_secret = peewee.TextField(null=True)
    created_at = MomentField()
    removed_at = MomentField(null=True)


def seller_by_key_hash(api_key_hash: str) -> Seller | None:
    """The seller whose key has this hash, if it is not removed."""
    return Seller.get_or_none((Seller.api_key_hash == api_key_hash) & Seller.removed_at.is_null())
