"""The operator's page of one seller: its facts, its API keys, its webhooks, and the values for a plug-in.

Each section has a template and a module of its own: operator_keys.tpl and
web/operator/keys.py, operator_webhooks.tpl and web/operator/webhooks.py.
"""

import structlog

from models.db.connection import snapshot
from models.seller import MAX_NAME_CHARACTERS, Seller, seller_by_id
from web.html.templates import template
from web.http.request import Request
from web.http.responses import Response, not_found
from web.operator import keys, webhooks
from web.operator.decisions import Notice
from web.operator.layout import operator_page, see_other
from web.operator.sellers import read_contact, seller_that_sells

log = structlog.get_logger(__name__)

_PAGE = template("operator_seller.tpl")


def show(request: Request, seller_id: str) -> Response:
    """GET /operator/sellers/{id}."""
    with snapshot():
        seller = seller_or_404(seller_id)
        return operator_page(
            _PAGE,
            request,
            seller=seller,
            public_url=request.settings.public_url,
            most_name=MAX_NAME_CHARACTERS,
            notice=_notice(request) or keys.notice_of(request, seller) or webhooks.notice_of(request, seller),
            **keys.section_of(request, seller),
            **webhooks.section_of(seller),
        )


def change(request: Request, seller_id: str) -> Response:
    """POST /operator/sellers/{id}: store the name and the support address that customers see."""
    seller = seller_that_sells(seller_id)
    name, support = read_contact(request.session.form)
    with request.writers.transaction():
        Seller.update(name=name, support=support).where(Seller.id == seller.id).execute()
    log.info("seller changed", seller=seller_id, by="operator")
    return see_other(f"operator/sellers/{seller_id}?changed=1", request)


def seller_or_404(seller_id: str) -> Seller:
    """Return the seller with this id, even if it is removed. Raise Problem 404."""
    seller = seller_by_id(seller_id)
    if seller is None:
        raise not_found()
    return seller


def _notice(request: Request) -> Notice | None:
    """Return the line about the change that was just made, or None."""
    is_changed = "changed" in request.page_parameters()
    return Notice("Saved. Customers see the name and the address from now on.") if is_changed else None
