"""The recipients of events, and the form of a webhook."""

import json
from collections.abc import Mapping
from datetime import datetime

from payments.document import Document, timestamp
from payments.link import LinkEvent
from payments.status import EventType

ReportedEvent = EventType | LinkEvent
"""The type of an event of a payment request, or of a payment link."""

STANDARD_EVENTS = tuple(each.value for each in (*EventType, *LinkEvent))
"""The types of all events, as webhooks have them."""


def read_event_type(text: str) -> ReportedEvent:
    """Return the type of a stored event. Raise ValueError for an unknown type."""
    return LinkEvent(text) if text in list(LinkEvent) else EventType(text)


def should_email_operator(event_type: ReportedEvent, document: Document) -> bool:
    """Return whether the operator receives an email about the event. docs/spec.md 3, the table of events."""
    if event_type is EventType.EXPIRED:
        return bool(document["received_sats"] > 0)
    return event_type is not EventType.UNDERPAID


def is_urgent(event_type: ReportedEvent) -> bool:
    """Return whether the email is marked as urgent."""
    return event_type in (EventType.REVERTED, LinkEvent.REVERTED)


def webhook_body(event_type: ReportedEvent, created_at: datetime, document: Document) -> bytes:
    """Return the JSON of an event, in ASCII. Each attempt sends the same bytes, so its signature matches."""
    return _body(event_type.value, created_at, document)


def trial_body(seller_id: str, created_at: datetime) -> bytes:
    """Return the JSON of the event `test`, which reports no payment."""
    return _body("test", created_at, {"seller_id": seller_id})


def _body(event_type: str, created_at: datetime, data: Mapping[str, object]) -> bytes:
    body = {"type": event_type, "timestamp": timestamp(created_at), "data": data}
    return json.dumps(body, separators=(",", ":"), allow_nan=False).encode("ascii")


def message_id(event_reference: str, mail_from: str) -> str:
    """Return the Message-ID of an event's email. Each attempt has the same one. RFC 5322 3.6.4."""
    return f"<{event_reference}@{mail_from.rpartition('@')[2]}>"
