"""A request can be cancelled only while no money has come and its price holds."""

from datetime import UTC, datetime, timedelta

import pytest

from payments.cancellation import obstacle
from payments.status import Status

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATER = NOW + timedelta(microseconds=1)


def test_a_new_request_can_be_cancelled_before_its_expiry() -> None:
    """At the expiry itself nothing is left to cancel."""
    assert obstacle(Status.NEW, LATER, NOW) is None
    assert obstacle(Status.NEW, NOW, NOW) == "it has expired already"


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.NEW])
def test_a_request_in_any_other_status_cannot_be_cancelled(status: Status) -> None:
    """The reason names the status where money has come."""
    reason = obstacle(status, LATER, NOW)
    expired, paid = "it has expired already", f"money has come to it, and it is {status.value}"
    assert reason == (expired if status is Status.EXPIRED else paid)
