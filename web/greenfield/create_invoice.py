"""Create an invoice, which is a payment request, by the same functions as Nodetill's native API."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from models.address import Address
from models.db.connection import get_row
from models.invoice import lock_order, recent_invoices
from models.payment import ANY_HEIGHT, PaymentRequest
from models.webhook import BTCPAY, webhooks_for
from payments.greenfield.amounts import read_amount, read_currency
from payments.greenfield.checkout_options import (
    OptionsError,
    confirmations_asked,
    lifetime_seconds,
    monitoring_seconds,
    read_options,
    tolerance_percent,
)
from payments.greenfield.facts import order_id_in
from payments.money import AmountError, to_plain
from web.api.new_request import build_terms, log_request, store_request
from web.api.request_limit import check_request_limits
from web.greenfield.body import read_body
from web.greenfield.documents import invoice_as_now
from web.greenfield.errors import ok
from web.greenfield.forms import respelled
from web.greenfield.metadata import read_metadata
from web.greenfield.stores import default_currency
from web.http.request import Request
from web.http.responses import FieldError, Problem, Response, invalid

REPEAT = timedelta(seconds=10)
"""An equal order within this time is a double click, or is repeated after a lost response."""

_MEMBERS = "amount currency metadata checkout receipt additionalSearchTerms type".split()
_CHECKOUT_MEMBERS = (
    "speedPolicy paymentMethods defaultPaymentMethod expirationMinutes monitoringMinutes paymentTolerance "
    "redirectURL redirectAutomatically defaultLanguage lazyPaymentMethods requiresRefundEmail"
).split()
_RECEIPT_MEMBERS = "enabled showQR showPayments".split()


@dataclass(frozen=True, slots=True)
class InvoiceOrder:
    """The order of a shop, with the fields that `build_terms` reads. `options` comes from `read_options`."""

    amount_fiat: Decimal
    currency: str
    metadata: Mapping[str, Any]
    options: Mapping[str, Any]
    confirmations: int | None
    expires_in: float | None
    note: str | None = None
    label: str | None = None
    redirect_url: str | None = None

    @property
    def order_id(self) -> str | None:
        return order_id_in(self.metadata)

    @property
    def checkout_id(self) -> str | None:
        """The order id if the order has a page to which a customer returns, or None."""
        return self.order_id if "redirectURL" in self.options else None


def create(request: Request) -> Response:
    """POST /api/v1/stores/{store}/invoices: the new invoice, or the invoice of an equal recent order."""
    order = _read_order(read_body(request), request)
    repeated = _repeated(order, request)
    if repeated is not None:
        return ok(invoice_as_now(repeated, request.settings))
    check_request_limits(request.settings, request.now, request.seller.id)
    terms = build_terms(
        order,
        request.seller.id,
        request.settings,
        request.now,
        monitoring_seconds=monitoring_seconds(order.options, request.settings.monitoring_period),
        tolerance_percent=tolerance_percent(order.options),
    )
    # The daemon reports InvoiceCreated when it first assesses the request.
    reassess_at_height = ANY_HEIGHT if webhooks_for([request.seller.id], BTCPAY) else None
    with request.writers.transaction():
        if order.checkout_id is not None:
            lock_order(request.seller.id, order.checkout_id)
            repeated = _repeated(order, request)
        payment = repeated or store_request(
            terms, checkout=order.options, reassess_at_height=reassess_at_height
        )
    if repeated is None:
        log_request(payment)
    return ok(invoice_as_now(payment, request.settings))


def _read_order(body: dict[str, Any], request: Request) -> InvoiceOrder:
    """Return the order in a body. Raise Problem 422 with each wrong member."""
    body = respelled(body, _MEMBERS)
    errors: list[FieldError] = []
    currency, amount = "BTC", Decimal(1)
    try:
        given = body.get("currency")
        currency = default_currency() if given is None or given == "" else read_currency(given)
    except AmountError as error:
        errors.append(FieldError("currency", str(error)))
    try:
        amount = read_amount(body.get("amount"), currency)
    except AmountError as error:
        errors.append(FieldError("amount", str(error)))
    metadata: dict[str, Any] = {}
    try:
        metadata = read_metadata(body.get("metadata"))
    except Problem as problem:
        errors.extend(problem.errors)
    options: Mapping[str, Any] = {}
    try:
        options = read_options(
            {
                **body,
                "checkout": respelled(body.get("checkout"), _CHECKOUT_MEMBERS),
                "receipt": respelled(body.get("receipt"), _RECEIPT_MEMBERS),
            }
        )
    except OptionsError as error:
        errors.extend(FieldError(path, sentence) for path, sentence in error.faults)
    if errors:
        raise invalid(errors)
    lifetime = lifetime_seconds(options, request.settings.payment_expiry)
    return InvoiceOrder(amount, currency, metadata, options, confirmations_asked(options), lifetime)


def _repeated(order: InvoiceOrder, request: Request) -> PaymentRequest | None:
    """Return the invoice of an equal order within REPEAT, to which no money has come, or None.

    The metadata must be equal, too, because some shops store a number of the attempt there and compare it
    later. An order without a customer's page comes from a program, which gets a new invoice for each call.
    """
    if order.checkout_id is None:
        return None
    for found in recent_invoices(request.seller.id, order.checkout_id, request.now, REPEAT):
        is_equal = (
            found.amount_fiat == to_plain(order.amount_fiat)
            and found.currency == order.currency
            and found.metadata == order.metadata
            and found.checkout == order.options
        )
        if is_equal:
            found.address = get_row(Address, found.address_id)
            return found
    return None
