"""The webhook endpoints of the sellers: their addresses, secrets and events."""

import base64
import re
import secrets
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import peewee

from models.db.connection import (
    JsonField,
    Table,
    UtcDateTimeField,
    fetch_all,
    fetch_one,
    insert,
    lock_in_transaction,
    statement,
)
from models.identifiers import is_searchable, random_text
from models.seller import Seller
from payments.greenfield.delivery import INVOICE_EVENTS
from payments.notifications import STANDARD_EVENTS

STANDARD, BTCPAY = "standard", "btcpay"
KINDS = (STANDARD, BTCPAY)
"""The kinds of endpoints: STANDARD follows Standard Webhooks, and BTCPAY follows BTCPay's Greenfield API."""

OPERATOR, API_KEY = "operator", "key"

MAX_WEBHOOKS = 50
"""The maximum number of a seller's endpoints. Each event goes to all of them."""

MAX_SECRET_CHARACTERS = 512
"""The maximum length of a secret that the operator chooses."""

REFERENCE = re.compile("wh_[0-9A-Za-z]{20}", re.ASCII)

# https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
_SECRET_PREFIX = "whsec_"  # noqa: S105 - a prefix, and no secret
_SECRET_BYTES = range(24, 65)


class Webhook(Table):
    """An address that receives a seller's events.

    `url` is stored byte for byte. It is None for a seller's first standard endpoint that has a secret, but no
    address. The secrets are stored without a hash, because they sign webhooks. A standard endpoint has
    `signing_secret`, and `previous_secret` after a change. A btcpay endpoint has `btcpay_secret`, which can
    be any text.

    `set_by` is OPERATOR or API_KEY. An address that was set with an API key must be public. `event_types` has
    the names of events, which may be unknown to Nodetill, or is None for all events.
    """

    seller_id: str
    id = peewee.BigAutoField()
    reference = peewee.CharField(max_length=32, unique=True)
    seller = peewee.ForeignKeyField(Seller, on_delete="RESTRICT", backref="webhooks")
    kind = peewee.CharField(max_length=8)
    url = peewee.TextField(null=True)
    signing_secret = peewee.TextField(null=True)
    previous_secret = peewee.TextField(null=True)
    btcpay_secret = peewee.TextField(null=True)
    set_by = peewee.CharField(max_length=8, default=OPERATOR)
    event_types = JsonField(null=True)
    is_enabled = peewee.BooleanField(default=True)
    automatic_redelivery = peewee.BooleanField(default=True)
    created_at = UtcDateTimeField()
    removed_at = UtcDateTimeField(null=True)

    class Meta:
        constraints = (peewee.Check("kind IN ('standard', 'btcpay')"),)

    @property
    def queue(self) -> str:
        """Return the name of the queue of this endpoint's messages. Each endpoint has its own queue."""
        return f"webhook:{self.reference}"

    @property
    def signing_secrets(self) -> list[str]:
        """Return the secrets that sign a standard endpoint's webhooks, the current one first."""
        return [secret for secret in (self.signing_secret, self.previous_secret) if secret]

    @property
    def needs_public_address(self) -> bool:
        """Return whether the address must be public, because an API key has set it."""
        return bool(self.set_by != OPERATOR)

    def wants(self, event_type: str) -> bool:
        """Return whether the endpoint receives events of this type."""
        return self.event_types is None or event_type in self.event_types


# All columns except the secrets of standard endpoints. On PostgreSQL the web server's role may not read these
# secrets (models/db/web_role.py).
_PUBLIC_COLUMNS = (
    "webhook.id, webhook.reference, webhook.seller_id, webhook.kind, webhook.url, webhook.btcpay_secret, "
    "webhook.set_by, webhook.event_types, webhook.is_enabled, webhook.automatic_redelivery, "
    "webhook.created_at, webhook.removed_at"
)


def webhooks_for(seller_ids: Iterable[str], *kinds: str) -> Mapping[str, list[Webhook]]:
    """Return the enabled endpoints of these kinds by seller, for new messages, in the order of their ids.

    Return none of removed sellers.
    """
    ids = list(seller_ids)
    query = statement(
        """SELECT {columns} FROM webhook JOIN seller ON seller.id = webhook.seller_id
        WHERE webhook.seller_id IN ? AND webhook.kind IN ?
        AND webhook.is_enabled
        AND webhook.url IS NOT NULL AND webhook.removed_at IS NULL AND seller.removed_at IS NULL
        ORDER BY webhook.id""",
        columns=_PUBLIC_COLUMNS,
    )
    found: dict[str, list[Webhook]] = defaultdict(list)
    for webhook in fetch_all(Webhook, query, ids, kinds) if ids else ():
        found[webhook.seller_id].append(webhook)
    return found


def endpoints_of(seller: Seller | str, kind: str | None = None) -> list[Webhook]:
    """Return a seller's endpoints that have an address, the oldest first.

    Omit the secrets of standard endpoints.
    """
    seller_id = seller if isinstance(seller, str) else seller.id
    kinds = KINDS if kind is None else (kind,)
    query = statement(
        """SELECT {columns} FROM webhook WHERE seller_id = ? AND kind IN ?
        AND url IS NOT NULL AND removed_at IS NULL ORDER BY id""",
        columns=_PUBLIC_COLUMNS,
    )
    return fetch_all(Webhook, query, seller_id, kinds)


