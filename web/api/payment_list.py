"""Pages of payment requests, newest first, for a seller or for the operator."""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from http import HTTPStatus
from operator import or_
from types import MappingProxyType
from typing import Annotated, Any

import peewee
from peewee import SQL
from pydantic import Field, PlainValidator

from models.address import Address
from models.db.connection import database, is_sqlite, with_paramstyle
from models.output import Output
from models.payment import PaymentRequest, payment_by_reference
from models.queries.attention import DECIDED, UNDERWAY, ActionNeeded, needs_action
from models.seller import SELLER_ID
from payments.money import currency_codes, is_currency
from payments.status import Status
from web.api.documents import documents_of
from web.api.forms import Form, read_form
from web.api.schemas import PaymentList
from web.api.search_limit import SELLER_SECONDS, bounded_reading, seller_search
from web.http.request import Request
from web.http.responses import Answer, FieldError, invalid

DEFAULT_LIMIT, MOST_LIMIT = 50, 200
_QUERY_CHARACTERS = 100

_LAST_DAY = datetime(9999, 12, 31, tzinfo=UTC)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NAME = re.compile("[A-Za-z0-9-]+", re.ASCII)
_REFERENCE = re.compile(r"PR-[A-Za-z0-9]{22}")
LINK_REFERENCE = re.compile(r"LK-[A-Za-z0-9]{22}")
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _status(text: str) -> str:
    if text not in list(Status):
        raise ValueError(f"must be one of {', '.join(Status)}")
    return text


def _currency_in_any_case(text: str) -> str:
    return _currency(text.upper())


def _currency(text: str) -> str:
    if not is_currency(text):
        raise ValueError("must be an ISO 4217 currency code in capitals such as EUR, or BTC, or SAT")
    return text


def read_time(text: str) -> datetime:
    """Return the time of RFC 3339. Raise ValueError."""
    error = ValueError("must be a time such as 2026-11-23T15:04:05Z; write %2B for a + in a URL")
    if not _RFC_3339.fullmatch(text):
        raise error
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError:
        raise error from None


def _day(text: str) -> datetime:
    if _DAY.fullmatch(text):
        with suppress(ValueError):
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
    raise ValueError("must be a day such as 2026-11-23")


def _day_after(text: str) -> datetime:
    day = _day(text)
    return day + timedelta(days=1) if day < _LAST_DAY else day


def _seller(text: str) -> str:
    if not SELLER_ID.fullmatch(text):
        raise ValueError("must be a seller's id")
    return text


def _need(text: str) -> ActionNeeded:
    if text not in list(ActionNeeded):
        raise ValueError(f"must be one of {', '.join(ActionNeeded)}")
    return ActionNeeded(text)


def _search(text: str) -> str:
    if not (0 < len(text) <= _QUERY_CHARACTERS and "\0" not in text):
        raise ValueError(f"must have 1 to {_QUERY_CHARACTERS} characters")
    return text


def read_limit(text: str) -> int:
    """Return the length of a page. Raise ValueError."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 4 and 1 <= int(text) <= MOST_LIMIT):
        raise ValueError(f"must be a whole number from 1 to {MOST_LIMIT}")
    return int(text)


def _link(text: str) -> str:
    if not LINK_REFERENCE.fullmatch(text):
        raise ValueError("must be the id of a payment link: LK- and 22 letters or digits")
    return text


def _cursor(text: str) -> str:
    if not _REFERENCE.fullmatch(text):
        raise ValueError("is not a cursor of this list")
    return text


def described(description: str, **schema: Any) -> Any:
    """Describe a parameter for the API's description, because a PlainValidator has no schema."""
    return Field(description=description, json_schema_extra={"type": "string", **schema})


