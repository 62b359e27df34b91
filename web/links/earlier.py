"""The earlier payment of a single-use link that may still bring money, so that nobody pays it twice."""

from dataclasses import dataclass

from models.link import Link
from models.output import DROPPED, outputs_by_address
from models.queries.links import newest_requests
from payments.status import Status

_MAX_LOOKED_AT = 20


@dataclass(frozen=True, slots=True)
class EarlierPayment:
    """A request whose money may still come. `is_dropped`: the network has dropped its transaction."""

    reference: str
    is_dropped: bool


def earlier_payment(link: Link) -> EarlierPayment | None:
    """Return the earlier payment of a single-use link that its payer has to look at, or None.

    It is the newest request with a dropped transaction. Otherwise it is the link's newest request, if it has
    expired without any transaction and Nodetill still monitors it.
    """
    if link.is_reusable:
        return None
    requests = newest_requests(link, _MAX_LOOKED_AT)
    outputs = outputs_by_address([request.address_id for request in requests])
    for request in requests:
        states = {output.state for output in outputs.get(request.address_id, ())}
        if DROPPED in states and not Status(request.status).is_covered:
            return EarlierPayment(request.reference, is_dropped=True)
    newest = requests[0] if requests else None
    if newest is None or newest.status != Status.EXPIRED or newest.address_id in outputs:
        return None
    return None if newest.closed_at else EarlierPayment(newest.reference, is_dropped=False)
