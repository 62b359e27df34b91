"""The meaning of an event for the operator, and the next step."""

from dataclasses import dataclass

from payments.document import Document
from payments.link import LinkStatus
from payments.money import format_btc
from payments.status import EventType, Status

_SEND_BACK = "Ask the customer to pay the rest, or to give you an address for a refund."
_ANOTHER_EMAIL = "You will get another email if this payment is paid or confirmed again."
_WAIT_FOR_LINK = (
    "The request belongs to a payment link, which can be paid in parts. "
    'Deliver only after the email "Link paid". '
    "Nodetill sends it when the whole amount of the link is confirmed."
)
_LINK_IS_CLOSED = (
    "The payment link is closed, and an amount remains. So do not deliver. "
    "Agree with the customer on the rest, or on a refund."
)


@dataclass(frozen=True, slots=True)
class Advice:
    """The beginning of a subject, and the paragraphs of the email. A command is between backticks."""

    headline: str
    paragraphs: tuple[str, ...]


def advice(
    event_type: EventType,
    document: Document,
    how_to_accept: tuple[str, ...],
    link_status: LinkStatus | None = None,
) -> Advice:
    """Return the text for the operator about an event.

    `document` is the request at that time. `how_to_accept` has the paragraphs on how to accept late money.
    `link_status` is the status of its single-use link, or None without such a link.
    """
    message = _message(event_type, document, how_to_accept, link_status)
    return _advice(message.headline, *message.paragraphs, *_caution(document))


def with_late_text(message: Advice, late_text: str) -> Advice:
    """Return the advice with the sentence on late money after its first paragraph."""
    if not late_text:
        return message
    first, *others = message.paragraphs
    return _advice(message.headline, first, late_text, *others)


def _message(
    event_type: EventType,
    document: Document,
    how_to_accept: tuple[str, ...],
    link_status: LinkStatus | None,
) -> Advice:
    match event_type:
        case EventType.UNDERPAID:
            return _advice(
                "Payment incomplete", f"{_paid_part(document)} {_due(document)} are still missing."
            )
        case EventType.RECEIVED:
            return _received(document, link_status)
        case EventType.CONFIRMED:
            return _confirmed(document, link_status)
        case EventType.EXPIRED:
            return _expired(document, how_to_accept, link_status)
        case EventType.LATE:
            return _late(document, how_to_accept)
        case EventType.REVERTED:
            return _reverted(document, how_to_accept)
        case EventType.EXTRA:
            return _extra(document, how_to_accept, link_status)


def _received(document: Document, link_status: LinkStatus | None) -> Advice:
    required = document["confirmations_required"]
    paid = "The customer paid the whole amount of this request."
    paragraphs = [] if link_status is None else [_wait_for_link(link_status)]
    if required:
        paid = f"{paid} The payment is not final yet, because a double-spend can still reverse it."
    if required and link_status is None:
        paragraphs.append(
            'Do not deliver before you get the email "Payment confirmed". '
            f"Nodetill sends it at {required} confirmation{'s' if required > 1 else ''}."
        )
    return _advice("Payment received", paid, *paragraphs, *_overpaid(document))


def _confirmed(document: Document, link_status: LinkStatus | None) -> Advice:
    paragraphs = ["The payment is complete. You can deliver the goods."]
    if link_status is not None:
        paragraphs = ["The payment of this request is complete.", _wait_for_link(link_status)]
    return _advice("Payment confirmed", *paragraphs, *_overpaid(document))


def _wait_for_link(link_status: LinkStatus) -> str:
    """Return the paragraph on the delivery of a single-use link, whose requests may be parts."""
    return _LINK_IS_CLOSED if link_status is LinkStatus.CLOSED else _WAIT_FOR_LINK


def _expired(document: Document, how_to_accept: tuple[str, ...], link_status: LinkStatus | None) -> Advice:
    received = _received_btc(document)
    if not document["due_sats"]:
        return _late(document, how_to_accept)
    if link_status not in (None, LinkStatus.CLOSED):
        rest = (
            "the page of the link requests the rest" if _is_open(link_status) else "no amount remains there"
        )
        return _advice(
            f"Payment expired with {received} received",
            f"{_paid_part(document)} The money that came in time counts for the payment link "
            f"{document['link_id']}, and {rest}.",
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


def _extra(document: Document, how_to_accept: tuple[str, ...], link_status: LinkStatus | None) -> Advice:
    if document["status"] != Status.EXPIRED:
        headline = "Surplus for a finished payment"
        return _advice(
            headline, "The customer sent money although everything was paid.", *_overpaid(document)
        )
    if not document["due_sats"]:
        return _late(document, how_to_accept)
    headline = "More money for an expired payment"
    more = f"More money came after the time to pay was over. {_paid_part(document)}"
    if link_status in (None, LinkStatus.CLOSED):
        return _advice(headline, f"{more} The order is not paid.", _SEND_BACK)
    return _advice(
        headline,
        f"{more} The late money does not count for the payment link {document['link_id']}.",
        "Ask the customer for an address, send the late money back, and mark this payment as done.",
        *(("Until then nobody can pay the rest of the link.",) if _is_open(link_status) else ()),
    )


def _is_open(link_status: LinkStatus | None) -> bool:
    """Return whether an amount of a single-use link remains, and its page requests that amount."""
    return link_status in (LinkStatus.OPEN, LinkStatus.OVERDUE)


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
