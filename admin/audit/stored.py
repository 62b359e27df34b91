"""The open requests as the database has them. This module never writes."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import peewee

from admin.cli import CommandError, refuse_absent_database
from models.address import Address
from models.block import stored_tip
from models.db.connection import DatabaseError, bind, database, is_sqlite
from models.db.schema import pending_migrations
from models.outbox import EMAIL, Event, Message
from models.output import Output
from models.payment import PaymentRequest


@dataclass(frozen=True, slots=True)
class StoredPayment:
    """A request with its stored outputs and events. `mailed_ids` has the events that have an email."""

    payment: PaymentRequest
    outputs: tuple[Output, ...]
    events: tuple[Event, ...]
    mailed_ids: frozenset[int]


@dataclass(frozen=True, slots=True)
class Unrequested:
    """A claimed address that has no request, with its stored outputs."""

    address: Address
    outputs: tuple[Output, ...]


@dataclass(frozen=True, slots=True)
class StoredState:
    """The open requests at one moment, and the claimed addresses without a request."""

    tip_hash: str | None
    entries: tuple[StoredPayment, ...]
    unrequested: tuple[Unrequested, ...]


def read_stored_state() -> StoredState:
    """Return the open requests. Must run inside a reading transaction."""
    tip = stored_tip()
    is_open = PaymentRequest.closed_at.is_null()
    payments = list(PaymentRequest.select(PaymentRequest, Address).join(Address).where(is_open))
    outputs = _grouped(
        Output.select().join(PaymentRequest, on=(PaymentRequest.address == Output.address)).where(is_open),
        "address_id",
    )
    events = _grouped(Event.select().join(PaymentRequest).where(is_open).order_by(Event.id), "payment_id")
    emails = Message.select().join(PaymentRequest).where(is_open & (Message.channel == EMAIL))
    mailed = _grouped(emails, "payment_id")
    entries = (
        StoredPayment(
            payment,
            tuple(outputs[payment.address_id]),
            tuple(events[payment.id]),
            frozenset(message.event_id for message in mailed[payment.id]),
        )
        for payment in payments
    )
    return StoredState(tip.hash if tip else None, tuple(entries), tuple(_read_unrequested()))


def _read_unrequested() -> Iterator[Unrequested]:
    is_unrequested = Address.claimed_at.is_null(False) & PaymentRequest.id.is_null()
    addresses = Address.select().join(PaymentRequest, peewee.JOIN.LEFT_OUTER).where(is_unrequested)
    paid = (
        Output.select()
        .join(Address)
        .join(PaymentRequest, peewee.JOIN.LEFT_OUTER, on=(PaymentRequest.address == Address.id))
        .where(is_unrequested)
    )
    outputs = _grouped(paid, "address_id")
    for row in addresses.order_by(Address.id):
        yield Unrequested(row, tuple(outputs.get(row.id, ())))


def open_read_only(url: str) -> None:
    """Connect to the database for reading only. Raise CommandError where it cannot be read."""
    refuse_absent_database(url)
    try:
        bind(url).connect()
        forbid = "PRAGMA query_only = 1" if is_sqlite() else "SET default_transaction_read_only = on"
        database.execute_sql(forbid)
        if pending_migrations(database.obj):
            raise CommandError(
                "the database is of an older Nodetill: start the daemon, which brings it up to date"
            )
    except (DatabaseError, peewee.DatabaseError) as error:
        raise CommandError(str(error)) from error


def _grouped(query: Iterable[Any], name: str) -> defaultdict[int, list[Any]]:
    key = attrgetter(name)
    groups: defaultdict[int, list[Any]] = defaultdict(list)
    for row in query:
        groups[key(row)].append(row)
    return groups
