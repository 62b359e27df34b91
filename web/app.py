"""The web application: its routes, the access that each route requires, and its error responses."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType

import structlog
from bottle import Bottle

from config import Settings
from models.db.connection import TRANSIENT_ERRORS
from payments.greenfield.permissions import CREATE_INVOICES, MODIFY_INVOICES, VIEW_INVOICES
from web.api import create_payment, events, links, payment_list, payments, rates, spellbook
from web.auth.access import (
    allow_anonymous,
    browser_session,
    browser_session_form,
    connecting_operator,
    connecting_operator_form,
    first_page,
    operator,
    operator_form,
    require_key,
    require_key_or_local,
    require_local_or_operator,
)
from web.checkout import invoice
from web.checkout import page as checkout
from web.description import docs_page, openapi
from web.greenfield import errors as greenfield_errors
from web.greenfield.paths import is_greenfield, spelled
from web.greenfield.routes import GREENFIELD
from web.html import static_files
from web.html.templates import framed_problem_page, problem_page, unknown_path_page
from web.http.asgi import RAW_PATH
from web.http.database import Outage, Writers, connection
from web.http.request import BrowserSession, Environ, KeyHolder, Request
from web.http.responses import JsonResponse, Problem, Response, unavailable
from web.http.wsgi import (
    Callback,
    Converter,
    Reader,
    add_route,
    bottle_app,
    check_spelling,
    internal_error,
)
from web.links import page as link_page
from web.links import pay as link_payment
from web.monitoring import health, metrics
from web.operator import (
    connect,
    csv_export,
    decisions,
    front,
    keys,
    login,
    new_link,
    new_request,
    revenue,
    seller,
    sellers,
    till,
    webhooks,
)
from web.operator import links as operator_links
from web.operator import payment as operator_payment
from web.operator.layout import operator_problem_page

log = structlog.get_logger(__name__)

Clock = Callable[[], datetime]
Handler = Callable[..., Response]
Access = Callable[[Request], KeyHolder | BrowserSession | None]
Route = tuple[str, str, Access, Handler]
"""A method, a path with its variables, the required access, and the handler."""

_PERMISSIONS = (CREATE_INVOICES, VIEW_INVOICES, MODIFY_INVOICES)
_MAY_CREATE, _MAY_VIEW, _MAY_MODIFY = map(require_key, _PERMISSIONS)
_CREATE_OR_LOCAL, _VIEW_OR_LOCAL, _MODIFY_OR_LOCAL = map(require_key_or_local, _PERMISSIONS)

ROUTES: tuple[Route, ...] = (
    ("POST", "/api/v1/payments", _MAY_CREATE, create_payment.create),
    ("GET", "/api/v1/payments", _MAY_VIEW, payment_list.list_payments),
    ("GET", "/api/v1/payments/<reference>", _MAY_VIEW, payments.show),
    ("POST", "/api/v1/payments/<reference>/transactions", _MAY_MODIFY, payments.look_at_transaction),
    ("POST", "/api/v1/payments/<reference>/accept", _MAY_MODIFY, payments.accept),
    ("POST", "/api/v1/payments/<reference>/cancel", _MAY_MODIFY, payments.cancel),
    ("GET", "/api/v1/payments/<reference>/events", _MAY_VIEW, events.list_events),
    (
        "POST",
        "/api/v1/payments/<reference>/events/<event_reference>/redeliver",
        _MAY_MODIFY,
        events.redeliver,
    ),
    ("POST", "/api/v1/links", _MAY_CREATE, links.create),
    ("GET", "/api/v1/links", _MAY_VIEW, links.list_links),
    ("GET", "/api/v1/links/<reference>", _MAY_VIEW, links.show),
    ("POST", "/api/v1/links/<reference>/close", _MAY_MODIFY, links.close),
    ("GET", "/api/v1/rates", _MAY_VIEW, rates.list_rates),
    ("GET", "/pay/<reference>", allow_anonymous, checkout.show),
    ("GET", "/pay/<reference>/status", allow_anonymous, checkout.status),
    ("GET", "/pay/<reference>/qr.svg", allow_anonymous, checkout.qr),
    ("GET", "/l/<reference>", allow_anonymous, link_page.show),
    ("GET", "/l/<reference>/qr.svg", allow_anonymous, link_page.qr),
    ("GET", "/l/<reference>/pay", allow_anonymous, link_payment.back),
    ("POST", "/l/<reference>/pay", allow_anonymous, link_payment.pay),
    ("GET", "/static/<name>", allow_anonymous, static_files.serve),
    ("GET", "/robots.txt", allow_anonymous, static_files.robots),
    ("GET", "/favicon.ico", allow_anonymous, static_files.favicon),
    ("GET", "/health", allow_anonymous, health.health),
    ("GET", "/metrics", require_local_or_operator, metrics.metrics),
    ("GET", "/", first_page, front.show),
    ("GET", "/openapi.json", allow_anonymous, openapi.show),
    ("GET", "/docs", allow_anonymous, docs_page.show),
)

BTCPAY: tuple[Route, ...] = (
    ("GET", "/i/<reference>", allow_anonymous, invoice.show),
    ("GET", "/i/<reference>/<payment_method>", allow_anonymous, invoice.show_method),
    ("GET", "/invoice", allow_anonymous, invoice.show_by_parameter),
    ("GET", "/invoices/<reference>", allow_anonymous, invoice.lead_to_operator),
    ("GET", "/api-keys/authorize", connecting_operator, connect.show),
    ("POST", "/api-keys/authorize", connecting_operator_form, connect.approve),
    ("GET", "/modal/btcpay.js", allow_anonymous, static_files.modal),
)
"""Routes of BTCPay's pages, which its plug-ins link to. They serve people, as the operator's do."""

_PAYMENT = "/operator/payments/<reference>"
_SELLER = "/operator/sellers/<seller_id>"
_WEBHOOK = f"{_SELLER}/webhooks/<webhook_id>"
OPERATOR: tuple[Route, ...] = (
    ("GET", "/operator", operator, front.lead),
    ("GET", "/operator/login", browser_session, login.show),
    ("POST", "/operator/login", browser_session_form, login.enter),
    ("POST", "/operator/logout", operator_form, login.leave),
    ("POST", "/operator/logout/everywhere", operator_form, login.leave_everywhere),
    ("GET", "/operator/new", operator, new_request.show),
    ("POST", "/operator/new", operator_form, new_request.create),
    ("GET", "/operator/till", operator, till.show),
    ("POST", "/operator/till", operator_form, till.pay),
    ("GET", "/operator/till/<reference>", operator, till.sale),
    ("GET", "/operator/links", operator, operator_links.show_all),
    ("GET", "/operator/links/new", operator, new_link.show),
    ("POST", "/operator/links/new", operator_form, new_link.create),
    ("GET", "/operator/links/<reference>", operator, operator_links.show),
    ("POST", "/operator/links/<reference>/close", operator_form, operator_links.close),
    ("GET", "/operator/money", operator, revenue.show),
    ("GET", "/operator/money.csv", operator, revenue.export),
    ("GET", "/operator/sellers", operator, sellers.show),
    ("GET", _SELLER, operator, seller.show),
    ("POST", _SELLER, operator_form, seller.change),
    ("POST", f"{_SELLER}/keys", operator_form, keys.create),
    ("POST", f"{_SELLER}/keys/<key_id>/revoke", operator_form, keys.stop),
    ("POST", f"{_SELLER}/webhooks", operator_form, webhooks.create),
    ("POST", f"{_WEBHOOK}/test", operator_form, webhooks.test),
    ("POST", f"{_WEBHOOK}/switch", operator_form, webhooks.switch),
    ("POST", f"{_WEBHOOK}/remove", operator_form, webhooks.remove),
    ("GET", "/operator/payments.csv", operator, csv_export.show),
    ("POST", "/operator/settle", operator_form, decisions.mark_all_settled),
    ("POST", "/operator/undo", operator_form, decisions.undo),
    ("GET", _PAYMENT, operator, operator_payment.show),
    ("POST", f"{_PAYMENT}/accept", operator_form, decisions.accept),
    ("POST", f"{_PAYMENT}/cancel", operator_form, decisions.cancel),
    ("POST", f"{_PAYMENT}/settle", operator_form, decisions.mark_settled),
    (
        "POST",
        f"{_PAYMENT}/events/<event_reference>/<channel>",
        operator_form,
        decisions.redeliver,
    ),
)
"""Routes of the operator's pages. They serve people, so the API's description omits them."""

_TRIGGERS = "/spellbook/triggers/PaymentProcessor"
TRIGGERS: tuple[Route, ...] = (
    ("POST", f"{_TRIGGERS}NewPayment/post", _CREATE_OR_LOCAL, spellbook.new_payment),
    ("GET", f"{_TRIGGERS}PaymentStatus/get", _VIEW_OR_LOCAL, spellbook.payment_status),
    ("POST", f"{_TRIGGERS}TransactionReceived/post", _MODIFY_OR_LOCAL, spellbook.transaction_received),
)
"""Routes that exist only with SPELLBOOK_TRIGGERS on (docs/spec.md 6)."""

_INVOICES = (invoice.show, invoice.show_method, invoice.show_by_parameter)

# Routes that convert a problem: to a page for a browser, or to an error in the form of the shop's API.
_CONVERTERS: Mapping[Handler, Converter] = MappingProxyType(
    {
        checkout.show: problem_page,
        **dict.fromkeys(_INVOICES, framed_problem_page),
        **dict.fromkeys((link_page.show, link_payment.back, link_payment.pay), link_page.link_problem_page),
        **dict.fromkeys((handler for *_, handler in TRIGGERS), spellbook.fault),
        **dict.fromkeys((connect.show, connect.approve, invoice.lead_to_operator), operator_problem_page),
        **dict.fromkeys((handler for *_, handler in GREENFIELD), greenfield_errors.in_greenfield_form),
        **dict.fromkeys((front.show, *(handler for *_, handler in OPERATOR)), operator_problem_page),
    }
)

_NO_DATABASE = unavailable(
    "no-database", "the database is not available at the moment; nothing was used up, try again"
)


def utc_now() -> datetime:
    return datetime.now(UTC)


def create_app(settings: Settings, clock: Clock = utc_now) -> Bottle:
    """Return the WSGI application. The database must be open. Two applications share no state."""
    request_handler = RequestHandler(settings, clock)
    app = bottle_app(_misdirected, spelled)
    triggers_if_on = TRIGGERS if settings.spellbook_triggers else ()
    for method, path, access, handler in ROUTES + GREENFIELD + BTCPAY + OPERATOR + triggers_if_on:
        add_route(app, method, path, request_handler.callback(access, handler), _reader_of(path, handler))
    return app


def _misdirected(problem: JsonResponse, environ: Environ) -> Response:
    """Return the problem of a path or method without a route, in the form for its reader."""
    is_of_btcpay = is_greenfield(environ[RAW_PATH])
    return (greenfield_errors.misdirected if is_of_btcpay else unknown_path_page)(problem, environ)


def _reader_of(path: str, handler: Handler) -> Reader:
    if handler in (checkout.show, link_page.show, docs_page.show):
        return Reader.CUSTOMER
    if any(handler is shown for *_, shown in BTCPAY if shown is not static_files.modal):
        return Reader.SHOP
    is_operator = path == "/" or path.startswith("/operator")
    return Reader.OPERATOR if is_operator else Reader.PROGRAM


@dataclass(frozen=True, slots=True)
class RequestHandler:
    """The common path of all calls: check access, run the handler, and convert each error to a response."""

    settings: Settings
    clock: Clock
    writers: Writers = field(default_factory=Writers)
    outage: Outage = field(default_factory=Outage)

    def callback(self, access: Access, handler: Handler) -> Callback:
        """Return the function that responds to the calls of a route."""
        convert = _CONVERTERS.get(handler)

        def serve(environ: Environ, parts: dict[str, str]) -> Response:
            response = self._respond(access, handler, environ, parts)
            if convert is None or not isinstance(response, JsonResponse):
                return response
            return convert(response, environ)

        return serve

    def _respond(self, access: Access, handler: Handler, environ: Environ, parts: dict[str, str]) -> Response:
        """Return the handler's response, or the problem that prevented it."""
        is_write = environ["REQUEST_METHOD"] not in ("GET", "HEAD")
        try:
            check_spelling(environ)
            with connection():
                request = Request(self.settings, self.clock(), environ, self.writers)
                response = handler(replace(request, caller=access(request)), **parts)
            self.outage.end(is_write=is_write)
        except Problem as problem:
            return problem.response
        except TRANSIENT_ERRORS as error:
            self.outage.begin(error, is_write=is_write)
            if handler is health.health:
                return health.unreadable(environ, self.settings)
            return _NO_DATABASE.response
        except Exception:  # The last line of defence, because a client must never receive a traceback.
            log.exception("call failed", method=environ["REQUEST_METHOD"], path=environ["PATH_INFO"])
            return internal_error().response
        return response
