"""The search for payment requests: their lists for a seller, for the operator and for BTCPay's API."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import and_, or_
from typing import Any

import peewee
from peewee import SQL

from models.address import Address
from models.db.connection import database, is_sqlite, with_paramstyle
from models.output import Output
from models.payment import PAYMENT_REFERENCE, UNDERWAY, PaymentRequest
from models.queries.attention import DECIDED, ActionNeeded, needs_action
from payments.status import Status

LETTERS_OF_IDS = re.compile("[A-Za-z0-9-]+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentSearch:
    """The filters of a list. A request has to match all of them, and None matches any request.

    `created_after` is the earliest time of creation, and `created_before` the first time that is too late.
    `link_id` is the public identifier of a payment link. `text` is an id or its beginning, a part of an order
    id or of a note, an address, or a transaction id.
    """

    seller_id: str | None = None
    status: str | None = None
    currency: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    link_id: str | None = None
    needs: ActionNeeded | None = None
    text: str | None = None


def newest_payments(
    search: PaymentSearch, limit: int, older_than: PaymentRequest | None = None
) -> list[PaymentRequest]:
    """Return the matching requests with their addresses, newest first, after this one."""
    return list(newest_query(search, older_than).limit(limit))


def next_newer(search: PaymentSearch, limit: int, newer_than: PaymentRequest) -> list[PaymentRequest]:
    """Return the matching requests with their addresses, oldest first, after this one."""
    created_at = PaymentRequest.created_at
    is_newer = (created_at >= newer_than.created_at) & (
        (created_at > newer_than.created_at) | (PaymentRequest.id > newer_than.id)
    )
    found = _matching(search).where(is_newer).order_by(created_at, PaymentRequest.id)
    return list(found.limit(limit))


def match_count(search: PaymentSearch, limit: int) -> int:
    """Return the number of matching requests, at most `limit`."""
    found = PaymentRequest.select(PaymentRequest.id).where(_is_match(search))
    return int(found.limit(limit).count(database))


def newest_query(search: PaymentSearch, older_than: PaymentRequest | None = None) -> Any:
    """Return the query of `newest_payments` without its limit."""
    query = _matching(search)
    if older_than is not None:
        created_at = PaymentRequest.created_at
        query = query.where(
            (created_at <= older_than.created_at)
            & ((created_at < older_than.created_at) | (PaymentRequest.id < older_than.id))
        )
    return query.order_by(PaymentRequest.created_at.desc(), PaymentRequest.id.desc())


def has_text(text: str) -> Any:
    """Return the condition of a text. Each kind of id has its index. Other text can be in two columns."""
    condition = contains(text, PaymentRequest.order_id, PaymentRequest.note)
    if not LETTERS_OF_IDS.fullmatch(text):
        return condition
    if "PR-".startswith(text[:3].upper()):
        condition |= PaymentRequest.id.in_(_ids_like(text))
    # QR codes contain bech32 addresses in capitals, which are equivalent (BIP173).
    addresses = Address.select(Address.id).where(Address.address.in_((text, text.lower())))
    paid = Output.select(Output.address).where(Output.txid == text.lower())
    at_address = PaymentRequest.select(PaymentRequest.id).where(
        PaymentRequest.address.in_(addresses) | PaymentRequest.address.in_(paid)
    )
    return condition | PaymentRequest.id.in_(at_address)


def contains(text: str, *columns: Any) -> Any:
    """Return the condition that a column has this text, in any case. LIKE is slower, at each position."""
    find = peewee.fn.instr if is_sqlite() else peewee.fn.strpos
    if is_sqlite() and not text.isascii():
        return reduce(or_, [find(peewee.fn.unicode_lower(column), text.lower()) > 0 for column in columns])
    # In PostgreSQL with the locale C, lower() changes only ASCII letters.
    spellings = (text, text.lower(), text.upper(), text.capitalize())
    wanted = sorted({_ascii_lower(each) for each in spellings})
    found = [find(peewee.fn.lower(column), each) > 0 for column in columns for each in wanted]
    return reduce(or_, found)


def _matching(search: PaymentSearch) -> Any:
    return PaymentRequest.select(PaymentRequest, Address).join(Address).where(_is_match(search))


def _is_match(search: PaymentSearch) -> Any:
    filters: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
        (search.status, _has_status),
        (search.currency, _has_currency),
        (search.created_after, lambda start: PaymentRequest.created_at >= start),
        (search.created_before, lambda end: PaymentRequest.created_at < end),
        (search.link_id, _is_of_link),
        (search.needs, needs_action),
        (search.text, has_text),
        (search.seller_id, lambda seller_id: PaymentRequest.seller == seller_id),
    )
    conditions = [condition(value) for value, condition in filters if value is not None]
    return reduce(and_, conditions, SQL("TRUE"))


def _ascii_lower(text: str) -> str:
    return text.encode().lower().decode()


def _ids_like(text: str) -> Any:
    """Return the query for a whole id, by its index, or for all ids that begin so."""
    reference = PaymentRequest.reference
    is_like = reference == text if PAYMENT_REFERENCE.fullmatch(text) else reference.startswith(text)
    return PaymentRequest.select(PaymentRequest.id).where(is_like)


def _has_status(status: str) -> Any:
    """Return the condition for a status.

    Open requests are few, so they use a partial index. A closed status is common, so the condition excludes
    the other statuses, and the planner then chooses no unsuitable index.
    """
    if status not in DECIDED:
        underway = PaymentRequest.select(PaymentRequest.id).where(
            SQL(UNDERWAY), PaymentRequest.status == status
        )
        return PaymentRequest.id.in_(underway)
    return PaymentRequest.status.not_in([other for other in Status if other != status])


def _is_of_link(reference: str) -> Any:
    """Return the condition for a link. Its text is that of the index payment_link."""
    of_link = "link_id = (SELECT id FROM link WHERE reference = ?) AND id > 0"
    found = PaymentRequest.select(PaymentRequest.id).where(SQL(with_paramstyle(of_link), (reference,)))
    return PaymentRequest.id.in_(found)


def _has_currency(code: str) -> Any:
    """Return the condition for a currency.

    It is no plain column, so the planner does not choose the index of the currencies, in which the requests
    of all sellers are mixed.
    """
    return PaymentRequest.currency.concat("") == code
