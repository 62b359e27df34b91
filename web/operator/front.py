"""The first page: the operator's list, or a short page for a visitor who is not logged in."""

from web.auth.origin import is_from_this_machine
from web.html.templates import template
from web.http.request import Request
from web.http.responses import Response
from web.operator import payment_list
from web.operator.layout import is_from_elsewhere, operator_page, see_other

_PAGE = template("front.tpl")


def show(request: Request) -> Response:
    """GET /: the operator's list. A visitor's page has nothing about this installation.

    Without OPERATOR_PASSWORD the page explains to a visitor on this machine how to enable the operator's
    page.
    """
    if request.caller is not None:
        return payment_list.show(request)
    has_password = request.settings.operator_password is not None
    return operator_page(
        _PAGE,
        request,
        has_login=has_password,
        is_setup=not has_password and is_from_this_machine(request.environ, request.settings),
        reload_at_once=has_password and is_from_elsewhere(request),
    )


def lead(request: Request) -> Response:
    """GET /operator: redirect to the first page, because a person may type the beginning of its links."""
    return see_other("", request)
