"""Payment requests: what was asked for, and what the daemon last found of it."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import peewee

from models.address import Address, claim_address, newest_address_id
from models.db.connection import (
    JsonField,
    Table,
    UtcDateTimeField,
    database,
    execute_many,
    fetch_all,
    fetch_one,
    get_row,
    insert,
    placeholders,
    with_paramstyle,
)
from models.seller import Seller
from payments.status import Assessment, LastKnownState, Status, Terms

_LATEST = 5_000

ANY_HEIGHT = 0
"""The `reassess_at_height` of a request whose facts changed: any tip reaches it."""


class PaymentRequest(Table):
    """A request for payment. The web process writes the first part, the daemon the second.

    `acknowledged_sats` is what had come when the operator last said that there is nothing more to decide.
    `required_depth` is the depth at which the cover is confirmed, None where it is `confirmations_required`.
    `unpublished_height` is the tip that the status was worked out at, None where it is the published one.
    """

    seller_id: str
    address_id: int
    id = peewee.BigAutoField()
    reference = peewee.CharField(max_length=32, unique=True)
    seller = peewee.ForeignKeyField(Seller, on_delete="RESTRICT")
    amount_fiat = peewee.TextField()
    currency = peewee.CharField(max_length=3)
    price = peewee.TextField()
    price_at = UtcDateTimeField()
    price_source = peewee.TextField()
    amount_sats = peewee.BigIntegerField()
    tolerance_sats = peewee.BigIntegerField()
    address = peewee.ForeignKeyField(Address, unique=True, on_delete="RESTRICT")
    confirmations_required = peewee.IntegerField()
    created_at = UtcDateTimeField()
    expires_at = UtcDateTimeField()
    monitored_until = UtcDateTimeField()
    late_accepted_until = UtcDateTimeField(null=True)
    note = peewee.TextField(default="")
    label = peewee.TextField(null=True)
    redirect_url = peewee.TextField(null=True)
    metadata = JsonField(default=dict)
    idempotency_key = peewee.TextField(null=True)
    idempotency_digest = peewee.TextField(null=True)
    acknowledged_sats = peewee.BigIntegerField(null=True)

    late_accepted_at = UtcDateTimeField(null=True)
    status = peewee.CharField(max_length=10, default=Status.NEW.value)
    covered_height = peewee.IntegerField(null=True)
    received_sats = peewee.BigIntegerField(default=0)
    due_sats = peewee.BigIntegerField()
    overpaid_sats = peewee.BigIntegerField(default=0)
    is_late = peewee.BooleanField(default=False)
    txid = peewee.CharField(max_length=64, null=True)
    received_at = UtcDateTimeField(null=True)
    confirmed_at = UtcDateTimeField(null=True)
    closed_at = UtcDateTimeField(null=True)
    notified_sats = peewee.BigIntegerField(default=0)
    required_depth = peewee.IntegerField(null=True)
    unpublished_height = peewee.IntegerField(null=True)
    revision = peewee.IntegerField(default=0)
    reassess_at_height = peewee.IntegerField(null=True)
    reassess_at = UtcDateTimeField(null=True)

    class Meta:
        indexes = ((("seller", "idempotency_key"), True),)

    @property
    def terms(self) -> Terms:
        """What was agreed."""
        return Terms(
            amount_sats=self.amount_sats,
            tolerance_sats=self.tolerance_sats,
            confirmations_required=self.confirmations_required,
            expires_at=self.expires_at,
            monitored_until=self.monitored_until,
            late_accepted_until=self.late_accepted_until,
            is_late_accepted=self.late_accepted_at is not None,
        )

    @property
    def standing(self) -> LastKnownState:
        """What its seller and the operator know of it."""
        return LastKnownState(
            status=Status(self.status),
            is_late=self.is_late,
            is_closed=self.closed_at is not None,
            received_sats=self.received_sats,
            notified_sats=self.notified_sats,
        )

    def apply(self, assessment: Assessment, now: datetime) -> None:
        """Set the daemon's part to what was found. An acceptance of late money ends with the cover."""
        was_confirmed = self.status == Status.CONFIRMED.value
        is_confirmed = assessment.status is Status.CONFIRMED
        self.status = assessment.status.value
        self.covered_height = assessment.covered_height
        self.received_sats = assessment.received_sats
        self.due_sats = assessment.due_sats
        self.overpaid_sats = assessment.overpaid_sats
        self.is_late = assessment.is_late
        self.txid = assessment.txid
        self.received_at = assessment.received_at
        self.confirmed_at = (self.confirmed_at if was_confirmed else now) if is_confirmed else None
        self.closed_at = (self.closed_at or now) if assessment.is_closed else None
        required = assessment.confirmations_required
        self.required_depth = None if required == self.confirmations_required else required
        if not assessment.status.is_covered:
            self.late_accepted_at = None
        self.reassess_at_height = assessment.reassess_at_height
        self.reassess_at = assessment.reassess_at


ASSESSED = (
    PaymentRequest.late_accepted_at,
    PaymentRequest.status,
    PaymentRequest.covered_height,
    PaymentRequest.received_sats,
    PaymentRequest.due_sats,
    PaymentRequest.overpaid_sats,
    PaymentRequest.is_late,
    PaymentRequest.txid,
    PaymentRequest.received_at,
    PaymentRequest.confirmed_at,
    PaymentRequest.closed_at,
    PaymentRequest.notified_sats,
    PaymentRequest.required_depth,
    PaymentRequest.unpublished_height,
    PaymentRequest.reassess_at_height,
    PaymentRequest.reassess_at,
)
_CHANGES = ", ".join(f"{field.column_name} = ?" for field in ASSESSED)
# Only names of our own and marks are put into the text.
_STORE = f"UPDATE payment_request SET {_CHANGES}, revision = ? WHERE id = ? AND revision = ?"  # noqa: S608


