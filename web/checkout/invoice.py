"""The addresses of BTCPay's checkout. Shops link to them, and show them in a frame (docs/greenfield.md 6)."""

from collections.abc import Mapping
from http import HTTPStatus

from web.checkout.page import render
from web.html.templates import MODAL, framable
from web.http.request import Request
from web.http.responses import HTML, Response

_SCRIPTS = ("checkout.js", "frame.js")


def show(request: Request, reference: str) -> Response:
    """GET /i/{id}: the checkout page, which a shop may show in a frame."""
    return _page(request, reference)


def show_method(request: Request, reference: str, payment_method: str) -> Response:
    """GET /i/{id}/{payment method}: the same page. At `receipt` it does not redirect."""
    return _page(request, reference, may_return=payment_method.lower() != "receipt")


def show_by_parameter(request: Request) -> Response:
    """GET /invoice?id={id}: the same page. The modal of older plug-ins opens it. Raise Problem 404."""
    reference = _parameters(request).get("id", "")
    return _page(request, reference, id=reference)


def lead_to_operator(_call: Request, reference: str) -> Response:
    """GET /invoices/{id}: redirect to the operator's page. The admin pages of shops link to this path."""
    return Response(HTTPStatus.SEE_OTHER, b"", HTML, {"Location": f"../operator/payments/{reference}"})


def _page(request: Request, reference: str, *, may_return: bool = True, **kept: str) -> Response:
    is_modal = _parameters(request).get("view") == MODAL
    if is_modal:
        kept["view"] = MODAL
    page = render(request, reference, scripts=_SCRIPTS, kept=kept, is_modal=is_modal, may_return=may_return)
    return framable(page)


def _parameters(request: Request) -> Mapping[str, str]:
    """Return the query's parameters. BTCPay accepts their names in any case."""
    return {name.lower(): value for name, value in request.page_parameters().items()}
