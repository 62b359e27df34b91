"""The sellers with their endpoints, and the messages that Nodetill could not deliver."""

from http import HTTPStatus

from config.command import manage_command
from models.db.connection import snapshot
from models.queries.failed_deliveries import MAX_SHOWN, newest_failed_deliveries
from models.queries.sellers import seller_facts
from models.seller import Seller, seller_by_id
from web.html.templates import template
from web.http.request import Request
from web.http.responses import Content, Problem, not_found
from web.operator.decisions import notice_of
from web.operator.layout import operator_page

_PAGE = template("operator_sellers.tpl")


def show(call: Request) -> Content:
    """GET /operator/sellers."""
    with snapshot():
        return operator_page(
            _PAGE,
            call,
            sellers=seller_facts(),
            failed=newest_failed_deliveries(),
            most=MAX_SHOWN,
            notice=notice_of(call),
            command=manage_command(),
        )


def seller_that_sells(seller_id: str) -> Seller:
    """Return the seller. Raise Problem 404, and 409 for a removed seller."""
    seller = seller_by_id(seller_id)
    if seller is None:
        raise not_found()
    if seller.removed_at is not None:
        detail = f"the seller {seller_id} was removed; to bring it back: seller add {seller_id} --restore"
        raise Problem(HTTPStatus.CONFLICT, "seller-removed", detail)
    return seller
