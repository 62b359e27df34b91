"""The list of a store's invoices, newest first, with BTCPay's filters."""

from datetime import timedelta

from models.queries.invoice_search import InvoiceSearch, newest_invoices
from payments.greenfield.state import InvoiceStatus
from web.api.search_limit import SELLER_SECONDS, bounded_reading, seller_search
from web.greenfield.documents import invoice_documents
from web.greenfield.errors import ok, wrong
from web.greenfield.query import Query
from web.http.request import Request
from web.http.responses import Response

MAX_INVOICES = 250
"""The maximum number of invoices in one response, and the default of `take`."""
_MAX_SKIPPED = 10**9
_MAX_SEARCH_CHARACTERS = 200
_STATUSES = {status.value.lower(): status for status in InvoiceStatus}


def list_invoices(request: Request) -> Response:
    """GET /api/v1/stores/{store}/invoices: a JSON array of invoices."""
    query = Query(request)
    search = _search(query, request.seller.id)
    skip = query.number("skip", 0, _MAX_SKIPPED)
    take = query.number("take", MAX_INVOICES, MAX_INVOICES)
    is_with_methods = query.flag("includePaymentMethods")
    with bounded_reading(SELLER_SECONDS) if search.text is None else seller_search(request.seller.id):
        found = newest_invoices(search, take, skip)
        documents = invoice_documents(found, request.settings, is_with_methods=is_with_methods)
    return ok(documents)


def _search(query: Query, seller_id: str) -> InvoiceSearch:
    """Return the filters of the query. Raise Problem 422."""
    end = query.time("endDate")
    return InvoiceSearch(
        seller_id=seller_id,
        order_ids=query.all("orderId"),
        statuses=[_status(name) for name in query.all("status")],
        created_after=query.time("startDate"),
        # Clients receive the creation time in whole seconds.
        created_before=None if end is None else end + timedelta(seconds=1),
        text=_search_text(query),
        is_archived_included=query.flag("includeArchived"),
    )


def _status(name: str) -> InvoiceStatus:
    """Return one of BTCPay's statuses. Ignore case. Raise Problem 422."""
    status = _STATUSES.get(name.lower())
    if status is None:
        raise wrong("status", f"must be one of {', '.join(InvoiceStatus)}")
    return status


def _search_text(query: Query) -> str | None:
    text = query.text("textSearch")
    if text is not None and (len(text) > _MAX_SEARCH_CHARACTERS or "\0" in text):
        raise wrong("textSearch", f"must have at most {_MAX_SEARCH_CHARACTERS} characters")
    return text
