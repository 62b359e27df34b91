"""Outputs are stored with the time at which they can have appeared."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from daemon.chain.outputs import record_unconfirmed
from daemon.chain.watchlist import Watchlist
from daemon.unit_of_work import unit_of_work
from models.daemon_status import daemon_report, update_report
from models.db.connection import disconnect
from models.output import Output
from payments.transaction import Transaction
from tests.support.prepared_database import open_prepared
from tests.support.rows import NOW, fill_pool, script

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def opened(database_url: str) -> Iterator[None]:
    """Open a migrated database."""
    open_prepared(database_url)
    yield
    disconnect()


@pytest.mark.parametrize(("looked_at", "first_seen_at"), [(None, NOW - HOUR), (NOW, NOW)])
def test_a_payment_to_a_free_address_is_stored_before_and_after_the_first_complete_look(
    looked_at: object, first_seen_at: object
) -> None:
    """Another program may use the same keys. The output was absent at a complete look before."""
    fill_pool(1)
    if looked_at is not None:
        update_report(complete_look_at=looked_at)
    assert daemon_report().complete_look_at == looked_at
    watch = Watchlist()
    transaction = Transaction([], [(1000, script(0))])
    [match] = watch.matches([transaction])
    with unit_of_work("mempool-recorded") as work:
        record_unconfirmed(work, match, NOW - HOUR, NOW + HOUR, [transaction], watch)
    assert Output.get().first_seen_at == first_seen_at
