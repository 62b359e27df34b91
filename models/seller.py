"""The sellers and their webhooks."""

import base64
import re
import secrets

import peewee

from models.db.connection import Table, UtcDateTimeField, database, fetch_one, with_paramstyle

OPERATOR, API_KEY = "operator", "key"
SELLER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Seller(Table):
    """A shop. The webhook secret is stored as it is, for signatures.

    `webhook_set_by` is OPERATOR or API_KEY. A webhook address that was set with an API key must be public.
    `support` is the email address or the web page at which customers get help. `wallet_id` is the wallet
    of its addresses, or None for the default wallet.
    """

    id = peewee.CharField(primary_key=True, max_length=64)
    name = peewee.TextField(default="")
    email = peewee.TextField(default="")
    support = peewee.TextField(null=True)
    webhook_url = peewee.TextField(null=True)
    webhook_secret = peewee.TextField()
    webhook_set_by = peewee.TextField(default=OPERATOR)
    previous_webhook_secret = peewee.TextField(null=True)
    created_at = UtcDateTimeField()
    removed_at = UtcDateTimeField(null=True)
    wallet_id = peewee.IntegerField(null=True)

    @property
    def signing_secrets(self) -> list[str]:
        """Return the secrets that sign the seller's webhooks, the present one first."""
        return [secret for secret in (self.webhook_secret, self.previous_webhook_secret) if secret]

    @property
    def needs_public_address(self) -> bool:
        """Return whether webhooks may go to public addresses only, because an API key has set the URL."""
        return bool(self.webhook_set_by != OPERATOR)


# All columns except the webhook secrets. On PostgreSQL the web server's role may not read these secrets
# (models/db/web_role.py).
_PUBLIC_COLUMNS = "id, name, email, support, webhook_url, created_at, removed_at"


def seller_by_id(seller_id: str) -> Seller | None:
    """Return the seller with this id, without its webhook secrets."""
    # The text contains only constants of this module.
    return fetch_one(Seller, f"SELECT {_PUBLIC_COLUMNS} FROM seller WHERE id = ?", seller_id)  # noqa: S608


def has_webhook(seller_id: str) -> bool:
    """Return whether this seller gets webhooks."""
    query = "SELECT 1 FROM seller WHERE id = ? AND webhook_url IS NOT NULL AND removed_at IS NULL"
    return database.execute_sql(with_paramstyle(query), (seller_id,)).fetchone() is not None


def new_webhook_secret() -> str:
    """Return a secret by Standard Webhooks, which is a prefix and 24 to 64 random bytes in base64."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}"
