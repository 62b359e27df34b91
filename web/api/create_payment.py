"""Create a payment request: check it, price it, claim an address, and store it with its idempotency key."""

import hashlib
import secrets
import string
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import peewee
import structlog

from models.address import has_free_address
from models.daemon_status import known_network
from models.db.connection import new_row
from models.output import outputs_at
from models.payment import PaymentRequest, insert_with_address, payment_by_idempotency_key
from payments.money import DUST_LIMIT_SATS, MAX_MONEY_SATS, fiat_to_sats, format_btc, to_plain, tolerance_sats
from payments.price import Price
from payments.status import Status
from web.api.documents import document_as_now, document_of_new
from web.api.forms import PaymentForm, read_form
from web.api.pricing import price_now
from web.api.request_limit import check_request_limits
from web.api.schemas import Payment
from web.auth.access import check_seller
from web.http import strict_json
from web.http.request import Request
from web.http.responses import Answer, FieldError, Problem, invalid, malformed, unavailable

log = structlog.get_logger(__name__)

_BASE62 = string.ascii_letters + string.digits
_PAIRS = [first + second for first in _BASE62 for second in _BASE62]
_REFERENCE_CHARACTERS = 22  # 131 random bits
_KEY_CHARACTERS = 255


def create(call: Request) -> Answer:
    """POST /api/v1/payments: 201 with the new request, or 200 with the earlier request of the same key."""
    key = _idempotency_key(call)
    body = call.body()
    form = read_form(PaymentForm, body)
    if form.seller_id is not None:
        check_seller(call.seller, form.seller_id)
    digest = _digest(body, call.seller.id) if key else None

    known = _known_request(call, key, digest)
    if known is not None:
        return _known_answer(known, call)
    check_request_limits(call, call.seller.id)
    terms = agreed_terms(form, call.seller.id, call)
    terms |= {"idempotency_key": key, "idempotency_digest": digest}
    # This read comes before the transaction, so that a request that is stored needs no further query.
    network = known_network()
    try:
        with call.writers.transaction():
            payment = store_request(terms)
    except peewee.IntegrityError:
        # Two calls used one key at the same time, and the database accepted only one of them.
        known = _known_request(call, key, digest)
        if known is None:
            raise
        return _known_answer(known, call)
    log_request(payment)
    return _answer(HTTPStatus.CREATED, document_of_new(payment, network, call.settings), call)


def agreed_terms(form: PaymentForm, seller_id: str, call: Request) -> dict[str, Any]:
    """Return the terms of a new request, as columns. Raise Problem 422 or 503."""
    settings = call.settings
    price = price_now(form.currency, settings, call.now)
    amount_sats = _amount_sats(form.amount_fiat, price)
    if not has_free_address(seller_id):
        raise _no_address()
    needed = settings.confirmations if form.confirmations is None else form.confirmations
    lifetime = settings.payment_expiry if form.expires_in is None else form.expires_in
    expires_at = call.now + timedelta(seconds=lifetime)
    monitored_until = expires_at + timedelta(seconds=settings.monitoring_period)
    return {
        "seller": seller_id,
        "amount_fiat": to_plain(form.amount_fiat),
        "currency": form.currency,
        "price": to_plain(price.price),
        "price_at": price.fetched_at,
        "price_source": ", ".join(price.sources),
        "amount_sats": amount_sats,
        "due_sats": amount_sats,
        "tolerance_sats": tolerance_sats(amount_sats, settings.underpayment_tolerance),
        "confirmations_required": needed,
        "created_at": call.now,
        "expires_at": expires_at,
        "monitored_until": monitored_until,
        "late_accepted_until": monitored_until if settings.late_payments == "accept" else None,
        "reassess_at": expires_at,
        "note": form.note or "",
        "label": form.label,
        "redirect_url": form.redirect_url,
        "metadata": form.metadata or {},
    }


def store_request(terms: Mapping[str, Any]) -> PaymentRequest:
    """Store the request with an address of its own. Raise Problem 503 if the pool is empty."""
    payment = new_row(PaymentRequest, reference=_reference(), **terms)
    if not insert_with_address(payment):
        raise _no_address()
    return payment


def log_request(payment: PaymentRequest) -> None:
    """Log a new request. Call this after its transaction is committed."""
    log.info(
        "payment requested",
        payment=payment.reference,
        seller=payment.seller_id,
        amount=f"{payment.amount_fiat} {payment.currency}",
        amount_sats=payment.amount_sats,
        address=payment.address.address,
    )


def _idempotency_key(call: Request) -> str | None:
    key = call.header("Idempotency-Key")
    is_good = key is None or (0 < len(key) <= _KEY_CHARACTERS and key.isascii() and key.isprintable())
    if not is_good:
        raise malformed(f"Idempotency-Key has 1 to {_KEY_CHARACTERS} printable ASCII characters")
    return key


def _digest(body: Mapping[str, Any], seller_id: str) -> str:
    """Return a hash of the body. A body without `seller_id` means the same as a body with it."""
    return hashlib.sha256(strict_json.canonical({**body, "seller_id": seller_id})).hexdigest()


def _known_request(call: Request, key: str | None, digest: str | None) -> PaymentRequest | None:
    """Return the earlier request of this key.

    Raise Problem 422 if its body was different, and if it has expired without any payment.
    """
    payment = None if key is None else payment_by_idempotency_key(call.seller.id, key)
    if payment is None:
        return None
    if payment.idempotency_digest != digest:
        detail = (
            f"this Idempotency-Key belongs to the request {payment.reference}, whose body was different and "
            f"whose status is {payment.status}; repeat that body, or send a new key"
        )
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY, "idempotency-key-reused", detail, members=_identity(payment)
        )
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


def _amount_sats(amount_fiat: Decimal, price: Price) -> int:
    amount_sats = fiat_to_sats(amount_fiat, price.price)
    if amount_sats < DUST_LIMIT_SATS:
        message = f"is {amount_sats} sats now; the network relays no payment below {DUST_LIMIT_SATS} sats"
        raise invalid([FieldError("amount_fiat", message)])
    if amount_sats > MAX_MONEY_SATS:
        message = f"is {format_btc(amount_sats)} BTC now; there will never be more than 21 million"
        raise invalid([FieldError("amount_fiat", message)])
    return amount_sats


def _no_address() -> Problem:
    detail = "there is no free address at the moment; nothing was used up, try again"
    return unavailable("no-address", detail)


def _reference() -> str:
    number = secrets.randbelow(62**_REFERENCE_CHARACTERS)
    pairs = []
    for _ in range(_REFERENCE_CHARACTERS // 2):
        number, pair = divmod(number, len(_PAIRS))
        pairs.append(_PAIRS[pair])
    return "PR-" + "".join(pairs)


def _known_answer(payment: PaymentRequest, call: Request) -> Answer:
    return _answer(HTTPStatus.OK, document_as_now(payment, call.settings), call)


def _answer(status: HTTPStatus, document: Payment, call: Request) -> Answer:
    prefix = urlsplit(call.settings.public_url).path
    location = f"{prefix}/api/v1/payments/{document['payment_request_id']}"
    return Answer(status, document, {"Location": location})
