"""The API keys of the sellers: their hashes, permissions and times. The key itself is not stored."""

import hashlib
import re
import secrets
from collections.abc import Collection
from datetime import datetime, timedelta

import peewee

from models.db.connection import (
    JsonField,
    Table,
    UtcDateTimeField,
    execute,
    is_sqlite,
    row_of,
    statement,
)
from models.identifiers import is_searchable, random_text
from models.seller import Seller

BY_OPERATOR, BY_PAGE = "operator", "page"
"""The values of `created_by`: a command of the operator, or the operator's page."""

MAX_LABEL_CHARACTERS = 100
REFERENCE = re.compile(r"key_[A-Za-z0-9]{16}")
USE_NOTED_EVERY = timedelta(minutes=10)


class ApiKey(Table):
    """An API key. `reference` is its public id. `permissions` is None if the key has all permissions.

    A key works while it is not revoked, has not expired, and its seller is not removed. `last_used_at` may be
    ten minutes older than the last use.
    """

    seller_id: str
    id = peewee.BigAutoField()
    reference = peewee.CharField(max_length=20, unique=True)
    seller = peewee.ForeignKeyField(Seller, on_delete="RESTRICT")
    key_hash = peewee.CharField(max_length=64, unique=True)
    label = peewee.TextField(default="")
    permissions = JsonField(null=True)
    created_at = UtcDateTimeField()
    created_by = peewee.CharField(max_length=10, default=BY_OPERATOR)
    last_used_at = UtcDateTimeField(null=True)
    expires_at = UtcDateTimeField(null=True)
    revoked_at = UtcDateTimeField(null=True)

    def works(self, now: datetime) -> bool:
        """Return whether the key is neither revoked nor expired. Ignore whether its seller is removed."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


_KEY_COLUMNS = (
    "id", "reference", "seller_id", "key_hash", "label", "permissions", "created_at", "created_by",
    "last_used_at", "expires_at", "revoked_at",
)  # fmt: skip
_SELLER_COLUMNS = ("id", "name", "email", "support", "created_at", "removed_at", "wallet_id")
_SELECTED = ", ".join([*(f"k.{name}" for name in _KEY_COLUMNS), *(f"s.{name}" for name in _SELLER_COLUMNS)])
# One statement, because each call of the API runs it.
_HOLDER = statement(
    """SELECT {selected} FROM api_key k JOIN seller s ON s.id = k.seller_id
    WHERE k.key_hash = ? AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > ?)
    AND s.removed_at IS NULL""",
    selected=_SELECTED,
)


def key_holder(key_hash: str, now: datetime) -> ApiKey | None:
    """Return the key with this hash, with its seller, or None if no key with this hash works now.

    The seller lacks its columns about webhooks.
    """
    cursor = execute(_HOLDER, key_hash, ApiKey.expires_at.db_value(now))
    row = cursor.fetchone()
    if row is None:
        return None
    count = len(_KEY_COLUMNS)
    key = row_of(ApiKey, _KEY_COLUMNS, row[:count])
    key.seller = row_of(Seller, _SELLER_COLUMNS, row[count:])
    return key


def new_api_key() -> str:
    """Return a key of 256 random bits."""
    return f"nt_{secrets.token_urlsafe(32)}"


def hash_of(api_key: str) -> str:
    """Return the hash to store. A key has 256 random bits, so it needs no salt and no slow hash."""
    return hashlib.sha256(api_key.encode()).hexdigest()


def new_key_reference() -> str:
    """Return a random public id for a new key."""
    return f"key_{random_text(8)}"


def is_label(text: str) -> bool:
    """Return whether the text is a valid label: one line without control characters, possibly empty."""
    return len(text) <= MAX_LABEL_CHARACTERS and text.isprintable()


def add_key(
    seller_id: str,
    now: datetime,
    *,
    label: str = "",
    permissions: Collection[str] | None = None,
    by: str = BY_OPERATOR,
    reference: str | None = None,
) -> tuple[ApiKey, str]:
    """Store a new key. Return its row and the text of the key, which is not stored.

    Raise peewee.IntegrityError if a key with this reference exists, or if there is no such seller.
    """
    api_key = new_api_key()
    row: ApiKey = ApiKey.create(
        reference=new_key_reference() if reference is None else reference,
        seller=seller_id,
        key_hash=hash_of(api_key),
        label=label,
        permissions=None if permissions is None else list(permissions),
        created_at=now,
        created_by=by,
    )
    return row, api_key


def revoke(key: ApiKey, now: datetime) -> bool:
    """Stop a key for ever. Return False if the key was already revoked."""
    is_its = (ApiKey.id == key.id) & ApiKey.revoked_at.is_null()
    return bool(ApiKey.update(revoked_at=now).where(is_its).execute())


def revoke_all(seller_id: str, now: datetime) -> int:
    """Stop every key of a seller. Return the number of keys that were not revoked before."""
    is_its = (ApiKey.seller == seller_id) & ApiKey.revoked_at.is_null()
    return int(ApiKey.update(revoked_at=now).where(is_its).execute())


def replace_own_keys(
    seller_id: str, keep_for: timedelta, now: datetime, label: str = ""
) -> tuple[ApiKey, str]:
    """Add a key with all permissions, and stop the seller's other keys that have all permissions.

    The old keys still work for `keep_for`. An old key that already had an expiry stops at once. Keys with a
    list of permissions do not change. Must run inside a transaction of the role that owns the tables.
    """
    if not is_sqlite():
        # Without this lock, two rotations at the same time would leave two working keys.
        execute("SELECT 1 FROM seller WHERE id = ? FOR UPDATE", seller_id)
    own = (ApiKey.seller == seller_id) & ApiKey.permissions.is_null() & ApiKey.revoked_at.is_null()
    is_to_stop = own & ApiKey.expires_at.is_null(False) if keep_for else own
    # An expired key need not be marked as revoked.
    is_working = ApiKey.expires_at.is_null() | (ApiKey.expires_at > now)
    ApiKey.update(revoked_at=now).where(is_to_stop & is_working).execute()
    if keep_for:
        ApiKey.update(expires_at=now + keep_for).where(own & ApiKey.expires_at.is_null()).execute()
    return add_key(seller_id, now, label=label)


def keys_of(seller_id: str) -> list[ApiKey]:
    """Return all keys of a seller, the oldest first, including revoked and expired keys."""
    return list(ApiKey.select().where(ApiKey.seller == seller_id).order_by(ApiKey.id))


def working_keys(seller_id: str, now: datetime) -> list[ApiKey]:
    """Return the seller's keys that are neither revoked nor expired, the oldest first."""
    return [key for key in keys_of(seller_id) if key.works(now)]


