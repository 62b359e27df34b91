"""The JSON form of an invoice."""

from decimal import Decimal
from typing import Any

from payments.greenfield.amounts import currency_name, format_amount, paid_amount
from payments.greenfield.checkout_options import checkout_document, receipt_document
from payments.greenfield.facts import InvoiceFacts, metadata_of
from payments.greenfield.marking import markable
from payments.greenfield.state import state_of


def invoice_document(facts: InvoiceFacts, *, public_url: str) -> dict[str, Any]:
    """Return an invoice as JSON values. Amounts are text, and times are whole seconds since 1970.

    Plug-ins compare `paidAmount` with `amount`, so it is at least `amount` if the whole amount has come.
    """
    state = state_of(facts)
    return {
        "id": facts.invoice_id,
        "storeId": facts.store_id,
        "amount": format_amount(Decimal(facts.amount), facts.currency),
        "paidAmount": paid_amount(facts),
        "currency": currency_name(facts.currency),
        "type": "Standard",
        "checkoutLink": f"{public_url}/i/{facts.invoice_id}",
        "createdTime": int(facts.created_at.timestamp()),
        "expirationTime": int(facts.terms.expires_at.timestamp()),
        "monitoringExpiration": int(facts.terms.monitored_until.timestamp()),
        "status": state.status.value,
        "additionalStatus": state.additional.value,
        "availableStatusesForManualMarking": [status.value for status in markable(state)],
        "archived": facts.is_archived,
        "metadata": metadata_of(facts),
        "checkout": checkout_document(facts),
        "receipt": receipt_document(facts),
    }
