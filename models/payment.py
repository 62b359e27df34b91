"""The payment requests, with their terms and their latest assessment."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

import peewee
from playhouse.shortcuts import model_to_dict

from models.address import Address, claim_address, newest_address_id
from models.db.connection import (
    JsonField,
    Table,
    UtcDateTimeField,
    chunked,
    execute,
    execute_many,
    fetch_all,
    fetch_one,
    get_row,
    insert,
    statement,
)
from models.identifiers import is_searchable
from models.link import Link
from models.seller import Seller
from models.wallet import BITCOIND
from payments.link import LinkPart
from payments.money import in_units
from payments.status import Assessment, LastKnownState, Status, Terms

PAYMENT_REFERENCE = re.compile(r"PR-[A-Za-z0-9]{22}")

_LATEST = 5_000

ANY_HEIGHT = 0
"""The `reassess_at_height` of a request whose facts changed. Every tip is at least this high."""

UNDERWAY = "status NOT IN ('confirmed', 'expired')"
IN_QUESTION = (
    "((status = 'expired' AND received_sats > 0) OR overpaid_sats >= 546)"
    " AND (acknowledged_sats IS NULL OR acknowledged_sats <> received_sats)"
)
_OF_LINK = "link_id IS NOT NULL"


class PaymentRequest(Table):
    """A request for payment. The web process writes the first part, the daemon the second.

    If a request is cancelled, the daemon also writes `expires_at` and `late_accepted_until`.
    `acknowledged_sats` is the amount that was received when the operator last acknowledged the request.
    `required_depth` is the depth at which the cover is confirmed. None means `confirmations_required`.
    `unpublished_height` is the tip at which the status was computed. None means the published tip.

    A request is also an invoice of BTCPay's Greenfield API (docs/greenfield.md). `order_id` is the shop's
    number of its order. `checkout` has the options that the shop sent with a Greenfield invoice, and is None
    for a request of the native API. BTCPay's API sets `archived_at` and `marked`. `marked` is "settled" or
    "invalid" if the shop marked the invoice by hand. `first_covered_at` and `first_confirmed_at` stay after
    the money is gone. `invoice_reported` is the content of the events for btcpay endpoints
    (payments/greenfield/events.py), and is None before the first event.

    A request of a payment link has three figures for its link: `counted_sats`, the live money that is in time
    or accepted, `link_units`, its worth in the smallest unit of the currency, and `counted_since`, the time
    at which the first of this money came. They are None before the first assessment, and without a link.
    `link_amount_fiat` is the amount of the link if the payer chose it in an earlier request, else None.
    """

    seller_id: str
    address_id: int
    link_id: int | None
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
    order_id = peewee.TextField(null=True)
    checkout = JsonField(null=True)
    archived_at = UtcDateTimeField(null=True)
    marked = peewee.CharField(max_length=8, null=True)
    marked_at = UtcDateTimeField(null=True)
    link = peewee.ForeignKeyField(Link, null=True, on_delete="RESTRICT", index=False)
    link_amount_fiat = peewee.TextField(null=True)

    late_accepted_at = UtcDateTimeField(null=True)
    cancelled_at = UtcDateTimeField(null=True)
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
    first_covered_at = UtcDateTimeField(null=True)
    first_confirmed_at = UtcDateTimeField(null=True)
    invoice_reported = JsonField(null=True)
    revision = peewee.IntegerField(default=0)
    reassess_at_height = peewee.IntegerField(null=True)
    reassess_at = UtcDateTimeField(null=True)
    counted_sats = peewee.BigIntegerField(null=True)
    link_units = peewee.BigIntegerField(null=True)
    counted_since = UtcDateTimeField(null=True)

    class Meta:
        indexes = ((("seller", "idempotency_key"), True),)

    partial_indexes: ClassVar = {
        "payment_closed": "closed_at IS NOT NULL",
        "payment_confirmed": "confirmed_at IS NOT NULL",
        "payment_in_question": IN_QUESTION,
        "payment_link": f"{_OF_LINK} AND id > 0",
        "payment_link_money": f"{_OF_LINK} AND received_sats > 0",
        "payment_link_waiting": f"{_OF_LINK} AND status = 'new'",
        "payment_next_deadline": "reassess_at IS NOT NULL",
        "payment_next_height": "reassess_at_height IS NOT NULL",
        "payment_order": "order_id IS NOT NULL",
        "payment_underway": UNDERWAY,
        "payment_underway_of_seller": UNDERWAY,
        "payment_unpublished": "unpublished_height IS NOT NULL",
    }

    @property
    def is_cancelled(self) -> bool:
        """Return whether the request was cancelled, and no late money was accepted since."""
        return self.cancelled_at is not None and not Status(self.status).is_covered

    @property
    def terms(self) -> Terms:
        """Return the terms for the assessment."""
        return Terms(
            amount_sats=self.amount_sats,
            tolerance_sats=self.tolerance_sats,
            confirmations_required=self.confirmations_required,
            expires_at=self.expires_at,
            monitored_until=self.monitored_until,
            late_accepted_until=self.late_accepted_until,
            is_late_accepted=self.late_accepted_at is not None,
            is_part=self.link_id is not None,
        )

    @property
    def link_part(self) -> LinkPart:
        """Return the request as a part of its link, from its last assessment."""
        return LinkPart(
            Decimal(self.amount_fiat),
            self.currency,
            Decimal(self.price),
            self.counted_sats or 0,
            is_covered=Status(self.status).is_covered,
            chosen_before=self.chosen_before,
            counted_since=self.counted_since,
        )

    @property
    def chosen_before(self) -> Decimal | None:
        """Return the amount of its link that the payer chose in an earlier request, or None."""
        return None if self.link_amount_fiat is None else Decimal(self.link_amount_fiat)

    @property
    def last_known_state(self) -> LastKnownState:
        """Return the state that the seller and the operator have received."""
        return LastKnownState(
            status=Status(self.status),
            is_late=self.is_late,
            is_closed=self.closed_at is not None,
            received_sats=self.received_sats,
            notified_sats=self.notified_sats,
        )

    def apply(self, assessment: Assessment, now: datetime) -> None:
        """Copy an assessment into the daemon's columns. An acceptance of late money ends with the cover."""
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
        if assessment.status.is_covered:
            self.first_covered_at = self.first_covered_at or now
        if is_confirmed:
            self.first_confirmed_at = self.first_confirmed_at or now
        self.closed_at = (self.closed_at or now) if assessment.is_closed else None
        required = assessment.confirmations_required
        self.required_depth = None if required == self.confirmations_required else required
        if not assessment.status.is_covered:
            self.late_accepted_at = None
        self.reassess_at_height = assessment.reassess_at_height
        self.reassess_at = assessment.reassess_at
        if self.link_id is not None:
            self.counted_sats = assessment.counted_sats
            self.counted_since = assessment.counted_since
            self.link_units = in_units(self.link_part.worth, self.currency)


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
    PaymentRequest.first_covered_at,
    PaymentRequest.first_confirmed_at,
    PaymentRequest.invoice_reported,
    PaymentRequest.reassess_at_height,
    PaymentRequest.reassess_at,
    PaymentRequest.counted_sats,
    PaymentRequest.link_units,
    PaymentRequest.counted_since,
)
_CHANGES = ", ".join(f"{field.column_name} = ?" for field in ASSESSED)
_STORE = statement(
    "UPDATE payment_request SET {changes}, revision = ? WHERE id = ? AND revision = ?", changes=_CHANGES
)


