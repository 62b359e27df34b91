"""The sellers with their endpoints, and the messages that Nodetill could not deliver."""

from collections.abc import Mapping
from http import HTTPStatus

from config.addresses import support_contact
from config.command import manage_command
from config.types import InvalidValue
from models.db.connection import snapshot
from models.queries.failed_deliveries import MAX_SHOWN, newest_failed_deliveries
from models.queries.sellers import seller_facts
from models.seller import MAX_NAME_CHARACTERS, Seller, seller_by_id
from web.html.templates import template
from web.http.request import Request
from web.http.responses import FieldError, Problem, Response, invalid, not_found
from web.operator.decisions import notice_of
from web.operator.layout import operator_page

_PAGE = template("operator_sellers.tpl")


def show(request: Request) -> Response:
    """GET /operator/sellers."""
    with snapshot():
        return operator_page(
            _PAGE,
            request,
            sellers=seller_facts(),
            failed=newest_failed_deliveries(),
            most=MAX_SHOWN,
            notice=notice_of(request),
            command=manage_command(),
        )


def read_contact(form: Mapping[str, str]) -> tuple[str, str | None]:
    """Return the name and the support address of a form, which customers see. Raise Problem 422."""
    name, support, kind = form.get("name", "").strip(), form.get("support", "").strip(), support_contact()
    errors = []
    if len(name) > MAX_NAME_CHARACTERS or not name.isprintable():
        errors.append(FieldError("name", f"must be one line of at most {MAX_NAME_CHARACTERS} characters"))
    try:
        if support and not support.isprintable():
            raise InvalidValue("has control characters")
        support = support and kind.read(support)
    except InvalidValue as wrong:
        errors.append(FieldError("support", f"{wrong}; allowed: {kind.allowed}"))
    if errors:
        raise invalid(errors)
    return name, support or None


def seller_that_sells(seller_id: str) -> Seller:
    """Return the seller. Raise Problem 404, and 409 for a removed seller."""
    seller = seller_by_id(seller_id)
    if seller is None:
        raise not_found()
    if seller.removed_at is not None:
        detail = f"the seller {seller_id} was removed; to bring it back: seller add {seller_id} --restore"
        raise Problem(HTTPStatus.CONFLICT, "seller-removed", detail)
    return seller
