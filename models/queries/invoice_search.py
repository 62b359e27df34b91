"""The list of a store's invoices for BTCPay's API."""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import and_, or_
from types import MappingProxyType
from typing import Any

from models.address import Address
from models.payment import PaymentRequest
from models.queries.payment_search import contains, has_text
from payments.greenfield.facts import Mark
from payments.greenfield.state import InvoiceStatus
from payments.status import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceSearch:
    """The filters of a list. An invoice must match all of them. An empty filter and None match any invoice.

    An invoice matches if it has one of the `order_ids` and one of the `statuses`. `created_after` is the
    earliest time of creation, and `created_before` is the first time that is too late. The search finds
    `text` where the other lists find it, and in the metadata.
    """

    seller_id: str
    order_ids: Collection[str] = ()
    statuses: Collection[InvoiceStatus] = ()
    created_after: datetime | None = None
    created_before: datetime | None = None
    text: str | None = None
    is_archived_included: bool = False


def newest_invoices(search: InvoiceSearch, limit: int, offset: int) -> list[PaymentRequest]:
    """Return matching requests with their addresses, newest first, after the first `offset` ones."""
    found = (
        PaymentRequest.select(PaymentRequest, Address)
        .join(Address)
        .where(reduce(and_, _conditions(search)))
        .order_by(PaymentRequest.created_at.desc(), PaymentRequest.id.desc())
    )
    return list(found.limit(limit).offset(offset))


def _conditions(search: InvoiceSearch) -> list[Any]:
    conditions = [PaymentRequest.seller == search.seller_id]
    if not search.is_archived_included:
        conditions.append(PaymentRequest.archived_at.is_null())
    if search.order_ids:
        # PostgreSQL stores no NUL, and refuses it.
        possible = [order_id for order_id in search.order_ids if "\0" not in order_id]
        conditions.append(PaymentRequest.order_id.in_(possible))
    if search.statuses:
        conditions.append(reduce(or_, map(_has_status, search.statuses)))
    if search.created_after is not None:
        conditions.append(PaymentRequest.created_at >= search.created_after)
    if search.created_before is not None:
        conditions.append(PaymentRequest.created_at < search.created_before)
    if search.text is not None:
        conditions.append(_contains(search.text))
    return conditions


def _has_status(status: InvoiceStatus) -> Any:
    condition = _UNMARKED[status]() & PaymentRequest.marked.is_null()
    mark = _MARKS.get(status)
    return condition if mark is None else condition | (PaymentRequest.marked == mark.value)


def _is_covered() -> Any:
    return PaymentRequest.status.in_([status.value for status in Status if status.is_covered])


def _is_expired() -> Any:
    return PaymentRequest.status == Status.EXPIRED.value


def _has_lost_its_money() -> Any:
    was_covered = PaymentRequest.first_covered_at.is_null(False) & _is_expired()
    return ~_is_covered() & (PaymentRequest.first_confirmed_at.is_null(False) | was_covered)


def _is_open() -> Any:
    return ~_is_covered() & ~_is_expired() & PaymentRequest.first_confirmed_at.is_null()


def _is_unpaid() -> Any:
    nothing_counted = PaymentRequest.first_covered_at.is_null() & PaymentRequest.first_confirmed_at.is_null()
    return _is_expired() & nothing_counted


_UNMARKED: Mapping[InvoiceStatus, Callable[[], Any]] = MappingProxyType(
    {
        InvoiceStatus.NEW: _is_open,
        InvoiceStatus.PROCESSING: lambda: PaymentRequest.status.in_(
            [Status.RECEIVED.value, Status.CONFIRMING.value]
        ),
        InvoiceStatus.SETTLED: lambda: PaymentRequest.status == Status.CONFIRMED.value,
        InvoiceStatus.EXPIRED: _is_unpaid,
        InvoiceStatus.INVALID: _has_lost_its_money,
    }
)
"""The conditions match `payments.greenfield.state.state_of`. A test compares both."""

_MARKS: Mapping[InvoiceStatus, Mark] = MappingProxyType(
    {InvoiceStatus.SETTLED: Mark.SETTLED, InvoiceStatus.INVALID: Mark.INVALID}
)


def _contains(text: str) -> Any:
    # The database stores the metadata as JSON, which puts a backslash before a quotation mark.
    escaped = json.dumps(text, ensure_ascii=False)[1:-1]
    # Because of the cast, peewee compares the column with text and not with JSON.
    return has_text(text) | contains(escaped, PaymentRequest.metadata.cast("text"))
