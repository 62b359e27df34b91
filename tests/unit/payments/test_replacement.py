"""A replacement inherits the age of the money that it takes the place of, and no more."""

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
def test_a_replacement_brings_no_more_or_what_it_replaces_covered(
    brought_sats: int, added_sats: int, expected: datetime | None
) -> None:
    """A small part keeps the price for nobody, and a satoshi more on top of a full payment is no fault."""
    assert inherited_present_since(added_sats, NEEDED_SATS, [gone(paid(brought_sats))]) == expected


def test_nothing_is_inherited_of_nothing() -> None:
    """A payment that replaces none of the request's is as old as itself."""
    assert inherited_present_since(1, NEEDED_SATS, []) is None


def test_several_parts_are_as_old_as_the_one_that_makes_them_enough() -> None:
    """An old part lends its age to as much as it brought itself: late money does not become good by it."""
    parts = [paid(90, since=LATE, txid="b"), paid(10, since=IN_TIME)]
    assert inherited_present_since(10, NEEDED_SATS, parts) == IN_TIME
    assert inherited_present_since(11, NEEDED_SATS, parts) == LATE
    assert inherited_present_since(100, NEEDED_SATS, parts) == LATE
    assert inherited_present_since(101, NEEDED_SATS, parts) == LATE


def test_the_age_is_that_of_the_presence_not_of_the_first_sight() -> None:
    """A bump of money that was away is as late as its return."""
    back = paid(100, at=IN_TIME, since=LATE)
    assert inherited_present_since(100, NEEDED_SATS, [back]) == LATE
