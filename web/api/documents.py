"""Stored payment requests as the documents that the API answers with."""

from collections.abc import Iterable, Sequence
from typing import cast

from config import Settings
from models.daemon_status import daemon_report
from models.db.connection import get_row, snapshot
from models.output import Output, outputs_by_address
from models.payment import PaymentRequest
from payments.document import payment_document
from web.api.schemas import Payment


def document_of(payment: PaymentRequest, settings: Settings) -> Payment:
    """Return one request, inside the snapshot that it was read in."""
    return documents_of([payment], settings)[0]


def document_as_now(payment: PaymentRequest, settings: Settings) -> Payment:
    """Return one request that was read before, with its status and its height as of one moment now."""
    with snapshot():
        current = get_row(PaymentRequest, payment.id)
        current.address = payment.address
        return document_of(current, settings)


def document_of_new(payment: PaymentRequest, settings: Settings) -> Payment:
    """One that has just been stored: there is nothing to be asked of it yet."""
    return _document(payment, (), 0, settings)


def documents_of(payments: Sequence[PaymentRequest], settings: Settings) -> list[Payment]:
    """Requests, in the order given, at the tip that their statuses were worked out at."""
    tip_height = daemon_report().assessed_height
    parts = outputs_by_address([payment.address_id for payment in payments])
    return [_document(p, parts.get(p.address_id, []), tip_height, settings) for p in payments]


def _document(
    payment: PaymentRequest, parts: Iterable[Output], tip_height: int, settings: Settings
) -> Payment:
    document = payment_document(
        payment, payment.address.address, parts, tip_height=tip_height, public_url=settings.public_url
    )
    return cast(Payment, document)
