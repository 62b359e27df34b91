"""The meaning of an event for the operator, and the next step."""

from dataclasses import dataclass

from payments.document import Document
from payments.money import format_btc
from payments.status import EventType, Status

_SEND_BACK = "Ask the customer to pay the rest, or to give you an address for a refund."
_ANOTHER_EMAIL = "You will get another email if this payment is paid or confirmed again."


@dataclass(frozen=True, slots=True)
class Advice:
    """The first words of a subject, and the paragraphs of the email. A command is between backticks."""

    headline: str
    paragraphs: tuple[str, ...]


def advice(event_type: EventType, document: Document) -> Advice:
    """Return the text for the operator about an event. `document` is the request at that time."""
    message = _message(event_type, document)
    return _advice(message.headline, *message.paragraphs, *_caution(document))


def with_late_text(message: Advice, late_text: str) -> Advice:
    """Return the advice with the sentence on late money after its first paragraph."""
    if not late_text:
        return message
    first, *others = message.paragraphs
    return _advice(message.headline, first, late_text, *others)


def _message(event_type: EventType, document: Document) -> Advice:
    match event_type:
        case EventType.UNDERPAID:
            return _advice(
                "Payment incomplete", f"The customer paid a part. {_due(document)} are still missing."
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
            return _expired(document)
        case EventType.LATE:
            return _late(document)
        case EventType.REVERTED:
            return _reverted(document)
        case EventType.EXTRA:
            return _extra(document)


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


def _expired(document: Document) -> Advice:
    received = _received_btc(document)
    if not document["due_sats"]:
        return _late(document)
    return _advice(
        f"Payment expired with {received} received",
        f"The time to pay is over. The customer paid {received}, and {_due(document)} are missing. "
        "The payment does not count as paid.",
        f"{_SEND_BACK} If the rest comes, you will get another email. Then you can accept the payment.",
    )


def _late(document: Document) -> Advice:
    paid_late = "The customer paid the whole amount, but after the quoted price expired."
    if document["status"] != Status.EXPIRED:
        return _advice(
            "Late payment counted", f"{paid_late} The payment counts anyway.", *_overpaid(document)
        )
    return _advice(
        "Late payment, your decision",
        f"{paid_late} The payment counts only if you accept it.",
        "To accept the payment at the old price, run this command:",
        f"`manage.py payment accept {document['payment_request_id']}`",
        "Otherwise ask the customer for an address, and send the money back.",
        *_overpaid(document),
    )


def _reverted(document: Document) -> Advice:
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
        f"Stop the delivery. If you have delivered already, contact the customer. {_ANOTHER_EMAIL}",
    )


def _taken_back(document: Document) -> str:
    """Return the text on the rest of a payment that was complete."""
    if not document["received_sats"]:
        return (
            "The payment was complete, but now all of the money is missing. "
            "It was double-spent, or the network dropped the transaction."
        )
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


def _extra(document: Document) -> Advice:
    if document["status"] != Status.EXPIRED:
        headline = "More money for a complete payment"
        return _advice(headline, "More money came for a payment that was complete.", *_overpaid(document))
    if not document["due_sats"]:
        return _late(document)
    return _advice(
        "More money for an expired payment",
        f"More money came after the time to pay was over. {_received_btc(document)} are there now, "
        f"and {_due(document)} are missing. The payment does not count as paid.",
        _SEND_BACK,
    )


def _overpaid(document: Document) -> tuple[str, ...]:
    if not document["overpaid_sats"]:
        return ()
    extra = format_btc(document["overpaid_sats"])
    return (f"The customer paid {extra} BTC too much. Ask the customer for an address for a refund.",)


def _caution(document: Document) -> tuple[str, ...]:
    """Return a warning where the money may be sent back before it is confirmed.

    A customer can take such a refund and then double-spend the payment.
    """
    is_to_be_sent_back = document["overpaid_sats"] or document["status"] == Status.EXPIRED
    is_unconfirmed = any(part["state"] == "mempool" for part in document["transactions"])
    if not (is_to_be_sent_back and is_unconfirmed):
        return ()
    return ("Do not send money back before its transaction is in a block. It can still be double-spent.",)


def _due(document: Document) -> str:
    return f"{format_btc(document['due_sats'])} BTC"


def _received_btc(document: Document) -> str:
    return f"{format_btc(document['received_sats'])} BTC"


def _advice(headline: str, *paragraphs: str) -> Advice:
    return Advice(headline, paragraphs)
