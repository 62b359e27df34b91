"""The meaning of each status and event, and the action to take. /docs, OpenAPI and README share these texts.

Text between backticks is code, and text between double asterisks is strong.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from payments.link import LinkEvent, LinkStatus
from payments.status import EventType, Status


@dataclass(frozen=True, slots=True)
class Meaning:
    """The meaning of a value, and the action to take."""

    meaning: str
    action: str


_DELIVER = "Deliver. A request of an invoice link can be a part, so wait for `link.paid`."

STATUS_MEANINGS: Mapping[Status, Meaning] = MappingProxyType(
    {
        Status.NEW: Meaning("No money has come.", "Wait."),
        Status.UNDERPAID: Meaning("A part has come. `due_sats` is missing.", "Show the rest."),
        Status.RECEIVED: Meaning(
            "The whole amount is in the mempool.",
            "Thank the customer. **Hand nothing over**, because a double-spend can take it back.",
        ),
        Status.CONFIRMING: Meaning("The payment is in a block, `confirmations` deep.", "Wait."),
        Status.CONFIRMED: Meaning("The payment is as deep as `confirmations_required`.", _DELIVER),
        Status.EXPIRED: Meaning(
            "The price held until `expires_at`, and the amount had not come by then.",
            "If `received_sats` is 0, offer a new request, with a new key (`order-4711-2`). Otherwise ask "
            "the customer **not to pay again**.",
        ),
    }
)

LINK_EVENT_MEANINGS: Mapping[LinkEvent, Meaning] = MappingProxyType(
    {
        LinkEvent.PAID: Meaning(
            "A single-use link is paid, and its money has the required confirmations.", "Deliver."
        ),
        LinkEvent.REVERTED: Meaning(
            "A double-spend or a reorg took a part of a paid single-use link back.",
            "Stop the delivery. The page of the link asks for the rest.",
        ),
    }
)

LINK_STATUS_MEANINGS: Mapping[LinkStatus, Meaning] = MappingProxyType(
    {
        LinkStatus.OPEN: Meaning("An amount remains. A reusable link stays open.", "Wait."),
        LinkStatus.PROCESSING: Meaning(
            "The whole amount has come, but not all of it is confirmed.",
            "Thank the payer. Hand nothing over.",
        ),
        LinkStatus.PAID: Meaning("The whole amount is confirmed.", "Deliver."),
        LinkStatus.OVERDUE: Meaning(
            "An amount remains after `due_at`. It can still be paid.", "Remind the payer."
        ),
        LinkStatus.CLOSED: Meaning(
            "You closed the link while an amount remained.", "Nobody can pay it any more."
        ),
    }
)

EVENT_MEANINGS: Mapping[EventType, Meaning] = MappingProxyType(
    {
        EventType.UNDERPAID: Meaning("A part of the amount has come, or a further part.", "Show the rest."),
        EventType.RECEIVED: Meaning("The whole amount has come.", "Thank the customer. Hand nothing over."),
        EventType.CONFIRMED: Meaning("The payment has the confirmations that it needs.", _DELIVER),
        EventType.EXPIRED: Meaning(
            "The price has expired, and the amount had not come.", "Act as the status `expired` describes."
        ),
        EventType.LATE: Meaning(
            "The whole amount has come, but after the price had expired.",
            "Accept the money, or refund it once it is confirmed.",
        ),
        EventType.REVERTED: Meaning(
            "A double-spend or a reorg took a payment back.",
            "Stop the delivery. Read `status`, because it has changed.",
        ),
        EventType.EXTRA: Meaning(
            "More money has come than was due.", "Refund the surplus once it is confirmed, or keep it."
        ),
    }
)
