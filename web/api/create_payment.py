"""Create a payment request by the API, with an idempotency key."""

from http import HTTPStatus
from urllib.parse import urlsplit

import peewee

from models.daemon_status import known_network
from models.output import outputs_at
from models.payment import PaymentRequest, payment_by_idempotency_key
from payments.status import Status
from web.api.documents import document_as_now, document_of_new
from web.api.forms import PaymentForm, read_form
from web.api.idempotency import body_digest, idempotency_key, key_reused
from web.api.new_request import build_terms, log_request, store_request
from web.api.request_limit import check_request_limits
from web.api.schemas import Payment
from web.auth.access import check_seller
from web.http.request import Request
from web.http.responses import JsonResponse, Problem, json_response


def create(request: Request) -> JsonResponse:
    """POST /api/v1/payments: 201 with the new request, or 200 with the earlier request of the same key."""
    key = idempotency_key(request)
    body = request.body()
    form = read_form(PaymentForm, body)
    if form.seller_id is not None:
        check_seller(request.seller, form.seller_id)
    digest = body_digest(body, request.seller.id) if key else None

    known = _known_request(request, key, digest)
    if known is not None:
        return _known_response(known, request)
    check_request_limits(request.settings, request.now, request.seller.id)
    terms = build_terms(form, request.seller.id, request.settings, request.now)
    # This read comes before the transaction, so that a request that is stored needs no further query.
    network = known_network()
    try:
        with request.writers.transaction():
            payment = store_request(terms, idempotency_key=key, idempotency_digest=digest)
    except peewee.IntegrityError:
        # Two calls used one key at the same time, and the database accepted only one of them.
        known = _known_request(request, key, digest)
        if known is None:
            raise
        return _known_response(known, request)
    log_request(payment)
    return _response(HTTPStatus.CREATED, document_of_new(payment, network, request.settings), request)


def _known_request(request: Request, key: str | None, digest: str | None) -> PaymentRequest | None:
    """Return the earlier request of this key.

    Raise Problem 422 if its body was different, and if it has expired without any payment.
    """
    payment = None if key is None else payment_by_idempotency_key(request.seller.id, key)
    if payment is None:
        return None
    if payment.idempotency_digest != digest:
        status = f"whose body was different and whose status is {payment.status}"
        raise key_reused(f"the request {payment.reference}, {status}", _identity(payment))
    # The outputs are read after the status, so a payment that comes between the two reads is found.
    if payment.status == Status.EXPIRED and not outputs_at(payment.address_id):
        detail = (
            f"the request {payment.reference} of this Idempotency-Key has the status {payment.status}, and "
            "no money came for it; send a new key, such as order-4711-2"
        )
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY, "idempotency-key-expired", detail, members=_identity(payment)
        )
    return payment


def _identity(payment: PaymentRequest) -> dict[str, str]:
    return {"payment_request_id": payment.reference, "payment_status": payment.status}


def _known_response(payment: PaymentRequest, request: Request) -> JsonResponse:
    return _response(HTTPStatus.OK, document_as_now(payment, request.settings), request)


def _response(status: HTTPStatus, document: Payment, request: Request) -> JsonResponse:
    prefix = urlsplit(request.settings.public_url).path
    location = f"{prefix}/api/v1/payments/{document['payment_request_id']}"
    return json_response(status, document, {"Location": location})