def limited_keys(seller_id: str, now: datetime) -> int:
    """Return the number of the seller's working keys that have a list of permissions."""
    return sum(key.permissions is not None for key in working_keys(seller_id, now))


def previous_key_until(seller_id: str, now: datetime) -> datetime | None:
    """Return the time until which a previous key works, or None if no working key has an expiry."""
    times = [key.expires_at for key in working_keys(seller_id, now) if key.expires_at is not None]
    return max(times, default=None)


def all_keys() -> list[ApiKey]:
    """Return the keys of all sellers, each with its seller, by seller and from the oldest to the newest."""
    seller = (Seller.id, Seller.removed_at)
    return list(ApiKey.select(ApiKey, *seller).join(Seller).order_by(ApiKey.seller, ApiKey.id))


def key_by_reference(reference: str) -> ApiKey | None:
    """Return the key with this public id, or None."""
    key: ApiKey | None = None
    if is_searchable(reference):
        key = ApiKey.get_or_none(ApiKey.reference == reference)
    return key


def is_use_to_note(key: ApiKey, now: datetime) -> bool:
    """Return whether the stored last use is too old, or is in the future because of a wrong clock."""
    last = key.last_used_at
    return last is None or not timedelta(0) <= now - last < USE_NOTED_EVERY


def note_use(key: ApiKey, now: datetime) -> None:
    """Store the time of this use. Must run inside a transaction."""
    ApiKey.update(last_used_at=now).where(ApiKey.id == key.id).execute()
