"""The routes of BTCPay's Greenfield API, with the permission that each route requires."""

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus

from payments.greenfield.permissions import (
    CREATE_INVOICES,
    MODIFY_INVOICES,
    MODIFY_WEBHOOKS,
    VIEW_INVOICES,
    VIEW_STORE,
)
from web.auth.access import allow_anonymous, check_store, no_access, require_any_key, require_key
from web.greenfield import create_invoice, deliveries, invoice_list, invoices, keys, server, stores, webhooks
from web.greenfield.not_offered import refund
from web.http.request import KeyHolder, Request
from web.http.responses import Problem, Response

Handler = Callable[..., Response]
Access = Callable[[Request], KeyHolder | None]
Route = tuple[str, str, Access, Handler]

_API = "/api/v1"
_STORE = f"{_API}/stores/<store>"
_INVOICE, _WEBHOOK = "/invoices/<invoice>", "/webhooks/<webhook>"
_DELIVERY = f"{_WEBHOOK}/deliveries/<delivery>"


def _in_store(method: str, path: str, policy: str, handler: Handler) -> Route:
    """Return the route of a call on a store. Any other store gets 403, also if it does not exist."""

    @wraps(handler)
    def serve(request: Request, store: str, **parts: str) -> Response:
        check_store(request.key_holder, store, policy)
        return handler(request, **parts)

    return method, f"{_STORE}{path}", require_key(policy), serve


def _without_store(method: str, path: str, policy: str, handler: Handler) -> Route:
    """Return the route of a call without a store. A missing object gets 403, as in BTCPay."""

    @wraps(handler)
    def serve(request: Request, **parts: str) -> Response:
        try:
            return handler(request, **parts)
        except Problem as problem:
            if problem.status == HTTPStatus.NOT_FOUND and len(parts) == 1:
                raise no_access(policy) from problem
            raise

    return method, f"{_API}{path}", require_key(policy), serve


_OF_ONE_INVOICE: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", _INVOICE, VIEW_INVOICES, invoices.show),
    ("PUT", _INVOICE, MODIFY_INVOICES, invoices.update),
    ("DELETE", _INVOICE, MODIFY_INVOICES, invoices.archive),
    ("GET", f"{_INVOICE}/payment-methods", VIEW_INVOICES, invoices.list_payment_methods),
    ("POST", f"{_INVOICE}/status", MODIFY_INVOICES, invoices.mark),
    ("POST", f"{_INVOICE}/unarchive", MODIFY_INVOICES, invoices.unarchive),
)
_OF_ONE_WEBHOOK: tuple[tuple[str, str, str, Handler], ...] = (
    ("GET", _WEBHOOK, MODIFY_WEBHOOKS, webhooks.show),
    ("PUT", _WEBHOOK, MODIFY_WEBHOOKS, webhooks.update),
    ("DELETE", _WEBHOOK, MODIFY_WEBHOOKS, webhooks.remove),
    ("GET", f"{_WEBHOOK}/deliveries", MODIFY_WEBHOOKS, deliveries.list_deliveries),
    ("GET", _DELIVERY, MODIFY_WEBHOOKS, deliveries.show),
    ("GET", f"{_DELIVERY}/request", MODIFY_WEBHOOKS, deliveries.request_body),
    ("POST", f"{_DELIVERY}/redeliver", MODIFY_WEBHOOKS, deliveries.redeliver),
)

_OWN: tuple[Route, ...] = (
    ("GET", f"{_API}/health", allow_anonymous, server.health),
    ("GET", f"{_API}/server/info", require_any_key, server.info),
    ("GET", f"{_API}/api-keys/current", require_any_key, keys.current),
    ("DELETE", f"{_API}/api-keys/current", require_any_key, keys.revoke_current),
    ("GET", f"{_API}/stores", require_key(VIEW_STORE), stores.list_stores),
    _in_store("GET", "", VIEW_STORE, stores.show),
    _in_store("GET", "/payment-methods", VIEW_STORE, stores.list_payment_methods),
    _in_store("GET", "/payment-methods/<payment_method>", VIEW_STORE, stores.show_payment_method),
    _in_store("POST", "/invoices", CREATE_INVOICES, create_invoice.create),
    _in_store("GET", "/invoices", VIEW_INVOICES, invoice_list.list_invoices),
    *(_in_store(*each) for each in _OF_ONE_INVOICE),
    _in_store("POST", "/webhooks", MODIFY_WEBHOOKS, webhooks.create),
    _in_store("GET", "/webhooks", MODIFY_WEBHOOKS, webhooks.list_webhooks),
    *(_in_store(*each) for each in _OF_ONE_WEBHOOK),
)
_ALIASES = tuple(_without_store(*each) for each in (*_OF_ONE_INVOICE, *_OF_ONE_WEBHOOK))
_REFUNDS: tuple[Route, ...] = (
    ("POST", f"{_STORE}{_INVOICE}/refund", require_any_key, refund),
    ("POST", f"{_STORE}/pull-payments", require_any_key, refund),
    ("POST", f"{_API}{_INVOICE}/refund", require_any_key, refund),
)

UNDESCRIBED = _ALIASES + _REFUNDS
"""Aliases of other calls, and calls that Nodetill always refuses. The API's description omits these."""
GREENFIELD = _OWN + UNDESCRIBED
