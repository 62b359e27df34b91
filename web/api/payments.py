"""Operations on one payment request: read it, check a transaction, accept late money, cancel it."""

from http import HTTPStatus

import structlog

from models.command import (
    NotCancellable,
    NotLate,
    is_cancellation_pending,
    is_transaction_pending,
    request_acceptance,
    request_cancellation,
    request_check,
)
from models.db.connection import snapshot
from models.decision import DecidedBy
from models.payment import PaymentRequest, payment_by_reference
from web.api.command_limit import check_command_limit
from web.api.documents import document_as_now, document_of
from web.api.forms import TransactionForm, read_form
from web.http.etag import with_etag
from web.http.request import Request
from web.http.responses import JsonResponse, Problem, json_response, not_found

log = structlog.get_logger(__name__)


def show(request: Request, reference: str) -> JsonResponse:
    """GET /api/v1/payments/{id}: the request, or 304 if the caller already has it."""
    with snapshot():
        document = document_of(own_payment(request, reference), request.settings)
    return with_etag(request, document)


def look_at_transaction(request: Request, reference: str) -> JsonResponse:
    """POST /api/v1/payments/{id}/transactions: 202. The daemon itself checks the transaction."""
    form = read_form(TransactionForm, request.body())
    payment = own_payment(request, reference)
    queue_check(request, payment, form.txid)
    return json_response(HTTPStatus.ACCEPTED, document_as_now(payment, request.settings))


def queue_check(request: Request, payment: PaymentRequest, txid: str) -> None:
    """Store a command to check a transaction, unless one is pending. Raise Problem 429."""
    if is_transaction_pending(payment, txid):
        return
    check_command_limit(payment.seller_id)
    if request_check(payment, txid, request.now, request.writers.transaction):
        log.info("transaction hinted at", payment=payment.reference, txid=txid)


def accept(request: Request, reference: str) -> JsonResponse:
    """POST /api/v1/payments/{id}/accept: count late money. Raise Problem 409 if the request is not late.

    The response has the present status. The daemon computes the new status shortly afterwards.
    """
    payment = own_payment(request, reference)
    queue_acceptance(request, payment, DecidedBy.API)
    return json_response(HTTPStatus.OK, document_as_now(payment, request.settings))


def queue_acceptance(request: Request, payment: PaymentRequest, by: DecidedBy) -> None:
    """Store a command to count late money, unless one is pending. Raise Problem 409."""
    try:
        is_new = request_acceptance(payment, request.now, request.writers.transaction, by)
    except NotLate as error:
        detail = f"the request is {payment.status} and not late, so there is no late money to accept"
        raise Problem(HTTPStatus.CONFLICT, "not-late", detail) from error
    if is_new:
        name = "operator" if by is DecidedBy.PAGE else "seller"
        log.info("acceptance asked for", payment=payment.reference, seller=payment.seller_id, by=name)


def cancel(request: Request, reference: str) -> JsonResponse:
    """POST /api/v1/payments/{id}/cancel: 202, or 200 if it is cancelled. The daemon cancels the request.

    Raise Problem 409 if money has come or the request has expired, and 429.
    """
    payment = own_payment(request, reference)
    queue_cancellation(request, payment, by="seller")
    status = HTTPStatus.OK if payment.is_cancelled else HTTPStatus.ACCEPTED
    return json_response(status, document_as_now(payment, request.settings))


def queue_cancellation(request: Request, payment: PaymentRequest, by: str) -> None:
    """Store a command to cancel a request, unless it is cancelled or one is pending.

    Raise Problem 409 or 429.
    """
    if not payment.is_cancelled and not is_cancellation_pending(payment):
        check_command_limit(payment.seller_id)
    try:
        is_new = request_cancellation(payment, request.now, request.writers.transaction)
    except NotCancellable as error:
        detail = f"the request cannot be cancelled, because {error}"
        raise Problem(HTTPStatus.CONFLICT, "not-cancellable", detail) from error
    if is_new:
        log.info("cancellation asked for", payment=payment.reference, seller=payment.seller_id, by=by)


def own_payment(request: Request, reference: str) -> PaymentRequest:
    """Return the caller's request of that id. Raise Problem 404."""
    payment = payment_by_reference(reference, request.seller.id)
    if payment is None:
        raise not_found()
    return payment