def insert_with_address(payment: PaymentRequest) -> bool:
    """Claim the oldest free address of the seller's wallet, and store a new request with it.

    Return False if no address is free. Must run inside a transaction.
    """
    address = claim_address(payment.created_at, payment.seller_id)
    if address is None:
        return False
    payment.address = address
    payment.id = insert(PaymentRequest, **model_to_dict(payment, recurse=False))
    return True


def payment_by_reference(reference: str, seller_id: str | None = None) -> PaymentRequest | None:
    """Return the request with this public id, or None. `seller_id` limits the result to that seller."""
    if not is_searchable(reference):
        return None
    query, parameters = "SELECT * FROM payment_request WHERE reference = ?", [reference]
    if seller_id is not None:
        query, parameters = f"{query} AND seller_id = ?", [*parameters, seller_id]
    return _with_address(fetch_one(PaymentRequest, query, *parameters))


def payment_by_idempotency_key(seller_id: str, key: str) -> PaymentRequest | None:
    """Return the request that this seller created with this Idempotency-Key, or None."""
    query = "SELECT * FROM payment_request WHERE seller_id = ? AND idempotency_key = ?"
    return _with_address(fetch_one(PaymentRequest, query, seller_id, key))


def newest_currency() -> str | None:
    """Return the currency of the newest request, or None where there is no request."""
    newest = PaymentRequest.select(PaymentRequest.currency).order_by(PaymentRequest.id.desc()).first()
    return None if newest is None else str(newest.currency)