def is_endpoint_too_many(seller_id: str) -> bool:
    """Return whether one more endpoint exceeds MAX_WEBHOOKS.

    Must run inside the transaction that stores the new endpoint. Another such transaction waits for its end.
    """
    lock_in_transaction(f"endpoints {seller_id}")
    return len(endpoints_of(seller_id)) >= MAX_WEBHOOKS


def webhook_by_reference(reference: str) -> Webhook | None:
    """Return an endpoint that has an address and is not removed, or None.

    Omit the secret of a standard endpoint.
    """
    if not is_searchable(reference):
        return None
    query = statement(
        """SELECT {columns} FROM webhook
        WHERE reference = ? AND url IS NOT NULL AND removed_at IS NULL""",
        columns=_PUBLIC_COLUMNS,
    )
    return fetch_one(Webhook, query, reference)


def all_endpoints() -> list[Webhook]:
    """Return every endpoint that has an address and is not removed, by seller, the oldest first."""
    query = statement(
        """SELECT {columns} FROM webhook WHERE url IS NOT NULL AND removed_at IS NULL
        ORDER BY seller_id, id""",
        columns=_PUBLIC_COLUMNS,
    )
    return fetch_all(Webhook, query)


def first_standard_webhook(seller_id: str) -> Webhook | None:
    """Return the seller's oldest standard endpoint with its secrets. Prefer an endpoint with an address.

    The commands `seller add`, `seller set` and `seller rotate-key` set this endpoint.
    """
    query = """SELECT * FROM webhook WHERE seller_id = ? AND kind = 'standard' AND removed_at IS NULL
        ORDER BY url IS NULL, id LIMIT 1"""
    return fetch_one(Webhook, query, seller_id)


def add_webhook(
    seller: Seller | str,
    kind: str,
    url: str | None,
    now: datetime,
    *,
    secret: str | None = None,
    set_by: str = OPERATOR,
    event_types: Sequence[str] | None = None,
    is_enabled: bool = True,
    automatic_redelivery: bool = True,
    reference: str | None = None,
) -> tuple[Webhook, str]:
    """Store an endpoint, and return it with its secret. Make `secret` and `reference` if they are missing.

    Must run inside a transaction. Raise peewee.IntegrityError if the reference already exists.
    """
    seller_id = seller if isinstance(seller, str) else seller.id
    chosen = secret or (new_webhook_secret() if kind == STANDARD else new_btcpay_secret())
    column = "signing_secret" if kind == STANDARD else "btcpay_secret"
    row_id = insert(
        Webhook,
        reference=reference or new_webhook_reference(),
        seller=seller_id,
        kind=kind,
        url=url,
        set_by=set_by,
        event_types=None if event_types is None else list(event_types),
        is_enabled=is_enabled,
        automatic_redelivery=automatic_redelivery,
        created_at=now,
        **{column: chosen},
    )
    found = fetch_one(
        Webhook,
        statement("SELECT {columns} FROM webhook WHERE id = ?", columns=_PUBLIC_COLUMNS),
        row_id,
    )
    assert found is not None
    return found, chosen


def update_webhook(webhook: Webhook, **values: object) -> bool:
    """Store new values of columns, unless the endpoint is removed. Return False if it is removed."""
    is_this = (Webhook.id == webhook.id) & Webhook.removed_at.is_null()
    return bool(Webhook.update(**values).where(is_this).execute())


def remove_webhook(webhook: Webhook, now: datetime) -> bool:
    """Remove an endpoint. Return False if it is already removed. The daemon gives up its pending messages."""
    return update_webhook(webhook, removed_at=now)


def events_of_kind(kind: str) -> tuple[str, ...]:
    """Return the types of events that an endpoint of this kind can receive."""
    return STANDARD_EVENTS if kind == STANDARD else INVOICE_EVENTS


def check_secret(kind: str, secret: str) -> str | None:
    """Return the reason why this kind of endpoint cannot have the secret, or None.

    The secret of a btcpay endpoint can be any text that UTF-8 can encode.
    """
    if kind == BTCPAY:
        # PostgreSQL stores no NUL. JSON text can contain a lone surrogate, which UTF-8 cannot encode.
        is_text = "\0" not in secret and secret.encode("utf-8", "ignore").decode() == secret
        return None if is_text else "a secret is text without the character NUL"
    try:
        key = base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
    except ValueError:
        key = b""
    if secret.startswith(_SECRET_PREFIX) and len(key) in _SECRET_BYTES:
        return None
    return f"a standard endpoint's secret is {_SECRET_PREFIX} and 24 to 64 bytes in base64"


def new_webhook_secret() -> str:
    """Return a secret as Standard Webhooks defines it: a prefix, and 24 to 64 random bytes in base64."""
    return f"{_SECRET_PREFIX}{base64.b64encode(secrets.token_bytes(32)).decode()}"


def new_webhook_reference() -> str:
    """Return a random `webhook_id` for a new endpoint."""
    return f"wh_{random_text(10)}"


def new_btcpay_secret() -> str:
    """Return a secret of letters and digits, with more than 128 random bits."""
    return random_text(14)
