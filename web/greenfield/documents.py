"""The JSON documents of invoices."""

from collections.abc import Sequence
from typing import Any

from config import Settings
from models.daemon_status import daemon_report
from models.db.connection import get_row, snapshot
from models.output import outputs_by_address
from models.payment import PaymentRequest
from payments.greenfield.facts import InvoiceFacts, invoice_facts
from payments.greenfield.invoice import invoice_document
from payments.greenfield.payment_methods import payment_methods


def facts_of_all(payments: Sequence[PaymentRequest]) -> list[InvoiceFacts]:
    """Return the facts of these requests, in their order. Call it in the snapshot that read the requests."""
    height = daemon_report().assessed_height
    outputs = outputs_by_address([payment.address_id for payment in payments])
    return [
        invoice_facts(
            payment,
            payment.address.address,
            [output.received_output for output in outputs.get(payment.address_id, [])],
            tip_height=height,
        )
        for payment in payments
    ]


def invoice_documents(
    payments: Sequence[PaymentRequest], settings: Settings, *, is_with_methods: bool = False
) -> list[dict[str, Any]]:
    """Return these requests as invoices. Call it in the snapshot that read the requests."""
    documents = []
    for facts in facts_of_all(payments):
        document = invoice_document(facts, public_url=settings.public_url)
        if is_with_methods:
            document["paymentMethods"] = payment_methods(facts)
        documents.append(document)
    return documents


def invoice_as_now(payment: PaymentRequest, settings: Settings) -> dict[str, Any]:
    """Read a request again, and return it as an invoice."""
    with snapshot():
        current = get_row(PaymentRequest, payment.id)
        current.address = payment.address
        return invoice_documents([current], settings)[0]