def _with_address(payment: PaymentRequest | None) -> PaymentRequest | None:
    if payment is not None:
        payment.address = get_row(Address, payment.address_id)
    return payment


def sample_addresses(*, with_free: bool = True) -> list[Address]:
    """Return addresses that identify the right wallet in bitcoind: the oldest and the newest of each name.

    Only the latest addresses count. They must have an open request, or be free if `with_free`.
    """
    is_latest = (Address.id > newest_address_id() - _LATEST) & (Address.wallet_id == BITCOIND)
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
    """Mark the requests at these addresses for reassessment after a change of facts. Return their number."""
    marked = 0
    for ids in chunked(address_ids):
        query = "UPDATE payment_request SET reassess_at_height = ? WHERE address_id IN ?"
        marked += int(execute(query, ANY_HEIGHT, ids).rowcount)
    return marked


def cancel_payments(payments: Iterable[PaymentRequest], expires_at: datetime, now: datetime) -> None:
    """End the price of these requests at `expires_at`. Money that comes later is late and under review."""
    ids = [payment.id for payment in payments]
    changes = {"cancelled_at": now, "expires_at": expires_at, "late_accepted_until": None}
    is_one = PaymentRequest.id.in_(ids)
    PaymentRequest.update(**changes, reassess_at_height=ANY_HEIGHT).where(is_one).execute()


_IS_DUE = "(reassess_at_height <= ? OR reassess_at < ?)"
_IS_WAITING = "(expires_at >= ? AND expires_at < ? OR monitored_until >= ? AND monitored_until < ?)"


def payments_to_reassess(
    tip_height: int, as_of: datetime, limit: int = 500, *, now: datetime | None = None
) -> list[PaymentRequest]:
    """Return the requests that may have changed: by new facts, at their next height, or at their next time.

    The daemon has read bitcoind up to `as_of`. A request is left out if its expiry or the end of its
    monitoring is between `as_of` and `now`. Only the next complete reconciliation can decide such a request.
    """
    query = statement(
        "SELECT * FROM payment_request WHERE {is_due} AND NOT {is_waiting} LIMIT ?",
        is_due=_IS_DUE,
        is_waiting=_IS_WAITING,
    )
    return fetch_all(PaymentRequest, query, *_due(tip_height, as_of, now or as_of), limit)


def is_any_waiting(tip_height: int, as_of: datetime, now: datetime) -> bool:
    """Return whether a request that may have changed waits for the next complete reconciliation."""
    query = statement(
        "SELECT 1 FROM payment_request WHERE {is_due} AND {is_waiting} LIMIT 1",
        is_due=_IS_DUE,
        is_waiting=_IS_WAITING,
    )
    return execute(query, *_due(tip_height, as_of, now)).fetchone() is not None


def _due(tip_height: int, as_of: datetime, now: datetime) -> tuple[Any, ...]:
    begin, end = (PaymentRequest.expires_at.db_value(time) for time in (as_of, now))
    return tip_height, begin, begin, end, begin, end


def publish_heights() -> None:
    """Delete all unpublished heights, so that every status belongs to the published height."""
    execute("UPDATE payment_request SET unpublished_height = NULL WHERE unpublished_height IS NOT NULL")


def payments_at(address_ids: Iterable[int]) -> dict[int, PaymentRequest]:
    """Return the requests at these addresses, by address id."""
    ids = list(address_ids)
    query = "SELECT * FROM payment_request WHERE address_id IN ?"
    found = fetch_all(PaymentRequest, query, ids) if ids else []
    return {payment.address_id: payment for payment in found}


def store_assessments(payments: Sequence[PaymentRequest]) -> bool:
    """Store the daemon's columns of each request as its next revision.

    Return False if another writer has changed one of the requests since it was read.
    """
    changes = []
    for payment in payments:
        values = [field.db_value(getattr(payment, field.name)) for field in ASSESSED]
        changes.append((*values, payment.revision + 1, payment.id, payment.revision))
        payment.revision += 1
    return execute_many(_STORE, changes) == len(changes)


def next_assessment() -> tuple[bool, datetime | None]:
    """Return whether facts of a request have changed, and the next time at which time alone can.

    The time is None if no request waits for a time.
    """
    query = """SELECT EXISTS (SELECT 1 FROM payment_request WHERE reassess_at_height = ?),
        (SELECT min(reassess_at) FROM payment_request WHERE reassess_at IS NOT NULL)"""
    has_changed, earliest = execute(query, ANY_HEIGHT).fetchone()
    return bool(has_changed), PaymentRequest.reassess_at.python_value(earliest)
