"""The list of a store's invoices, newest first, with BTCPay's filters."""

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import reduce
from operator import and_, or_
from types import MappingProxyType
from typing import Any

from models.address import Address
from models.payment import PaymentRequest
from payments.greenfield.facts import Mark
from payments.greenfield.state import InvoiceStatus
from payments.status import Status
from web.api.payment_list import is_in, matches
from web.api.search_limit import SELLER_SECONDS, bounded_reading, seller_search
from web.greenfield.documents import documents_of
from web.greenfield.errors import ok, wrong
from web.greenfield.query import Query
from web.http.request import Request
from web.http.responses import Content

MAX_INVOICES = 250
"""The maximum number of invoices in one response, and the default of `take`."""
_MAX_SKIPPED = 10**9
_MAX_SEARCH_CHARACTERS = 200


def list_invoices(call: Request) -> Content:
    """GET /api/v1/stores/{store}/invoices: a JSON array of invoices."""
    query = Query(call)
    text = _search_text(query)
    conditions = [PaymentRequest.seller == call.seller.id, *_conditions(query)]
    if text is not None:
        conditions.append(_contains(text))
    skip = query.number("skip", 0, _MAX_SKIPPED)
    take = query.number("take", MAX_INVOICES, MAX_INVOICES)
    is_with_methods = query.flag("includePaymentMethods")
    found = (
        PaymentRequest.select(PaymentRequest, Address)
        .join(Address)
        .where(reduce(and_, conditions))
        .order_by(PaymentRequest.created_at.desc(), PaymentRequest.id.desc())
        .limit(take)
        .offset(skip)
    )
    with bounded_reading(SELLER_SECONDS) if text is None else seller_search(call.seller.id):
        documents = documents_of(list(found), call.settings, is_with_methods=is_with_methods)
    return ok(documents)


def _conditions(query: Query) -> list[Any]:
    """Return a condition for each filter of the query. Raise Problem 422."""
    conditions = []
    if not query.flag("includeArchived"):
        conditions.append(PaymentRequest.archived_at.is_null())
    order_ids = query.all("orderId")
    if order_ids:
        conditions.append(PaymentRequest.order_id.in_([text for text in order_ids if "\0" not in text]))
    statuses = query.all("status")
    if statuses:
        conditions.append(reduce(or_, map(_has_status, statuses)))
    start, end = query.time("startDate"), query.time("endDate")
    if start is not None:
        conditions.append(PaymentRequest.created_at >= start)
    if end is not None:
        # Clients receive the creation time in whole seconds.
        conditions.append(PaymentRequest.created_at < end + timedelta(seconds=1))
    return conditions


def _has_status(name: str) -> Any:
    """Return the condition for one of BTCPay's statuses. Ignore case. Raise Problem 422."""
    by_name = {status.value.lower(): status for status in InvoiceStatus}
    status = by_name.get(name.lower())
    if status is None:
        raise wrong("status", f"must be one of {', '.join(InvoiceStatus)}")
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


def _search_text(query: Query) -> str | None:
    text = query.text("textSearch")
    if text is not None and (len(text) > _MAX_SEARCH_CHARACTERS or "\0" in text):
        raise wrong("textSearch", f"must have at most {_MAX_SEARCH_CHARACTERS} characters")
    return text


def _contains(text: str) -> Any:
    """Return the condition for a text in ids, notes, addresses, transactions or metadata. Ignore case."""
    # The database stores the metadata as JSON, which puts a backslash before a quotation mark.
    escaped = json.dumps(text, ensure_ascii=False)[1:-1]
    # Because of the cast, peewee compares the column with text and not with JSON.
    return matches(text) | is_in(escaped, PaymentRequest.metadata.cast("text"))
