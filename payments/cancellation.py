"""The rule for a cancellation: the price of a request may end early only while no money has come."""

from datetime import datetime

from payments.status import Status


def obstacle(status: Status, expires_at: datetime, now: datetime) -> str | None:
    """Return the reason why a request cannot be cancelled, as a clause, or None where it can be."""
    if status is Status.NEW and now < expires_at:
        return None
    if status in (Status.NEW, Status.EXPIRED):
        return "it has expired already"
    return f"money has come to it, and it is {status}"
