"""The time that a transaction inherits from the outputs that it replaces."""

from collections.abc import Iterable
from datetime import datetime

from payments.status import ReceivedOutput


def inherited_present_since(
    added_sats: int, needed_sats: int, replaced: Iterable[ReceivedOutput]
) -> datetime | None:
    """Return the `present_since` that a replacement inherits, or None if it inherits nothing.

    `replaced` are outputs of one request that were live until now. The replacement pays `added_sats` to the
    same request. A replacement may pay more than the replaced outputs if these covered the request, which
    needs `needed_sats`. Otherwise a small payment would keep the old price for the whole amount, without end.
    """
    total = 0
    for output in sorted(replaced, key=lambda r: r.present_since):
        total += output.amount_sats
        if total >= min(added_sats, needed_sats):
            return output.present_since
    return None
