"""The sellers with their endpoints, and the messages that Nodetill could not deliver."""

from config.command import manage_command
from models.db.connection import snapshot
from models.queries.failed_deliveries import MAX_SHOWN, newest_failed_deliveries
from models.queries.sellers import seller_facts
from web.html.templates import template
from web.http.request import Request
from web.http.responses import Content
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
