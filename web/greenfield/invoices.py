"""One invoice: return it or its payments, mark it by hand, archive it, replace its metadata."""

import structlog

from models.command import request_marking
from models.db.connection import snapshot
from models.decision import DecidedBy
from models.invoice import archive_invoice, replace_metadata
from models.payment import PaymentRequest, payment_by_reference
from payments.greenfield.facts import order_id_in
from payments.greenfield.invoice import invoice_document
from payments.greenfield.marking import MarkingError, read_marking, with_late_money
from payments.greenfield.payment_methods import payment_methods
from web.greenfield.body import member, read_body
from web.greenfield.documents import facts_of_all, invoice_as_now, invoice_documents
from web.greenfield.errors import empty, missing, ok, wrong
from web.greenfield.metadata import read_metadata
from web.greenfield.query import Query
from web.http.request import Request
from web.http.responses import Response, unavailable

log = structlog.get_logger(__name__)

_ATTEMPTS = 5
"""The daemon may change a request between the read and the mark. So many changes in a row are unlikely."""


def show(request: Request, invoice: str) -> Response:
    """GET /api/v1/stores/{store}/invoices/{invoice}. Shops call it while they handle a webhook."""
    is_with_methods = Query(request).flag("includePaymentMethods")
    with snapshot():
        found = [own_invoice(request, invoice)]
        return ok(invoice_documents(found, request.settings, is_with_methods=is_with_methods)[0])


def list_payment_methods(request: Request, invoice: str) -> Response:
    """GET …/payment-methods: the only method, with the payments so far."""
    query = Query(request)
    only_accounted = query.text("onlyAccountedPayments") is None or query.flag("onlyAccountedPayments")
    with snapshot():
        [facts] = facts_of_all([own_invoice(request, invoice)])
    return ok(payment_methods(facts, only_accounted=only_accounted))


def mark(request: Request, invoice: str) -> Response:
    """POST …/status: the marked invoice. The mark is the shop's claim, and changes no amount.

    If late money covers an expired invoice, "Settled" accepts this money instead. The response already has
    the status that the daemon computes and stores shortly afterwards. Raise Problem 422 for a status that the
    invoice cannot get by hand.
    """
    wanted = member(read_body(request), "status")
    for _ in range(_ATTEMPTS):
        with snapshot():
            payment = own_invoice(request, invoice)
            [facts] = facts_of_all([payment])
        try:
            marking = read_marking(facts, wanted)
        except MarkingError as error:
            raise wrong("status", str(error)) from error
        if request_marking(payment, marking, request.now, request.writers.transaction, DecidedBy.API):
            effect = "late money accepted" if marking.mark is None else marking.mark.value
            log.info("invoice marked", payment=payment.reference, seller=payment.seller_id, mark=effect)
            if marking.accepts_late_money:
                accepted = with_late_money(facts, request.now)
                return ok(invoice_document(accepted, public_url=request.settings.public_url))
            return ok(invoice_as_now(payment, request.settings))
    raise unavailable("no-database", "the invoice is changing; nothing was marked, so try again")


def archive(request: Request, invoice: str) -> Response:
    """DELETE …/invoices/{invoice}: 200 without a body. Only lists change."""
    payment = own_invoice(request, invoice)
    if payment.archived_at is None:
        with request.writers.transaction():
            archive_invoice(payment, request.now)
        log.info("invoice archived", payment=payment.reference, seller=payment.seller_id)
    return empty()


def unarchive(request: Request, invoice: str) -> Response:
    """POST …/unarchive: the invoice. Lists show it again."""
    payment = own_invoice(request, invoice)
    if payment.archived_at is not None:
        with request.writers.transaction():
            archive_invoice(payment, None)
        log.info("invoice unarchived", payment=payment.reference, seller=payment.seller_id)
    return ok(invoice_as_now(payment, request.settings))


def update(request: Request, invoice: str) -> Response:
    """PUT …/invoices/{invoice}: the invoice with its new metadata."""
    payment = own_invoice(request, invoice)
    value = member(read_body(request), "metadata")
    if value is None:
        raise wrong("metadata", "is required; an empty object removes all metadata")
    metadata = read_metadata(value)
    is_of_this_api = payment.checkout is not None
    with request.writers.transaction():
        replace_metadata(payment, metadata, order_id_in(metadata) if is_of_this_api else payment.order_id)
    log.info("metadata replaced", payment=payment.reference, seller=payment.seller_id)
    return ok(invoice_as_now(payment, request.settings))


def own_invoice(request: Request, reference: str) -> PaymentRequest:
    """Return the caller's request with this id. Raise Problem 404."""
    payment = payment_by_reference(reference, request.seller.id)
    if payment is None:
        raise missing("invoice", "this store has no invoice with that id")
    return payment
