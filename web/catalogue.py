"""A seller's payment requests, newest first, a page at a time."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import Field, PlainValidator

from models.address import Address
from models.output import Output
from models.payment import PaymentRequest, payment_by_reference
from payments.money import currency_codes, is_currency
from payments.status import Status
from web.answer import Answer, FieldError, invalid
from web.call import Call
from web.documents import documents_of, snapshot
from web.forms import REFERENCE, TXID, Form, read_form
from web.schemas import PaymentList

DEFAULT_LIMIT, MOST_LIMIT = 50, 200
_QUERY_CHARACTERS = 500

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _status(text: str) -> str:
    if text not in list(Status):
        raise ValueError(f"must be one of {', '.join(Status)}")
    return text


def _currency(text: str) -> str:
    if not is_currency(text):
        raise ValueError("must be an ISO 4217 currency code in capitals such as EUR, or BTC, or SAT")
    return text


def _moment(text: str) -> datetime:
    fault = ValueError("must be a time such as 2026-11-23T15:04:05Z; a + is written %2B in a URL")
    if not _RFC_3339.fullmatch(text):
        raise fault
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError:
        raise fault from None


def _search(text: str) -> str:
    if not (0 < len(text) <= _QUERY_CHARACTERS and "\0" not in text):
        raise ValueError(f"must have 1 to {_QUERY_CHARACTERS} characters")
    return text


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 4 and 1 <= int(text) <= MOST_LIMIT):
        raise ValueError(f"must be a whole number from 1 to {MOST_LIMIT}")
    return int(text)


def _cursor(text: str) -> str:
    if not REFERENCE.fullmatch(text):
        raise ValueError("is not one that this list gave")
    return text


def _told(description: str, **schema: Any) -> Any:
    """What the API's description says of a parameter: its reader, a function, says nothing."""
    return Field(description=description, json_schema_extra={"type": "string", **schema})


class Filters(Form):
    """What a list is narrowed by; all have to fit. None of a filter stands for any."""

    status: Annotated[str | None, PlainValidator(_status), _told("Only of this status", enum=[*Status])] = (
        None
    )
    currency: Annotated[
        str | None, PlainValidator(_currency), _told("Only in this currency", enum=sorted(currency_codes()))
    ] = None
    created_after: Annotated[
        datetime | None, PlainValidator(_moment), _told("Made then or later", format="date-time")
    ] = None
    created_before: Annotated[
        datetime | None, PlainValidator(_moment), _told("Made before then", format="date-time")
    ] = None
    q: Annotated[
        str | None,
        PlainValidator(_search),
        _told(
            "An id or its beginning, a part of a note, an address, or a transaction's id",
            minLength=1,
            maxLength=_QUERY_CHARACTERS,
            pattern=r"^[^\u0000]*$",
        ),
    ] = None
    limit: Annotated[
        int, PlainValidator(_limit), _told("How many at most", type="integer", minimum=1, maximum=MOST_LIMIT)
    ] = DEFAULT_LIMIT
    cursor: Annotated[
        str | None,
        PlainValidator(_cursor),
        _told("`next_cursor` of the page before", pattern=f"^{REFERENCE.pattern}$"),
    ] = None


def list_payments(call: Call) -> Answer:
    """GET /api/v1/payments: the requests that every filter lets through, and where the next page begins."""
    filters = read_form(Filters, call.parameters())
    with snapshot():
        page = list(_query(call, filters).limit(filters.limit + 1))
        documents = documents_of(page[: filters.limit], call.settings)
    next_cursor = page[filters.limit - 1].reference if len(page) > filters.limit else None
    return Answer(HTTPStatus.OK, PaymentList(data=documents, next_cursor=next_cursor))


def _query(call: Call, filters: Filters) -> Any:
    query = (
        PaymentRequest.select(PaymentRequest, Address)
        .join(Address)
        .where(PaymentRequest.seller == call.seller)
        .order_by(PaymentRequest.id.desc())
    )
    for name, condition in _CONDITIONS.items():
        value = getattr(filters, name)
        if value is not None:
            query = query.where(condition(value))
    return query if filters.cursor is None else query.where(_before(call, filters.cursor))


def _before(call: Call, cursor: str) -> Any:
    """A cursor is the last request of the page before. It gives away no count of other sellers' requests."""
    last = payment_by_reference(cursor, call.seller.id)
    if last is None:
        raise invalid([FieldError("cursor", "is not one that this list gave")])
    return PaymentRequest.id < last.id


def _matches(text: str) -> Any:
    condition = (
        PaymentRequest.reference.startswith(text)
        | PaymentRequest.note.contains(text)
        | (Address.address == text)
        # A bech32 address is the same in capitals (BIP173), as a QR code has it.
        | (Address.address == text.lower())
    )
    if not text.isascii():
        # To SQLite only ASCII letters are the same in capitals.
        for spelling in (text.lower(), text.upper(), text.capitalize()):
            condition |= PaymentRequest.note.contains(spelling)
    if TXID.fullmatch(text.lower()):
        paid = Output.select(Output.address).where(Output.txid == text.lower())
        condition |= PaymentRequest.address.in_(paid)
    return condition


_CONDITIONS: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {
        "status": lambda status: PaymentRequest.status == status,
        "currency": lambda code: PaymentRequest.currency == code,
        "created_after": lambda moment: PaymentRequest.created_at >= moment,
        "created_before": lambda moment: PaymentRequest.created_at < moment,
        "q": _matches,
    }
)
