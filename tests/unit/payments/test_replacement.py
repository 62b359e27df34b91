"""A replacement inherits the age of the money that it replaces, and no more."""

from datetime import datetime

import pytest

from payments.replacement import inherited_present_since
from tests.support.facts import IN_TIME, LATE, gone, paid

NEEDED_SATS = 100


@pytest.mark.parametrize(
    ("brought_sats", "added_sats", "expected"),
    [
        (100, 100, IN_TIME),
        (100, 99, IN_TIME),
        (100, 101, IN_TIME),
        (100, 1_000, IN_TIME),
        (60, 60, IN_TIME),
        (60, 59, IN_TIME),
        (60, 61, None),
        (99, 100, None),
    ],
)
def test_a_replacement_inherits_if_it_adds_nothing_or_the_old_money_sufficed(
    brought_sats: int, added_sats: int, expected: datetime | None
) -> None:
    """A small part must not keep the price for the whole, but a full payment may grow by a satoshi."""
    assert inherited_present_since(added_sats, NEEDED_SATS, [gone(paid(brought_sats))]) == expected


def test_a_payment_that_replaces_none_inherits_no_age() -> None:
    assert inherited_present_since(1, NEEDED_SATS, []) is None


def test_several_parts_inherit_the_age_of_the_part_that_completes_the_sum() -> None:
    """An old part gives its age only to its own sum, so late money does not become timely by it."""
    parts = [paid(90, since=LATE, txid="b"), paid(10, since=IN_TIME)]
    assert inherited_present_since(10, NEEDED_SATS, parts) == IN_TIME
    assert inherited_present_since(11, NEEDED_SATS, parts) == LATE
    assert inherited_present_since(100, NEEDED_SATS, parts) == LATE
    assert inherited_present_since(101, NEEDED_SATS, parts) == LATE


def test_the_inherited_age_is_present_since_and_not_first_seen_at() -> None:
    """A fee bump of money that was away is as late as the money's return."""
    back = paid(100, at=IN_TIME, since=LATE)
    assert inherited_present_since(100, NEEDED_SATS, [back]) == LATE