class Filters(Form):
    """Filters of a list. A request has to match all of them; None matches any request."""

    status: Annotated[
        str | None, PlainValidator(_status), described("Only requests with this status", enum=[*Status])
    ] = None
    currency: Annotated[
        str | None,
        PlainValidator(_currency),
        described("Only requests in this currency", enum=sorted(currency_codes())),
    ] = None
    created_after: Annotated[
        datetime | None,
        PlainValidator(read_time),
        described("Only requests created at this time or later", format="date-time"),
    ] = None
    created_before: Annotated[
        datetime | None,
        PlainValidator(read_time),
        described("Only requests created before this time", format="date-time"),
    ] = None
    q: Annotated[
        str | None,
        PlainValidator(_search),
        described(
            "An id or its beginning, a part of an order id or of a note, an address, or a transaction id",
            minLength=1,
            maxLength=_QUERY_CHARACTERS,
            pattern=r"^[^\u0000]*$",
        ),
    ] = None
    link_id: Annotated[
        str | None,
        PlainValidator(_link),
        described("Only requests of this payment link", pattern=f"^{LINK_REFERENCE.pattern}$"),
    ] = None
    limit: Annotated[
        int,
        PlainValidator(read_limit),
        described("The maximum number of requests", type="integer", minimum=1, maximum=MOST_LIMIT),
    ] = DEFAULT_LIMIT
    cursor: Annotated[
        str | None,
        PlainValidator(_cursor),
        described("`next_cursor` of the previous page", pattern=f"^{_REFERENCE.pattern}$"),
    ] = None


class OperatorFilters(Filters):
    """Filters of the operator: also by seller and by open decision. Days are UTC, both included."""

    seller: Annotated[str | None, PlainValidator(_seller)] = None
    needs: Annotated[ActionNeeded | None, PlainValidator(_need)] = None
    currency: Annotated[str | None, PlainValidator(_currency_in_any_case)] = None
    created_after: Annotated[datetime | None, PlainValidator(_day)] = None
    created_before: Annotated[datetime | None, PlainValidator(_day_after)] = None
    newer: Annotated[str | None, PlainValidator(_cursor)] = None


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the operator's list. `older` and `newer` are the cursors of its neighbours, or None."""

    rows: list[PaymentRequest]
    older: str | None
    newer: str | None


def list_payments(call: Request) -> Answer:
    """GET /api/v1/payments: a page of the requests that match all filters, and the next cursor."""
    filters = read_form(Filters, call.parameters())
    seller_id = call.seller.id
    with seller_search(seller_id) if filters.q else bounded_reading(SELLER_SECONDS):
        page, next_cursor = page_of(filters, seller_id)
        documents = documents_of(page, call.settings)
    return Answer(HTTPStatus.OK, PaymentList(data=documents, next_cursor=next_cursor))


def page_of(filters: Filters, seller_id: str | None = None) -> tuple[list[PaymentRequest], str | None]:
    """Return a page of requests with their addresses, and the cursor of the next page or None.

    Raise Problem 422 for an invalid cursor.
    """
    page = list(newest(filters, seller_id).limit(filters.limit + 1))
    return page[: filters.limit], page[filters.limit - 1].reference if len(page) > filters.limit else None


def operator_page_of(filters: OperatorFilters) -> Page:
    """Return the page after `cursor`, or the page before `newer`. Raise Problem 422 for a wrong cursor."""
    if filters.newer is not None:
        limit = filters.limit
        rows = list(_newer_than(filters, filters.newer).limit(limit + 1))
        if len(rows) > limit:
            shown = rows[:limit][::-1]
            return Page(shown, shown[-1].reference, shown[0].reference)
        # The newest page is always full.
        filters = filters.model_copy(update={"newer": None, "cursor": None})
    shown, older = page_of(filters)
    return Page(shown, older, shown[0].reference if filters.cursor is not None and shown else None)


def count_of(filters: OperatorFilters, most: int) -> int | None:
    """Return the number of matching requests, at most `most`, or None for a search, which is too slow."""
    if filters.q is not None:
        return None
    query = PaymentRequest.select(PaymentRequest.id)
    for condition in _conditions(filters):
        query = query.where(condition)
    return int(query.limit(most).count(database))


