"""The operator's pages of payment links: list them, show one, close one."""

from models.db.connection import snapshot
from models.link import Link, link_by_reference
from models.queries.late_requests import late_requests
from payments.link import LinkStatus
from web.api.forms import read_form
from web.api.link_schemas import PaymentLink
from web.api.links import LinkFilters, document_of_link, documents_of_links, links_page
from web.api.new_link import end_link, log_link
from web.html.templates import template
from web.http.request import Request
from web.http.responses import Content, not_found
from web.operator.decisions import Notice
from web.operator.layout import operator_page, see_other

_LIST = template("operator_links.tpl")
_LINK = template("operator_link.tpl")


def show_all(call: Request) -> Content:
    """GET /operator/links: all links, newest first, each with the money that it received."""
    given = call.page_parameters()
    filters = read_form(LinkFilters, {"cursor": cursor} if (cursor := given.get("cursor")) else {})
    with snapshot():
        page, older = links_page(filters)
        links = documents_of_links(page, call.settings, call.now)
    return operator_page(_LIST, call, links=links, older=older, is_first=filters.cursor is None)


def show(call: Request, reference: str) -> Content:
    """GET /operator/links/{id}."""
    settings = call.settings
    with snapshot():
        link = link_or_404(reference)
        document = document_of_link(link, call)
        late = late_requests(link, call.now, settings.rate_max_age, settings.rate_spread)
    is_just_closed = "closed" in call.page_parameters() and document["closed_at"] is not None
    notice = Notice("The link is closed. Nobody can pay it any more.") if is_just_closed else None
    is_closable = _is_closable(document)
    return operator_page(_LINK, call, link=document, late=late, is_closable=is_closable, notice=notice)


def close(call: Request, reference: str) -> Content:
    """POST /operator/links/{id}/close: close the link, as the API does."""
    link = link_or_404(reference)
    if end_link(link, call.now, call.writers.transaction):
        log_link("link closed", link, by="operator")
    return see_other(f"operator/links/{link.reference}?closed=1", call)


def link_or_404(reference: str) -> Link:
    """Return the link with this id. Raise Problem 404."""
    link = link_by_reference(reference)
    if link is None:
        raise not_found()
    return link


def _is_closable(document: PaymentLink) -> bool:
    return document["closed_at"] is None and document["status"] != LinkStatus.PAID