def insert_with_address(payment: PaymentRequest) -> bool:
    """Claim the oldest free address, and store a new request with it. Return False where none is free.

    Must run inside a transaction.
    """
    address = claim_address(payment.created_at)
    if address is None:
        return False
    payment.id = insert(PaymentRequest, **payment.__data__, address=address)
    payment.address = address
    return True


def payment_by_reference(reference: str, seller_id: str | None = None) -> PaymentRequest | None:
    """The request with this public identifier; with `seller_id`, only if it is that seller's."""
    query, parameters = "SELECT * FROM payment_request WHERE reference = ?", [reference]
    if seller_id is not None:
        query, parameters = f"{query} AND seller_id = ?", [*parameters, seller_id]
    return _with_address(fetch_one(PaymentRequest, query, *parameters))


def payment_by_idempotency_key(seller_id: str, key: str) -> PaymentRequest | None:
    """The request that this seller made under this Idempotency-Key."""
    query = "SELECT * FROM payment_request WHERE seller_id = ? AND idempotency_key = ?"
    return _with_address(fetch_one(PaymentRequest, query, seller_id, key))


def _with_address(payment: PaymentRequest | None) -> PaymentRequest | None:
    if payment is not None:
        payment.address = get_row(Address, payment.address_id)
    return payment


def sample_addresses(*, with_free: bool = True) -> list[Address]:
    """Return addresses by which the right wallet can be told: of each wallet the oldest and the newest.

    They are of the latest addresses that have an open request, or are free.
    """
    is_latest = Address.id > newest_address_id() - _LATEST
    is_open = PaymentRequest.id.is_null(False) & PaymentRequest.closed_at.is_null()
    awaited = (
        Address.select(peewee.fn.MIN(Address.id), peewee.fn.MAX(Address.id))
        .join(PaymentRequest, peewee.JOIN.LEFT_OUTER)
        .where(is_latest & (is_open | Address.is_free() if with_free else is_open))
        .group_by(Address.wallet)
    )
    ids = {address_id for pair in awaited.tuples().execute() for address_id in pair}
    return list(Address.select().where(Address.id.in_(ids)).order_by(Address.id))


def mark_for_reassessment(address_ids: Iterable[int]) -> int:
    """Mark the requests at these addresses, since their facts changed, to be assessed again; how many."""
    ids = list(address_ids)
    # Only placeholders are put into the text.
    place = f"address_id IN ({placeholders(ids)})"
    query = with_paramstyle(f"UPDATE payment_request SET reassess_at_height = ? WHERE {place}")  # noqa: S608
    return int(database.execute_sql(query, (ANY_HEIGHT, *ids)).rowcount) if ids else 0


_IS_DUE = "(reassess_at_height <= ? OR reassess_at < ?)"
_IS_WAITING = "(expires_at >= ? AND expires_at < ? OR monitored_until >= ? AND monitored_until < ?)"


def payments_to_reassess(
    tip_height: int, as_of: datetime, limit: int = 500, *, now: datetime | None = None
) -> list[PaymentRequest]:
    """Return the requests that may have changed: touched, or at a height or moment that they wait for.

    A request is left out if a moment that it depends on has come since `as_of`, up to which bitcoind has been
    read. Only the next complete look can decide it.
    """
    query = f"SELECT * FROM payment_request WHERE {_IS_DUE} AND NOT {_IS_WAITING} LIMIT ?"  # noqa: S608
    return fetch_all(PaymentRequest, query, *_due(tip_height, as_of, now or as_of), limit)


def is_any_waiting(tip_height: int, as_of: datetime, now: datetime) -> bool:
    """Return whether a request that may have changed waits for the next complete look."""
    query = f"SELECT 1 FROM payment_request WHERE {_IS_DUE} AND {_IS_WAITING} LIMIT 1"  # noqa: S608
    return database.execute_sql(with_paramstyle(query), _due(tip_height, as_of, now)).fetchone() is not None


def _due(tip_height: int, as_of: datetime, now: datetime) -> tuple[Any, ...]:
    begin, end = (PaymentRequest.expires_at.db_value(moment) for moment in (as_of, now))
    return tip_height, begin, begin, end, begin, end


def publish_heights() -> None:
    """Let every status be read at the published height from now on."""
    database.execute_sql(
        "UPDATE payment_request SET unpublished_height = NULL WHERE unpublished_height IS NOT NULL"
    )


def payments_at(address_ids: Iterable[int]) -> dict[int, PaymentRequest]:
    """Return the request at each of these addresses, if there is one."""
    ids = list(address_ids)
    # Only placeholders are put into the text.
    query = f"SELECT * FROM payment_request WHERE address_id IN ({placeholders(ids)})"  # noqa: S608
    found = fetch_all(PaymentRequest, query, *ids) if ids else []
    return {payment.address_id: payment for payment in found}


def store_assessments(payments: Sequence[PaymentRequest]) -> bool:
    """Store the daemon's part of each as its next revision; False where somebody else has since one was
    read."""
    changes = []
    for payment in payments:
        values = [field.db_value(getattr(payment, field.name)) for field in ASSESSED]
        changes.append((*values, payment.revision + 1, payment.id, payment.revision))
        payment.revision += 1
    return execute_many(_STORE, changes) == len(changes)


def earliest_deadline() -> datetime | None:
    """The next moment at which a request has to be assessed for the time alone."""
    query = "SELECT min(reassess_at) FROM payment_request WHERE reassess_at IS NOT NULL"
    (earliest,) = database.execute_sql(query).fetchone()
    moment: datetime | None = PaymentRequest.reassess_at.python_value(earliest)
    return moment
