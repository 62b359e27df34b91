"""The meaning of an event for the operator, and the next step."""

from dataclasses import dataclass

from payments.document import Document
from payments.money import format_btc
from payments.status import EventType, Status

_SEND_BACK = "Ask the customer to pay the rest, or to give you an address for a refund."
_ANOTHER_EMAIL = "You will get another email if this payment is paid or confirmed again."


@dataclass(frozen=True, slots=True)
class Advice:
    """The beginning of a subject, and the paragraphs of the email. A command is between backticks."""

    headline: str
    paragraphs: tuple[str, ...]


def advice(event_type: EventType, document: Document, how_to_accept: tuple[str, ...]) -> Advice:
    """Return the text for the operator about an event.

    `document` is the request at that time. `how_to_accept` has the paragraphs on how to accept late money.
    """
    message = _message(event_type, document, how_to_accept)
    return _advice(message.headline, *message.paragraphs, *_caution(document))


def with_late_text(message: Advice, late_text: str) -> Advice:
    """Return the advice with the sentence on late money after its first paragraph."""
    if not late_text:
        return message
    first, *others = message.paragraphs
    return _advice(message.headline, first, late_text, *others)


def _message(event_type: EventType, document: Document, how_to_accept: tuple[str, ...]) -> Advice:
    match event_type:
        case EventType.UNDERPAID:
            return _advice(
                "Payment incomplete", f"{_paid_part(document)} {_due(document)} are still missing."
            )
        case EventType.RECEIVED:
            return _received(document)
        case EventType.CONFIRMED:
            return _advice(
                "Payment confirmed",
                "The payment is complete. You can deliver the goods.",
                *_overpaid(document),
            )
        case EventType.EXPIRED:
            return _expired(document, how_to_accept)
        case EventType.LATE:
            return _late(document, how_to_accept)
        case EventType.REVERTED:
            return _reverted(document, how_to_accept)
        case EventType.EXTRA:
            return _extra(document, how_to_accept)


def _received(document: Document) -> Advice:
    required = document["confirmations_required"]
    headline, paid = "Payment received", "The customer paid the whole amount."
    if not required:
        return _advice(headline, paid, *_overpaid(document))
    return _advice(
        headline,
        f"{paid} The payment is not final yet, because a double-spend can still reverse it.",
        'Do not deliver before you get the email "Payment confirmed". '
        f"Nodetill sends it at {required} confirmation{'s' if required > 1 else ''}.",
        *_overpaid(document),
    )


def _expired(document: Document, how_to_accept: tuple[str, ...]) -> Advice:
    received = _received_btc(document)
    if not document["due_sats"]:
        return _late(document, how_to_accept)
    if document.get("link_id"):
        return _advice(
            f"Payment expired with {received} received",
            f"{_paid_part(document)} The money that came in time counts for the payment link "
            f"{document['link_id']}, and the page of the link requests the rest.",
        )
    return _advice(
        f"Payment expired with {received} received",
        f"{_paid_part(document)} The time to pay is over, so the order is not paid.",
        f"{_SEND_BACK} If the rest comes, you will get another email. Then you can accept the payment.",
    )


def _late(document: Document, how_to_accept: tuple[str, ...]) -> Advice:
    paid_late = "The customer paid the whole amount, but after the quoted price expired."
    if document["status"] != Status.EXPIRED:
        return _advice(
            "Late payment counted", f"{paid_late} The payment counts anyway.", *_overpaid(document)
        )
    return _advice(
        "Late payment, your decision",
        f"{paid_late} The payment counts only if you accept it.",
        *how_to_accept,
        "Otherwise ask the customer for an address, and send the money back.",
        *_overpaid(document),
    )


def _reverted(document: Document, how_to_accept: tuple[str, ...]) -> Advice:
    if Status(document["status"]).is_covered:
        return _advice(
            "URGENT: payment no longer confirmed",
            "This payment was confirmed, but its block is no longer in the chain. "
            "A double-spend can now reverse the payment.",
            f"Hold the delivery if you still can. {_ANOTHER_EMAIL}",
        )
    return _advice(
        "URGENT: payment reverted",
        _taken_back(document),
        *(how_to_accept if document["late"] else ()),
        f"Stop the delivery. If you have delivered already, contact the customer. {_ANOTHER_EMAIL}",
    )


def _taken_back(document: Document) -> str:
    """Return the text on the rest of a payment that was complete."""
    if not document["received_sats"]:
        return "This payment has disappeared. It was double-spent, or the network dropped it."
    received = _received_btc(document)
    if document["due_sats"]:
        return (
            f"The payment was complete, but now {_due(document)} of the money are missing. "
            f"{received} are still there. The missing money was double-spent, "
            "or the network dropped its transaction."
        )
    return (
        f"The payment was complete, but a part of the money was replaced. {received} are there now. "
        "The new money came after the quoted price expired. So it counts only if you accept it."
    )


def _extra(document: Document, how_to_accept: tuple[str, ...]) -> Advice:
    if document["status"] != Status.EXPIRED:
        headline = "Surplus for a finished payment"
        return _advice(
            headline, "The customer sent money although everything was paid.", *_overpaid(document)
        )
    if not document["due_sats"]:
        return _late(document, how_to_accept)
    return _advice(
        "More money for an expired payment",
        f"More money came after the time to pay was over. {_paid_part(document)} The order is not paid.",
        _SEND_BACK,
    )


def _overpaid(document: Document) -> tuple[str, ...]:
    if not document["overpaid_sats"]:
        return ()
    extra = format_btc(document["overpaid_sats"])
    return (f"The customer paid {extra} BTC too much. Ask the customer for an address for a refund.",)


def _caution(document: Document) -> tuple[str, ...]:
    """Return a warning if the operator could send money back before it is confirmed.

    A customer can take such a refund and then double-spend the payment.
    """
    is_to_be_sent_back = document["overpaid_sats"] or document["status"] == Status.EXPIRED
    is_unconfirmed = any(part["state"] == "mempool" for part in document["transactions"])
    if not (is_to_be_sent_back and is_unconfirmed):
        return ()
    return ("Do not send money back before it is confirmed. It can still be double-spent.",)


def _paid_part(document: Document) -> str:
    return f"The customer paid {format_btc(document['received_sats'])} of {document['amount_btc']} BTC."


def _due(document: Document) -> str:
    return f"{format_btc(document['due_sats'])} BTC"


def _received_btc(document: Document) -> str:
    return f"{format_btc(document['received_sats'])} BTC"


def _advice(headline: str, *paragraphs: str) -> Advice:
    return Advice(headline, paragraphs)
