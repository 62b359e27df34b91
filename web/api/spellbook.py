"""API of the Spellbook's payment processor, with the same calls and fields (docs/spec.md 6)."""

import json
from collections.abc import Mapping
from decimal import Decimal
from http import HTTPStatus
from typing import Any

import structlog

from models.payment import PaymentRequest, payment_by_reference
from models.seller import SELLER_ID, Seller, seller_by_id
from payments.money import MAX_DIGITS_BEFORE_POINT, ExponentDecimal, currency_exponent, is_currency, to_plain
from payments.status import Status
from web.api.documents import document_as_now, document_of_new
from web.api.forms import OpenPaymentForm, TransactionForm, read_form
from web.api.new_request import build_terms, log_request, store_request
from web.api.payments import queue_check
from web.api.request_limit import check_request_limits
from web.api.schemas import Payment
from web.auth.access import check_seller
from web.http.request import Environ, Request
from web.http.responses import JSON, FieldError, JsonResponse, Problem, Response, invalid, json_response

log = structlog.get_logger(__name__)

_FLOAT_NOISE = Decimal("1e-12")
_MIN_FLOAT, _MAX_WITH_EXPONENT = Decimal("1e-300"), Decimal("0.001")
_FIELDS = ("seller_id", "amount_fiat", "currency", "note")


def new_payment(request: Request) -> Response:
    """POST …NewPayment/post: create a request. Without a key, this also adds a seller that does not exist."""
    body = request.body()
    # The Spellbook ignores unknown fields and nulls.
    known = {name: body[name] for name in _FIELDS if body.get(name) is not None}
    form = read_form(OpenPaymentForm, {**known, **_rounded_amount(known)})
    is_known = _check_may_sell(request, form.seller_id)
    check_request_limits(request.settings, request.now, form.seller_id)
    terms = build_terms(form, form.seller_id, request.settings, request.now)
    with request.writers.transaction():
        if not is_known:
            _add_seller(request, form.seller_id)
        payment = store_request(terms)
    if not is_known:
        log.info("seller added", seller=form.seller_id)
    log_request(payment)
    # The answer does not name the network.
    return _response(document_of_new(payment, None, request.settings))


def payment_status(request: Request) -> Response:
    """GET …PaymentStatus/get: return the request whose id is in a JSON body or in the query."""
    has_body = request.environ.get("CONTENT_LENGTH") not in (None, "", "0")
    payment = _payment(request, request.body() if has_body else request.parameters())
    return _response(document_as_now(payment, request.settings))


def transaction_received(request: Request) -> Response:
    """POST …TransactionReceived/post: make the daemon check a transaction with bitcoind."""
    body = request.body()
    form = read_form(TransactionForm, {"txid": body["txid"]} if "txid" in body else {})
    payment = _payment(request, body)
    queue_check(request, payment, form.txid)
    return _response(document_as_now(payment, request.settings))


def fault(problem: JsonResponse, _environ: Environ) -> JsonResponse:
    """Convert a problem to an error of the Spellbook."""
    return json_response(problem.status, {"error": problem.document["detail"]}, problem.headers)


def _rounded_amount(body: Mapping[str, Any]) -> dict[str, Decimal]:
    """Return the amount without the rounding errors of floats, such as 0.30000000000000004.

    A shop's JSON library writes only small floats with an exponent, such as 5e-05 BTC. The form refuses any
    other exponent.
    """
    amount, currency = body.get("amount_fiat"), body.get("currency")
    if not (
        isinstance(amount, Decimal) and is_currency(currency) and 0 < amount < 10**MAX_DIGITS_BEFORE_POINT
    ):
        return {}
    if isinstance(amount, ExponentDecimal) and not _MIN_FLOAT <= amount < _MAX_WITH_EXPONENT:
        return {}
    rounded = round(amount, currency_exponent(str(currency)))
    return {"amount_fiat": rounded} if abs(rounded - amount) <= amount * _FLOAT_NOISE else {}


def _check_may_sell(request: Request, seller_id: str) -> bool:
    """Return whether the seller exists.

    Raise Problem 403 for another seller's key and for a removed seller, 422 for an invalid id.
    """
    if request.caller is not None:
        check_seller(request.seller, seller_id)
        return True
    seller = seller_by_id(seller_id)
    if seller is None and not SELLER_ID.fullmatch(seller_id):
        message = "must have 1 to 64 of A-Z a-z 0-9 . _ -, the first a letter or digit"
        raise invalid([FieldError("seller_id", message)])
    if seller is not None and seller.removed_at is not None:
        raise Problem(HTTPStatus.FORBIDDEN, "forbidden", f"the seller {seller_id} was removed")
    return seller is not None


def _add_seller(request: Request, seller_id: str) -> None:
    """Add a seller without a webhook and without a key.

    `seller set` and `key add` set both later. Another call may add the same seller meanwhile.
    """
    Seller.insert(
        id=seller_id,
        created_at=request.now,
    ).on_conflict_ignore().execute()


def _payment(request: Request, named: Mapping[str, Any]) -> PaymentRequest:
    """Return the request of that id, if the caller may read it. Raise Problem 404 or 422."""
    reference = named.get("payment_request_id")
    if not isinstance(reference, str):
        raise invalid(
            [FieldError("payment_request_id", "is required" if reference is None else "must be text")]
        )
    payment = payment_by_reference(reference, request.seller.id if request.caller else None)
    if payment is None:
        # The message omits the id, because input must not appear in a response.
        raise Problem(HTTPStatus.NOT_FOUND, "not-found", "Unknown payment request id")
    return payment


def _response(document: Payment) -> Response:
    values = {
        "payment_request_id": document["payment_request_id"],
        "seller_id": document["seller_id"],
        "amount_fiat": Decimal(document["amount_fiat"]),
        "currency": document["currency"],
        "price_btc": Decimal(document["price_btc"]),
        "price_timestamp": document["price_timestamp"],
        "amount_btc": document["amount_sats"],
        "note": document["note"],
        "status": _status(document),
        "address": document["address"],
        "txid": document["txid"],
        "confirmations": document["confirmations"],
    }
    return Response(HTTPStatus.OK, _encoded(values), JSON)


def _status(document: Payment) -> str:
    match document["status"]:
        case Status.NEW:
            return "Created"
        case Status.UNDERPAID:
            return "Insufficient amount received"
        case Status.RECEIVED:
            return "Excess amount received" if document["overpaid_sats"] else "Transaction received"
        case Status.CONFIRMING:
            return f"{document['confirmations']} of {document['confirmations_required']} confirmations"
    return str(document["status"]).capitalize()


def _encoded(values: Mapping[str, Any]) -> bytes:
    """Encode as JSON with exact decimal numbers. The json module has only floats."""
    parts = (f"{json.dumps(name)}:{_number_or_json(value)}" for name, value in values.items())
    return f"{{{','.join(parts)}}}".encode()


def _number_or_json(value: Any) -> str:
    return to_plain(value) if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)
