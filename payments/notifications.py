"""Which events are sent to whom, and the form of a webhook."""

import json
from datetime import datetime

from payments.document import Document, timestamp
from payments.status import EventType


def should_email_operator(event_type: EventType, document: Document) -> bool:
    """Whether the operator gets an email of it. docs/spec.md 3, the table of events."""
    if event_type is EventType.EXPIRED:
        return bool(document["received_sats"] > 0)
    return event_type is not EventType.UNDERPAID


def is_urgent(event_type: EventType) -> bool:
    """Whether the email is marked so that it is read at once."""
    return event_type is EventType.REVERTED


def webhook_body(event_type: EventType, created_at: datetime, document: Document) -> bytes:
    """The JSON of an event, in ASCII: the same bytes each time it is sent, as its signature wants."""
    body = {"type": event_type.value, "timestamp": timestamp(created_at), "data": document}
    return json.dumps(body, separators=(",", ":"), allow_nan=False).encode("ascii")


def message_id(event_reference: str, mail_from: str) -> str:
    """The Message-ID of an event's email: the same at each repeat. RFC 5322 3.6.4."""
    return f"<{event_reference}@{mail_from.rpartition('@')[2]}>"
