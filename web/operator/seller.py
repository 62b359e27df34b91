"""The operator's page of one seller: its facts, its API keys, its webhooks, and the values for a plug-in.

Each section has a template and a module of its own: operator_keys.tpl and
web/operator/keys.py, operator_webhooks.tpl and web/operator/webhooks.py.
"""

from models.db.connection import snapshot
from models.seller import Seller, seller_by_id
from web.html.templates import template
from web.http.request import Request
from web.http.responses import Content, not_found
from web.operator import keys, webhooks
from web.operator.layout import operator_page

_PAGE = template("operator_seller.tpl")


def show(call: Request, seller_id: str) -> Content:
    """GET /operator/sellers/{id}."""
    with snapshot():
        seller = seller_or_404(seller_id)
        return operator_page(
            _PAGE,
            call,
            seller=seller,
            public_url=call.settings.public_url,
            **keys.section_of(call, seller),
            **webhooks.section_of(seller),
        )


def seller_or_404(seller_id: str) -> Seller:
    """Return the seller with this id, even if it is removed. Raise Problem 404."""
    seller = seller_by_id(seller_id)
    if seller is None:
        raise not_found()
    return seller
