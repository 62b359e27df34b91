"""One payment request: read it, have a transaction looked at, accept late money."""

from http import HTTPStatus

import structlog

from models.command import add_acceptance, add_transaction_hint, is_acceptance_pending, is_transaction_pending
from models.db.connection import snapshot
from models.payment import PaymentRequest, payment_by_reference
from web.api.command_limit import check_room
from web.api.documents import document_as_now, document_of
from web.api.forms import REFERENCE, TransactionForm, read_form
from web.http.answer import Answer, Problem, not_found
from web.http.etag import revalidated
from web.http.request import Call

log = structlog.get_logger(__name__)


def show(call: Call, reference: str) -> Answer:
    """GET /api/v1/payments/{id}: the request, or 304 where the caller has it as it is."""
    with snapshot():
        document = document_of(own_payment(call, reference), call.settings)
    return revalidated(call, document)


def look_at_transaction(call: Call, reference: str) -> Answer:
    """POST /api/v1/payments/{id}/transactions: 202. It tells the daemon where to look and nothing else."""
    form = read_form(TransactionForm, call.body())
    payment = own_payment(call, reference)
    leave_hint(call, payment, form.txid)
    return Answer(HTTPStatus.ACCEPTED, document_as_now(payment, call.settings))


def leave_hint(call: Call, payment: PaymentRequest, txid: str) -> None:
    """Tell the daemon where to look; once, however often it is told. Raises Problem 429."""
    with call.writers.transaction():
        is_new = not is_transaction_pending(payment, txid)
        if is_new:
            check_room(payment.seller_id)
            add_transaction_hint(payment, txid, call.now)
    if is_new:
        log.info("transaction hinted at", payment=payment.reference, txid=txid)


def accept(call: Call, reference: str) -> Answer:
    """POST /api/v1/payments/{id}/accept: count late money. 409 where the request is not late.

    The answer is the request as it stands: the daemon works out its status anew a moment later.
    """
    payment = own_payment(call, reference)
    leave_acceptance(call, payment, by="seller")
    return Answer(HTTPStatus.OK, document_as_now(payment, call.settings))


def leave_acceptance(call: Call, payment: PaymentRequest, by: str) -> None:
    """Tell the daemon to count late money; once, however often it is told. Raises Problem 409."""
    with call.writers.transaction():
        is_new = payment.late_accepted_at is None and not is_acceptance_pending(payment)
        if is_new:
            _check_late(payment)
            add_acceptance(payment, call.now)
    if is_new:
        log.info("acceptance asked for", payment=payment.reference, seller=payment.seller_id, by=by)


def own_payment(call: Call, reference: str) -> PaymentRequest:
    """The caller's request of that name. Raises Problem 404."""
    payment = payment_by_reference(reference, call.seller.id) if REFERENCE.fullmatch(reference) else None
    if payment is None:
        raise not_found()
    return payment


def _check_late(payment: PaymentRequest) -> None:
    if not payment.is_late:
        detail = f"the request is {payment.status} and not late: there is no late payment to accept"
        raise Problem(HTTPStatus.CONFLICT, "not-late", detail)
