"""Pages of payment requests, newest first, for a seller or for the operator."""

import re
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any

from pydantic import Field, PlainValidator

from models.link import LINK_REFERENCE
from models.payment import PAYMENT_REFERENCE, PaymentRequest, payment_by_reference
from models.queries.attention import ActionNeeded
from models.queries.payment_search import PaymentSearch, match_count, newest_payments, next_newer
from models.seller import SELLER_ID
from payments.money import currency_codes, is_currency
from payments.status import Status
from web.api.documents import documents_of
from web.api.forms import Form, read_form
from web.api.schemas import PaymentList
from web.api.search_limit import SELLER_SECONDS, bounded_reading, seller_search
from web.http.request import Request
from web.http.responses import FieldError, JsonResponse, invalid, json_response

DEFAULT_LIMIT, MAX_LIMIT = 50, 200
_QUERY_CHARACTERS = 100

_LAST_DAY = datetime(9999, 12, 31, tzinfo=UTC)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
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


def read_seller(text: str) -> str:
    """Return the id of a seller. Raise ValueError."""
    if not SELLER_ID.fullmatch(text):
        raise ValueError("must be a seller's id")
    return text


def _need(text: str) -> ActionNeeded:
    if text not in list(ActionNeeded):
        raise ValueError(f"must be one of {', '.join(ActionNeeded)}")
    return ActionNeeded(text)


def read_search(text: str) -> str:
    """Return the text to search for. Raise ValueError."""
    if not (0 < len(text) <= _QUERY_CHARACTERS and "\0" not in text):
        raise ValueError(f"must have 1 to {_QUERY_CHARACTERS} characters")
    return text


def read_limit(text: str) -> int:
    """Return the length of a page. Raise ValueError."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 4 and 1 <= int(text) <= MAX_LIMIT):
        raise ValueError(f"must be a whole number from 1 to {MAX_LIMIT}")
    return int(text)


def _link(text: str) -> str:
    if not LINK_REFERENCE.fullmatch(text):
        raise ValueError("must be the id of a payment link: LK- and 22 letters or digits")
    return text


def _cursor(text: str) -> str:
    if not PAYMENT_REFERENCE.fullmatch(text):
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
        PlainValidator(read_search),
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
        described("The maximum number of requests", type="integer", minimum=1, maximum=MAX_LIMIT),
    ] = DEFAULT_LIMIT
    cursor: Annotated[
        str | None,
        PlainValidator(_cursor),
        described("`next_cursor` of the previous page", pattern=f"^{PAYMENT_REFERENCE.pattern}$"),
    ] = None

    def search(self, seller_id: str | None = None) -> PaymentSearch:
        """Return the search for the requests of one seller, or of all."""
        return PaymentSearch(
            seller_id=seller_id,
            status=self.status,
            currency=self.currency,
            created_after=self.created_after,
            created_before=self.created_before,
            link_id=self.link_id,
            text=self.q,
        )


class OperatorFilters(Filters):
    """Filters of the operator: also by seller and by open decision. Days are UTC, both included."""

    seller: Annotated[str | None, PlainValidator(read_seller)] = None
    needs: Annotated[ActionNeeded | None, PlainValidator(_need)] = None
    currency: Annotated[str | None, PlainValidator(_currency_in_any_case)] = None
    created_after: Annotated[datetime | None, PlainValidator(_day)] = None
    created_before: Annotated[datetime | None, PlainValidator(_day_after)] = None
    newer: Annotated[str | None, PlainValidator(_cursor)] = None

    def search(self, seller_id: str | None = None) -> PaymentSearch:
        """Return the search for the requests of the seller that the filters name, or of all."""
        return replace(super().search(seller_id or self.seller), needs=self.needs)


@dataclass(frozen=True, slots=True)
class PaymentPage:
    """A page of the operator's list. `older` and `newer` are the cursors of its neighbours, or None."""

    rows: list[PaymentRequest]
    older: str | None
    newer: str | None


def list_payments(request: Request) -> JsonResponse:
    """GET /api/v1/payments: a page of the requests that match all filters, and the next cursor."""
    filters = read_form(Filters, request.parameters())
    seller_id = request.seller.id
    with seller_search(seller_id) if filters.q else bounded_reading(SELLER_SECONDS):
        page, next_cursor = page_of(filters, seller_id)
        documents = documents_of(page, request.settings)
    return json_response(HTTPStatus.OK, PaymentList(data=documents, next_cursor=next_cursor))


def page_of(filters: Filters, seller_id: str | None = None) -> tuple[list[PaymentRequest], str | None]:
    """Return a page of requests with their addresses, and the cursor of the next page or None.

    Raise Problem 422 for an invalid cursor.
    """
    last = _request_at(filters.cursor, "cursor", seller_id)
    page = newest_payments(filters.search(seller_id), filters.limit + 1, last)
    return page[: filters.limit], page[filters.limit - 1].reference if len(page) > filters.limit else None


def operator_page_of(filters: OperatorFilters) -> PaymentPage:
    """Return the page after `cursor`, or the page before `newer`. Raise Problem 422 for a wrong cursor."""
    first = _request_at(filters.newer, "newer")
    if first is not None:
        limit = filters.limit
        rows = next_newer(filters.search(), limit + 1, first)
        if len(rows) > limit:
            shown = rows[:limit][::-1]
            return PaymentPage(shown, shown[-1].reference, shown[0].reference)
        # The newest page is always full.
        filters = filters.model_copy(update={"newer": None, "cursor": None})
    shown, older = page_of(filters)
    return PaymentPage(shown, older, shown[0].reference if filters.cursor is not None and shown else None)


def count_of(filters: OperatorFilters, limit: int) -> int | None:
    """Return the number of matching requests, at most `limit`, or None for a search, which is too slow."""
    return match_count(filters.search(), limit) if filters.q is None else None


def _request_at(cursor: str | None, name: str, seller_id: str | None = None) -> PaymentRequest | None:
    """Return the request that a cursor names, or None without a cursor. Raise Problem 422 for a wrong cursor.

    A cursor is the last request of the previous page, so it does not reveal the number of other requests.
    """
    if cursor is None:
        return None
    found = payment_by_reference(cursor, seller_id)
    if found is None:
        raise invalid([FieldError(name, "is not a cursor of this list")])
    return found
