"""One payment request: read it, have a transaction looked at, accept late money."""

from http import HTTPStatus

import structlog

from models.command import NotLate, is_transaction_pending, request_acceptance, request_check
from models.db.connection import snapshot
from models.payment import PaymentRequest, payment_by_reference
from web.api.command_limit import check_room
from web.api.documents import document_as_now, document_of
from web.api.forms import REFERENCE, TransactionForm, read_form
from web.http.etag import revalidated
from web.http.request import Request
from web.http.responses import Answer, Problem, not_found

log = structlog.get_logger(__name__)


def show(call: Request, reference: str) -> Answer:
    """GET /api/v1/payments/{id}: the request, or 304 where the caller has it as it is."""
    with snapshot():
        document = document_of(own_payment(call, reference), call.settings)
    return revalidated(call, document)


def look_at_transaction(call: Request, reference: str) -> Answer:
    """POST /api/v1/payments/{id}/transactions: 202. It tells the daemon where to look and nothing else."""
    form = read_form(TransactionForm, call.body())
    payment = own_payment(call, reference)
    leave_hint(call, payment, form.txid)
    return Answer(HTTPStatus.ACCEPTED, document_as_now(payment, call.settings))


def leave_hint(call: Request, payment: PaymentRequest, txid: str) -> None:
    """Ask the daemon to look at a transaction, once. Raises Problem 429."""
    if is_transaction_pending(payment, txid):
        return
    check_room(payment.seller_id)
    if request_check(payment, txid, call.now, call.writers.transaction):
        log.info("transaction hinted at", payment=payment.reference, txid=txid)


def accept(call: Request, reference: str) -> Answer:
    """POST /api/v1/payments/{id}/accept: count late money. 409 where the request is not late.

    The answer is the request as it stands: the daemon works out its status anew a moment later.
    """
    payment = own_payment(call, reference)
    leave_acceptance(call, payment, by="seller")
    return Answer(HTTPStatus.OK, document_as_now(payment, call.settings))


def leave_acceptance(call: Request, payment: PaymentRequest, by: str) -> None:
    """Ask the daemon to count late money, once. Raises Problem 409."""
    try:
        is_new = request_acceptance(payment, call.now, call.writers.transaction)
    except NotLate as error:
        detail = f"the request is {payment.status} and not late: there is no late payment to accept"
        raise Problem(HTTPStatus.CONFLICT, "not-late", detail) from error
    if is_new:
        log.info("acceptance asked for", payment=payment.reference, seller=payment.seller_id, by=by)


def own_payment(call: Request, reference: str) -> PaymentRequest:
    """The caller's request of that name. Raises Problem 404."""
    payment = payment_by_reference(reference, call.seller.id) if REFERENCE.fullmatch(reference) else None
    if payment is None:
        raise not_found()
    return payment
