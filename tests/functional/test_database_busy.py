"""Another program locks the database. No work is half done, and the servers continue after the lock."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from tests.conftest import NewDatabase, sqlite_in
from tests.support.customer import Customer
from tests.support.merchant import SELLER, Merchant

BODY = {"seller_id": SELLER, "amount_fiat": "10.00", "currency": "EUR"}


@pytest.fixture(scope="session")
def new_database() -> NewDatabase:
    """Use SQLite on each kind of database, because its lock is for the whole file."""
    return sqlite_in


@contextmanager
def _locked(merchant: Merchant) -> Iterator[None]:
    """Lock the database for the length of the block."""
    path = merchant.installation.settings["DATABASE_URL"].removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")


def test_a_locked_database_delays_payments_without_loss(merchant: Merchant, customer: Customer) -> None:
    """A new request gets 503. The daemon stores a payment and its block after the end of the lock."""
    order = merchant.request(confirmations=1)
    with _locked(merchant):
        customer.pay(order.address, order.amount_sats)
        merchant.node.mine()
        answer = merchant.client.post("/api/v1/payments", BODY)
        assert answer.status == 503, answer.body
        assert answer.headers["Retry-After"].isdigit()
        merchant.daemon.wait_for_line("level=error", "database")
        assert order.now() == order.document
    order.wait("confirmed")
    order.wait_told("received", "confirmed")
    assert merchant.request().now()["status"] == "new"
    merchant.wait_well()
