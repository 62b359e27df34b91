"""The age that a transaction inherits from the payments that it replaces."""

from collections.abc import Iterable
from datetime import datetime

from payments.status import ReceivedOutput


def inherited_present_since(
    added_sats: int, needed_sats: int, replaced: Iterable[ReceivedOutput]
) -> datetime | None:
    """Return since when the replaced outputs have brought what takes their place, or None if they never did.

    `replaced` are outputs of one request, live until now. `added_sats` takes their place at that request.
    A replacement may bring more than they did if they covered the request, which needs `needed_sats`.
    Otherwise a small part would keep the price for the whole amount, for as long as the customer likes.
    """
    total = 0
    for receipt in sorted(replaced, key=lambda r: r.present_since):
        total += receipt.amount_sats
        if total >= min(added_sats, needed_sats):
            return receipt.present_since
    return None
