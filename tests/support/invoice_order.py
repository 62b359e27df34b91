"""Checks of the sequence of an invoice's events (docs/greenfield.md 3), and queries of stored events."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from models.outbox import Message
from models.output import outputs_at
from models.payment import PaymentRequest
from payments.greenfield.events import Body, Reported, events_since
from payments.greenfield.facts import invoice_facts


def order_faults(events: Sequence[Body]) -> Iterator[str]:
    """Yield a sentence for each event that comes too early, too late or twice."""
    has_processing = is_settled = is_invalid = False
    seen: set[tuple[str, str]] = set()
    for number, event in enumerate(events):
        name = event["type"].removeprefix("Invoice")
        allowed = {
            "Created": number == 0,
            "Processing": not is_settled,
            "PaymentSettled": not is_settled and has_processing,
            "Settled": not is_settled and (has_processing or event.get("manuallyMarked")),
            "Invalid": not is_invalid,
            "ReceivedPayment": not is_settled,
            "Expired": not is_settled and not is_invalid and not has_processing,
        }
        key = (name, event["payment"]["id"] if "payment" in event else "")
        is_repeated = key in seen and ("payment" in event or name in ("Created", "Expired"))
        if is_repeated or not allowed.get(name, True):
            yield f"{name} after {[each['type'].removeprefix('Invoice') for each in events[:number]]}"
        seen.add(key)
        match name:
            case "Processing":
                has_processing, is_invalid = True, False
            case "Settled":
                is_settled, is_invalid = True, False
            case "Invalid" | "Expired":
                has_processing = is_settled = False
                is_invalid = name == "Invalid"


def stored_events(payment: PaymentRequest) -> list[Body]:
    """Return the stored events of an invoice whose seller has one endpoint."""
    is_its = (Message.payment == payment) & Message.invoice_event.is_null(False)
    return [message.invoice_event for message in Message.select().where(is_its).order_by(Message.id)]


def unreported(payment: PaymentRequest, tip_height: int, now: datetime) -> list[str]:
    """Return the types of the events that the facts require and that are not yet stored."""
    received = [output.received_output for output in outputs_at(payment.address_id)]
    facts = invoice_facts(payment, "", received, tip_height=tip_height)
    reported = Reported.from_document(payment.invoice_reported)
    events, _ = events_since(facts, reported, now)
    return [] if reported is None else [event["type"] for event in events]
