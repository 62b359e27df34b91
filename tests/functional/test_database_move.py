"""An installation moves from SQLite to PostgreSQL while payments are open."""

import pytest

from models.payment import PaymentRequest
from tests.conftest import NewDatabase, sqlite_in
from tests.support.customer import Customer
from tests.support.merchant import Merchant
from tests.support.postgres import PostgresServer


@pytest.fixture(scope="session")
def new_database() -> NewDatabase:
    """Start on SQLite with each TEST_DATABASE, because the test copies from SQLite."""
    return sqlite_in


def _move(merchant: Merchant, url: str) -> dict[str, int]:
    """Stop the servers, copy the database, change DATABASE_URL and start again, as README describes.

    Return the number of copied rows of each table.
    """
    merchant.installation.stop()
    (merchant.installation.directory / "new-url").write_text(url)
    report = merchant.installation.manage_json("database", "copy", "--to-file", "new-url")
    environments = (
        merchant.installation.settings,
        merchant.installation.environ,
        merchant.daemon.environ,
        merchant.web.environ,
    )
    for settings in environments:
        settings["DATABASE_URL"] = url
    merchant.daemon.start()
    merchant.web.start()
    merchant.web.wait_until(lambda: merchant.client.try_get("/health"), "answer")
    copied: dict[str, int] = report["copied"]
    return copied


def test_a_moved_installation_continues_its_work(
    merchant: Merchant, postgres: PostgresServer, customer: Customer
) -> None:
    """Keys, requests and undelivered messages move too. No message is delivered twice."""
    done, paid, unpaid = (merchant.request(confirmations=1, note="Alpakasöckchen") for _ in range(3))
    customer.pay(done.address, done.amount_sats)
    merchant.node.mine()
    done.wait("confirmed")
    customer.pay(paid.address, paid.amount_sats)
    paid.wait("received")
    done.wait_told("received", "confirmed")
    paid.wait_told("received")
    before = done.now()

    copied = _move(merchant, postgres.new_database())
    assert copied["payment_request"] == 3
    assert copied["message"] == 3
    assert done.now() == before
    merchant.node.mine()
    paid.wait("confirmed")
    paid.wait_told("received", "confirmed")
    customer.pay(unpaid.address, unpaid.amount_sats)
    fresh = merchant.request(confirmations=0)
    customer.pay(fresh.address, fresh.amount_sats)
    fresh.wait_told("received", "confirmed")
    unpaid.wait_told("received")
    done.wait_told("received", "confirmed")
    merchant.wait_well()
    assert merchant.installation.manage_json("audit")["differences"] == []
    with merchant.database():
        assert PaymentRequest.select().count() == 4
