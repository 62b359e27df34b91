"""Stores, which are the sellers, and the payment methods that they accept."""

from collections.abc import Mapping
from typing import Any

from models.rate import quotes
from payments.greenfield.checkout_options import is_on_chain
from payments.greenfield.payment_methods import ON_CHAIN
from payments.greenfield.permissions import MODIFY_STORE
from payments.greenfield.speed import policy_of
from web.auth.access import check_permission
from web.greenfield.errors import missing, ok
from web.greenfield.query import Query
from web.http.request import Request
from web.http.responses import Response

_USUAL_CURRENCIES = ("USD", "EUR")
_MAX_DISPLAYED_SECONDS = 300
_REFUND_DAYS = 30
_RECEIPT: Mapping[str, Any] = {"enabled": True, "showQR": None, "showPayments": None}


def list_stores(request: Request) -> Response:
    """GET /api/v1/stores: the key's store, as a list of one."""
    return ok([_document(request)])


def show(request: Request) -> Response:
    """GET /api/v1/stores/{store}."""
    return ok(_document(request))


def list_payment_methods(request: Request) -> Response:
    """GET /api/v1/stores/{store}/payment-methods: on-chain bitcoin alone.

    Raise Problem 403 for `includeConfig` without the permission to change the store.
    """
    query = Query(request)
    query.flag("onlyEnabled")
    is_with_config = query.flag("includeConfig")
    if is_with_config:
        check_permission(request.key_holder, MODIFY_STORE)
    return ok([_method(is_with_config=is_with_config)])


def show_payment_method(_call: Request, payment_method: str) -> Response:
    """GET /api/v1/stores/{store}/payment-methods/{payment_method}.

    Before its version 2, BTCPay had a path for each kind of method. PrestaShop's old plug-in still calls
    them. Raise Problem 404.
    """
    name = payment_method.lower().replace("_", "-")
    if name == "onchain":
        return ok([{"enabled": True, "default": True, "cryptoCode": "BTC", "paymentMethod": "BTC"}])
    if name in ("lightningnetwork", "lnurlpay"):
        return ok([])
    if not is_on_chain(name):
        raise missing("paymentmethod", f"Nodetill has no such payment method; it has {ON_CHAIN}")
    return ok(_method(is_with_config=False))


def default_currency() -> str:
    """Return the currency for an invoice that names none: the first usual currency with a price."""
    priced = [quote.currency for quote in quotes()]
    usual = (currency for currency in _USUAL_CURRENCIES if currency in priced)
    return next(usual, priced[0] if priced else "BTC")


def _method(*, is_with_config: bool) -> dict[str, Any]:
    # BTCPay returns the wallet's configuration. No API key of a seller may read it.
    return {"paymentMethodId": ON_CHAIN, "enabled": True, **({"config": {}} if is_with_config else {})}


def _document(request: Request) -> dict[str, Any]:
    settings, seller = request.settings, request.seller
    return {
        "id": seller.id,
        "name": seller.name or seller.id,
        "website": None,
        "defaultCurrency": default_currency(),
        "invoiceExpiration": settings.payment_expiry,
        "displayExpirationTimer": min(settings.payment_expiry, _MAX_DISPLAYED_SECONDS),
        "monitoringExpiration": settings.monitoring_period,
        "refundBOLT11Expiration": _REFUND_DAYS,
        "speedPolicy": policy_of(settings.confirmations_for(None)).value,
        "paymentTolerance": float(settings.underpayment_tolerance),
        "networkFeeMode": "Never",
        "receipt": dict(_RECEIPT),
        "defaultLang": "en",
        "archived": False,
        "anyoneCanCreateInvoice": False,
        "redirectAutomatically": False,
        "payJoinEnabled": False,
        "showRecommendedFee": False,
        "recommendedFeeBlockTarget": 1,
        "lazyPaymentMethods": False,
        "defaultPaymentMethod": ON_CHAIN,
    }