def _newer_than(filters: OperatorFilters, cursor: str) -> Any:
    """Return the query for the matching requests that are newer than the cursor, oldest first."""
    first = payment_by_reference(cursor)
    if first is None:
        raise invalid([FieldError("newer", "is not a cursor of this list")])
    created_at = PaymentRequest.created_at
    is_newer = (created_at >= first.created_at) & (
        (created_at > first.created_at) | (PaymentRequest.id > first.id)
    )
    query = newest(filters.model_copy(update={"cursor": None})).where(is_newer)
    return query.order_by(created_at, PaymentRequest.id)


def newest(filters: Filters, seller_id: str | None = None) -> Any:
    """Return the query for all matching requests, newest first, of one seller or of all."""
    query = PaymentRequest.select(PaymentRequest, Address).join(Address)
    for condition in _conditions(filters):
        query = query.where(condition)
    if seller_id is not None:
        query = query.where(PaymentRequest.seller == seller_id)
    if filters.cursor is not None:
        query = query.where(_older_than(filters.cursor, seller_id))
    return query.order_by(PaymentRequest.created_at.desc(), PaymentRequest.id.desc())


def _conditions(filters: Filters) -> list[Any]:
    given = ((condition, getattr(filters, name, None)) for name, condition in _CONDITIONS.items())
    return [condition(value) for condition, value in given if value is not None]


def _older_than(cursor: str, seller_id: str | None) -> Any:
    """Return the condition for requests older than the cursor. Raise Problem 422.

    A cursor is the last request of the previous page, so it does not reveal the number of other requests.
    """
    last = payment_by_reference(cursor, seller_id)
    if last is None:
        raise invalid([FieldError("cursor", "is not a cursor of this list")])
    created_at = PaymentRequest.created_at
    return (created_at <= last.created_at) & ((created_at < last.created_at) | (PaymentRequest.id < last.id))


def matches(text: str) -> Any:
    """Search each kind of id by its own index. Other text can only be in an order id or in a note."""
    condition = is_in(text, PaymentRequest.order_id, PaymentRequest.note)
    if not _NAME.fullmatch(text):
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


def is_in(text: str, *columns: Any) -> Any:
    """Search columns without regard to case. LIKE compares at each position, so it is slower."""
    find = peewee.fn.instr if is_sqlite() else peewee.fn.strpos
    # lower() changes only ASCII letters in SQLite, and in PostgreSQL with the locale C.
    spellings = (text, text.lower(), text.upper(), text.capitalize())
    wanted = sorted({_ascii_lower(each) for each in spellings})
    found = [find(peewee.fn.lower(column), each) > 0 for column in columns for each in wanted]
    return reduce(or_, found)


def _ascii_lower(text: str) -> str:
    return text.encode().lower().decode()


def _ids_like(text: str) -> Any:
    """Find a whole id by its index. The search for the beginning of an id reads all ids."""
    reference = PaymentRequest.reference
    is_like = reference == text if _REFERENCE.fullmatch(text) else reference.startswith(text)
    return PaymentRequest.select(PaymentRequest.id).where(is_like)


def _has_status(status: str) -> Any:
    """Return the condition for a status.

    Open requests are few, so they use a partial index. A closed status is common, so the condition excludes
    the other statuses, and the planner then chooses no unsuitable index.
    """
    if status not in DECIDED:
        underway = PaymentRequest.select(PaymentRequest.id).where(UNDERWAY, PaymentRequest.status == status)
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


_CONDITIONS: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {
        "status": _has_status,
        "currency": _has_currency,
        "created_after": lambda start: PaymentRequest.created_at >= start,
        "created_before": lambda end: PaymentRequest.created_at < end,
        "link_id": _is_of_link,
        "seller": lambda seller_id: PaymentRequest.seller == seller_id,
        "needs": lambda need: needs_action(need),
        "q": matches,
    }
)
