"""What an event means to the operator, and what to do about it."""

from dataclasses import dataclass

from payments.document import Document
from payments.money import format_btc
from payments.status import EventType, Status

_SEND_BACK = "Ask the customer for the rest, or for an address to send the money back to."


@dataclass(frozen=True, slots=True)
class Advice:
    """The first words of a subject, and the paragraphs below it; a command stands between backticks."""

    headline: str
    paragraphs: tuple[str, ...]


def advice(event_type: EventType, document: Document) -> Advice:
    """What to tell the operator of an event, the request being as `document` has it."""
    message = _message(event_type, document)
    return _advice(message.headline, *message.paragraphs, *_caution(document))


def _message(event_type: EventType, document: Document) -> Advice:
    match event_type:
        case EventType.UNDERPAID:
            return _advice("Payment incomplete", f"A part has come; {_due(document)} are missing still.")
        case EventType.RECEIVED:
            return _received(document)
        case EventType.CONFIRMED:
            return _advice(
                "Payment confirmed",
                "The payment is complete: what was bought can be handed over.",
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
    headline, has_come = "Payment received", "The whole amount has come."
    if not required:
        return _advice(headline, has_come, *_overpaid(document))
    return _advice(
        headline,
        f"{has_come} It is not final yet: a double-spend can still take it back.",
        "Hand nothing over before the email that says confirmed. "
        f"It comes at {required} confirmation{'s' if required > 1 else ''}.",
        *_overpaid(document),
    )


def _expired(document: Document) -> Advice:
    received = _received_btc(document)
    if not document["due_sats"]:
        return _late(document)
    return _advice(
        f"Payment expired with {received} in it",
        f"The time to pay is over. {received} have come, {_due(document)} are missing: "
        "it does not count as paid.",
        f"{_SEND_BACK} If the rest comes, another email tells you, and you can accept it.",
    )


def _late(document: Document) -> Advice:
    has_come = "The whole amount has come, but after the quoted price expired."
    if document["status"] != Status.EXPIRED:
        return _advice("Late payment counted", f"{has_come} It counts all the same.", *_overpaid(document))
    return _advice(
        "Late payment, your decision",
        f"{has_come} It does not count unless you accept it.",
        "To accept it at the old price:",
        f"`manage.py payment accept {document['payment_request_id']}`",
        "Otherwise ask the customer for an address and send the money back.",
        *_overpaid(document),
    )


def _reverted(document: Document) -> Advice:
    then = "If it is paid or confirmed again, another email tells you."
    if Status(document["status"]).is_covered:
        return _advice(
            "URGENT: payment no longer confirmed",
            "This payment was confirmed, but its block has left the chain: it can be taken back again.",
            f"Hold the delivery if you still can. {then}",
        )
    return _advice(
        "URGENT: payment reverted",
        _taken_back(document),
        f"Stop the delivery. If the goods have gone, speak to the customer. {then}",
    )


def _taken_back(document: Document) -> str:
    """Return what is left of a payment that was complete."""
    if not document["received_sats"]:
        return (
            "The payment was complete, and now nothing of it is there: "
            "it was double-spent, or the network has dropped it."
        )
    received = _received_btc(document)
    if document["due_sats"]:
        return (
            f"The payment was complete, and now a part of it is missing: {received} are there, "
            f"{_due(document)} are missing. That part was double-spent, or the network has dropped it."
        )
    return (
        f"The payment was complete. Now {received} are there, but other money is in the place of a part. "
        "That money came after the quoted price expired, so it does not count unless you accept it."
    )


def _extra(document: Document) -> Advice:
    if document["status"] != Status.EXPIRED:
        headline = "More money for a settled payment"
        return _advice(headline, "More money has come to a request that needs none.", *_overpaid(document))
    if not document["due_sats"]:
        return _late(document)
    return _advice(
        "More money for an expired payment",
        f"More has come after the time to pay was over: {_received_btc(document)} in all. "
        f"{_due(document)} are missing: it does not count as paid.",
        _SEND_BACK,
    )


def _overpaid(document: Document) -> tuple[str, ...]:
    if not document["overpaid_sats"]:
        return ()
    extra = format_btc(document["overpaid_sats"])
    return (f"{extra} BTC more than asked for have come: ask the customer where to send them back to.",)


def _caution(document: Document) -> tuple[str, ...]:
    """Whoever sends money back that he hasn't got yet may lose it: an old trick of double-spenders."""
    is_to_be_sent_back = document["overpaid_sats"] or document["status"] == Status.EXPIRED
    is_unconfirmed = any(part["state"] == "mempool" for part in document["transactions"])
    if not (is_to_be_sent_back and is_unconfirmed):
        return ()
    return ("Send nothing back before it has confirmations: what is in no block yet can be double-spent.",)


def _due(document: Document) -> str:
    return f"{format_btc(document['due_sats'])} BTC"


def _received_btc(document: Document) -> str:
    return f"{format_btc(document['received_sats'])} BTC"


def _advice(headline: str, *paragraphs: str) -> Advice:
    return Advice(headline, paragraphs)
