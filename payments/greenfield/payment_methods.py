"""The payments of an invoice, and its one payment method: on-chain bitcoin."""

from typing import Any

from payments.document import payment_uri
from payments.greenfield.amounts import format_sats
from payments.greenfield.facts import InvoiceFacts, id_of
from payments.greenfield.state import InvoiceStatus, state_of
from payments.status import ReceivedOutput

ON_CHAIN = "BTC-CHAIN"
"""The payment method, by its name since BTCPay 2.0."""

PROCESSING, SETTLED, INVALID = "Processing", "Settled", "Invalid"


def payment_methods(facts: InvoiceFacts, *, only_accounted: bool = True) -> list[dict[str, Any]]:
    """Return the payment methods of an invoice as JSON values: a list of one.

    With `only_accounted`, `payments` omits replaced and dropped payments. The document has the member names
    of BTCPay 2.0 and those of earlier versions. `due` is below zero if the invoice is overpaid.
    """
    asked, paid = facts.terms.amount_sats, facts.received_sats
    return [
        {
            "paymentMethodId": ON_CHAIN,
            "paymentMethod": ON_CHAIN,
            "cryptoCode": "BTC",
            "currency": "BTC",
            "destination": facts.address,
            "paymentLink": _payment_link(facts),
            "rate": facts.price,
            "paymentMethodPaid": format_sats(paid),
            "totalPaid": format_sats(paid),
            "due": format_sats(asked - paid),
            "amount": format_sats(asked),
            "paymentMethodFee": "0",
            "networkFee": "0",
            "activated": True,
            "additionalData": {},
            "payments": _payments(facts, only_accounted=only_accounted),
        }
    ]


def output_document(facts: InvoiceFacts, output: ReceivedOutput, status: str) -> dict[str, Any]:
    """Return an output as a payment of the invoice, as JSON values."""
    return {
        "id": id_of(output),
        "receivedDate": int(output.first_seen_at.timestamp()),
        "value": format_sats(output.amount_sats),
        "fee": "0",
        "status": status,
        "destination": facts.address,
    }


def payment_status(facts: InvoiceFacts, output: ReceivedOutput) -> str:
    """Return the status of a payment. A payment that was replaced or dropped is invalid."""
    if not output.is_live:
        return INVALID
    return SETTLED if output in facts.settled_outputs else PROCESSING


def _payments(facts: InvoiceFacts, *, only_accounted: bool) -> list[dict[str, Any]]:
    settled = {id_of(output) for output in facts.settled_outputs}
    found = []
    for output in sorted(facts.outputs, key=lambda o: o.first_seen_order):
        if output.amount_sats and (output.is_live or not only_accounted):
            live_status = SETTLED if id_of(output) in settled else PROCESSING
            found.append(output_document(facts, output, live_status if output.is_live else INVALID))
    return found


def _payment_link(facts: InvoiceFacts) -> str:
    """Return the BIP21 URI for the amount that is due, or "" if no payment is expected."""
    due_sats = facts.terms.amount_sats - facts.received_sats
    if due_sats <= 0 or state_of(facts).status is not InvoiceStatus.NEW:
        return ""
    return payment_uri(facts.address, due_sats, facts.label)
