"""The late money of payment links, about which nobody has decided."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from models.link import Link
from models.output import outputs_by_address
from models.queries.links import late_sats_of, requests_with_late_money
from models.queries.pricing import late_money_of
from payments.late import LateMoney


@dataclass(frozen=True, slots=True)
class LateRequest:
    """A request of a link, with its money that came too late.

    `late` is None if all its money is less than the amount.
    """

    reference: str
    late_sats: int
    late: LateMoney | None

    def sentences(self, when: str = "today") -> str:
        """Return the figures as text. `when` is the time of the price."""
        return "It is less than the whole amount." if self.late is None else self.late.sentences(when)


def late_requests(link: Link, now: datetime, max_age_seconds: int, spread: Decimal) -> list[LateRequest]:
    """Return the requests of a link with late money under review, at the price of a new request.

    Must run in the snapshot that read the link.
    """
    rows = requests_with_late_money(link)
    outputs = outputs_by_address([row.address_id for row in rows])
    return [
        LateRequest(
            row.reference,
            late_sats_of(row),
            late_money_of(row, outputs.get(row.address_id, ()), now, max_age_seconds, spread),
        )
        for row in rows
    ]
