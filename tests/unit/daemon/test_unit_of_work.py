"""A unit of work logs its changes after its commit, and has no effect where it fails."""

from collections.abc import Iterator
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from daemon.unit_of_work import unit_of_work
from models.address import Address
from models.db.connection import database, disconnect
from tests.support.prepared_database import open_prepared
from tests.support.rows import fill_pool, new_payment


class Failure(Exception):
    """An error inside a unit of work."""


@pytest.fixture(autouse=True)
def opened(database_url: str) -> Iterator[None]:
    """Open a migrated database."""
    open_prepared(database_url)
    yield
    disconnect()


def test_lines_and_effects_follow_the_commit() -> None:
    payment = new_payment(1)
    seen: list[bool] = []
    with capture_logs() as logged:
        with unit_of_work("assessed") as work:
            work.log_output("output seen", payment.address_id, vout=1)
            work.after_commit(lambda: seen.append(database.in_transaction()))
            assert logged == []
        assert seen == [False]
    [line] = logged
    assert (line["event"], line["payment"], line["vout"]) == ("output seen", payment.reference, 1)
    assert line["log_level"] == "info"


def test_an_output_without_a_request_is_a_warning() -> None:
    """The request may be missing from a restored backup."""
    fill_pool(1)
    with capture_logs() as logged, unit_of_work("assessed") as work:
        work.log_output("output seen", Address.get().id)
    assert [(line["log_level"], line["payment"]) for line in logged] == [("warning", None)]


def test_a_failed_unit_logs_nothing_and_calls_nothing() -> None:
    payment = new_payment(1)
    with capture_logs() as logged:
        with suppress(Failure), unit_of_work("assessed") as work:
            work.log_output("output seen", payment.address_id)
            work.after_commit(lambda: pytest.fail("called"))
            raise Failure
        with unit_of_work("assessed"):
            pass
    assert logged == []


def test_a_unit_inside_another_is_refused() -> None:
    """The lines of the inner unit would be logged before the commit of the outer one."""
    payment = new_payment(1)
    with capture_logs() as logged, unit_of_work("block-connected") as work:
        work.log_output("output seen", payment.address_id)
        with pytest.raises(AssertionError), unit_of_work("assessed"):
            pytest.fail("entered")
    assert [line["event"] for line in logged] == ["output seen"]
