"""The operator's pages of payment links: list them, show one, close one."""

from typing import Annotated
from urllib.parse import urlencode

from pydantic import PlainValidator

from models.db.connection import snapshot
from models.link import Link, link_by_reference
from models.queries.late_requests import late_requests
from models.queries.link_search import LinkSearch, LinkState, link_count
from models.seller import present_sellers
from payments.link import LinkStatus
from web.api.forms import read_form
from web.api.link_schemas import PaymentLink
from web.api.links import LinkFilters, document_of_link, documents_of_links, links_page
from web.api.new_link import end_link, log_link
from web.api.payment_list import read_search, read_seller
from web.api.search_limit import OPERATOR_SECONDS, bounded_reading
from web.html.templates import template
from web.http.request import Request
from web.http.responses import Response, not_found
from web.operator.decisions import Notice
from web.operator.layout import operator_page, see_other
from web.operator.payment_list import MAX_COUNTED, filled_in, total_line

_LIST = template("operator_links.tpl")
_LINK = template("operator_link.tpl")


def _state(text: str) -> LinkState:
    if text not in list(LinkState):
        raise ValueError(f"must be one of {', '.join(LinkState)}")
    return LinkState(text)


class OperatorLinkFilters(LinkFilters):
    """Filters of the operator. `q` is a text as in `LinkSearch`."""

    q: Annotated[str | None, PlainValidator(read_search)] = None
    state: Annotated[LinkState | None, PlainValidator(_state)] = None
    seller: Annotated[str | None, PlainValidator(read_seller)] = None

    def search(self) -> LinkSearch:
        """Return the search for the links that match all filters."""
        return LinkSearch(seller_id=self.seller, state=self.state, text=self.q)


def show_all(request: Request) -> Response:
    """GET /operator/links: all links, newest first, each with the money that it received."""
    given = filled_in(request, OperatorLinkFilters)
    filters = read_form(OperatorLinkFilters, given)
    parameters = {name: value for name, value in given.items() if name != "cursor"}
    search = filters.search()
    with bounded_reading(OPERATOR_SECONDS):
        page, older = links_page(filters, search, request.now)
        links = documents_of_links(page, request.settings, request.now)
        total = link_count(search, request.now, MAX_COUNTED)
        sellers = [seller.id for seller in present_sellers()]
    return operator_page(
        _LIST,
        request,
        links=links,
        given=given,
        states=list(LinkState),
        sellers=sellers,
        query=urlencode(parameters),
        older_query=urlencode({**parameters, "cursor": older}) if older else None,
        total=total_line(total, len(links), MAX_COUNTED),
        is_first=filters.cursor is None,
    )


def show(request: Request, reference: str) -> Response:
    """GET /operator/links/{id}."""
    settings = request.settings
    with snapshot():
        link = link_or_404(reference)
        document = document_of_link(link, request.settings, request.now)
        late = late_requests(link, request.now, settings.rate_max_age, settings.rate_spread)
    is_just_closed = "closed" in request.page_parameters() and document["closed_at"] is not None
    notice = Notice("The link is closed. Nobody can pay it any more.") if is_just_closed else None
    is_closable = _is_closable(document)
    return operator_page(_LINK, request, link=document, late=late, is_closable=is_closable, notice=notice)


def close(request: Request, reference: str) -> Response:
    """POST /operator/links/{id}/close: close the link, as the API does."""
    link = link_or_404(reference)
    if end_link(link, request.now, request.writers.transaction):
        log_link("link closed", link, by="operator")
    return see_other(f"operator/links/{link.reference}?closed=1", request)


def link_or_404(reference: str) -> Link:
    """Return the link with this id. Raise Problem 404."""
    link = link_by_reference(reference)
    if link is None:
        raise not_found()
    return link


def _is_closable(document: PaymentLink) -> bool:
    return document["closed_at"] is None and document["status"] != LinkStatus.PAID
