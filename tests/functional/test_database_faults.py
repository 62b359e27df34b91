"""The database can't be written. No work is half done, and the servers continue by themselves afterwards."""

import resource
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from models.address import Address
from models.block import stored_tip
from models.db.connection import database, disconnect
from models.outbox import Event
from models.payment import PaymentRequest
from regtest.client import ApiResponse
from tests.conftest import NewDatabase, sqlite_in
from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.merchant import SELLER, Merchant
from tests.support.postgres import PostgresServer
from tests.support.scenario import Scenario
from tests.support.web_server import BODY, open_shop, serving, settings_of

CONTRACT_SECONDS = 5.0
A_WHILE = timedelta(seconds=1)
FULL_BYTES = 4096
MANY = 20


@pytest.fixture(scope="session")
def new_database() -> NewDatabase:
    """Use SQLite on each kind of database, because these faults are a full disk and a lock on the file."""
    return sqlite_in


def _read_only() -> dict[str, int]:
    return {"query_only": 1}


def _full() -> dict[str, int]:
    """Return a limit that permits no further page."""
    return {"max_page_count": int(database.obj.pragma("page_count"))}


@contextmanager
def _unwritable(pragmas: dict[str, int]) -> Iterator[None]:
    """Set these pragmas on all connections of this process."""
    usual = database.obj._pragmas
    database.obj._pragmas = [*usual, *pragmas.items()]
    disconnect()
    yield
    database.obj._pragmas = usual
    disconnect()


def _remove_free_pages() -> None:
    """Make the next rows need new pages."""
    database.obj.execute_sql("VACUUM")


@pytest.mark.parametrize("fault", [_read_only, _full])
def test_the_daemon_continues_after_an_unwritable_database(scenario: Scenario, fault: Any) -> None:
    """Payments, blocks and a reorg come during the fault. No event comes before it is stored."""
    scenario.begin()
    requests = [scenario.request(2_000) for _ in range(MANY)]
    scenario.chain.mine()
    scenario.settle()
    scenario.daemon.stop()
    _remove_free_pages()
    tip, events = stored_tip(), Event.select().count()
    with _unwritable(fault()):
        scenario.daemon.start()
        scenario.is_rough = True
        sent = [scenario.pay([(request, 2_000)], is_public=False) for request in requests]
        scenario.chain.mine(sent)
        scenario.chain.reorg(1, [sent])
        until = datetime.now(UTC) + A_WHILE
        scenario.daemon.work_until(lambda: datetime.now(UTC) > until, 30)
        assert stored_tip() == tip or fault is _full
        assert Event.select().count() == events
        assert {request.row().status for request in requests} == {"new"}
    scenario.settle()
    assert {request.row().status for request in requests} == {"confirmed"}
    scenario.end()


@pytest.mark.parametrize("fault", [_read_only, _full])
def test_a_request_that_cannot_be_stored_gets_503(tmp_path: Path, fault: Any) -> None:
    """The answer has Retry-After, and no address is used. Reads work during the fault, writes after it."""
    url = f"sqlite:///{tmp_path / 'nodetill.db'}"
    with open_shop(tmp_path, url) as shop:
        first = shop.post("/api/v1/payments", BODY).json
        _remove_free_pages()
        free = Address.select().where(Address.claimed_at.is_null()).count()
        with _unwritable(fault()), serving(settings_of(tmp_path, url)) as hindered:
            answers = [hindered.post("/api/v1/payments", BODY) for _ in range(40)]
            kept = sum(answer.status == 201 for answer in answers)
            assert {answer.status for answer in answers[-5:]} == {503}
            assert answers[-1].headers["retry-after"].isdigit()
            assert hindered.get(f"/api/v1/payments/{first['payment_request_id']}").json == first
        assert Address.select().where(Address.claimed_at.is_null()).count() == free - kept
        assert PaymentRequest.select().count() == 1 + kept
        assert shop.post("/api/v1/payments", BODY).status == 201


def _limit_files(merchant: Merchant, size: int) -> None:
    """Limit each file that the merchant's servers write: database, Maildir and log."""
    for server in (merchant.daemon, merchant.web):
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def _create(merchant: Merchant) -> ApiResponse:
    body = {"seller_id": SELLER, "amount_fiat": "10.00", "currency": "EUR"}
    return merchant.client.post("/api/v1/payments", body)


def test_a_full_disk_delays_payments_without_loss(merchant: Merchant, customer: Customer) -> None:
    """Database, Maildir and log can't grow. The servers continue by themselves when there is space again."""
    paid, order = merchant.request(confirmations=1), merchant.request(confirmations=1)
    _limit_files(merchant, FULL_BYTES)
    customer.pay(paid.address, paid.amount_sats)
    merchant.node.mine()
    refused = _create(merchant)
    assert refused.status == 503, refused.body
    assert refused.headers["Retry-After"].isdigit()
    merchant.wait(lambda: merchant.health().document["daemon"]["heartbeat_age"] > 3, "have an old heartbeat")
    assert paid.now() == paid.document
    assert merchant.daemon.is_running

    _limit_files(merchant, resource.RLIM_INFINITY)
    paid.wait("confirmed")
    paid.wait_told("received", "confirmed")
    customer.pay(order.address, order.amount_sats)
    order.wait("received")
    order.wait_told("received")
    assert _create(merchant).status == 201
    merchant.wait_well()


def test_both_servers_stop_in_time_while_the_database_is_locked(merchant: Merchant) -> None:
    """The exit status is 0 within five seconds."""
    path = merchant.installation.settings["DATABASE_URL"].removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        age = merchant.health().document["daemon"]["heartbeat_age"]
        merchant.wait(
            lambda: merchant.health().document["daemon"]["heartbeat_age"] > age + 2, "wait for the lock"
        )
        statuses: list[int] = []
        caller = threading.Thread(target=lambda: statuses.append(_create(merchant).status))
        caller.start()
        assert merchant.daemon.stop(CONTRACT_SECONDS) == 0
        assert merchant.web.stop(CONTRACT_SECONDS + 1) == 0
        caller.join()
        connection.execute("ROLLBACK")
    assert statuses in ([503], [])
    merchant.daemon.start()
    merchant.web.start()
    merchant.web.wait_until(lambda: merchant.client.try_get("/health"), "answer")
    merchant.wait_well()


def _sold(answers: list[ApiResponse]) -> int:
    return [answer.status for answer in answers].count(201)


def _has_sold_more(answers: list[ApiResponse], than: int) -> bool:
    return _sold(answers) > than


def test_restarts_of_postgresql_under_load_lose_nothing(
    make_merchant: MerchantMaker, customer: Customer
) -> None:
    """Calls get 503 during a restart. Each request with the answer 201 is stored. No payment is missing."""
    with PostgresServer() as server:
        merchant = make_merchant(DATABASE_URL=server.new_database(), ADDRESS_POOL="200").open()
        merchant.wait_full()
        orders = [merchant.request(confirmations=1) for _ in range(3)]
        customer.pay(orders[0].address, orders[0].amount_sats)
        orders[0].wait("received")
        answers: list[ApiResponse] = []
        is_over = threading.Event()

        def buy() -> None:
            while not is_over.is_set():
                answers.append(_create(merchant))
                is_over.wait(0.05)

        buyers = [threading.Thread(target=buy) for _ in range(2)]
        for buyer in buyers:
            buyer.start()
        merchant.wait(lambda: len(answers) >= 5, "sell")
        for order in orders[1:]:
            server.restart()
            customer.pay(order.address, order.amount_sats)
            sold = _sold(answers)
            merchant.wait(partial(_has_sold_more, answers, sold), "sell again")
        is_over.set()
        for buyer in buyers:
            buyer.join()
        merchant.node.mine()
        for order in orders:
            order.wait("confirmed")
            order.wait_told("received", "confirmed")
        assert {answer.status for answer in answers} <= {201, 503}
        with merchant.database():
            stored = list(PaymentRequest.select())
            claimed = {row.id: row for row in Address.select().where(Address.claimed_at.is_null(False))}
        kept = {answer.document["payment_request_id"] for answer in answers if answer.status == 201}
        assert kept <= {row.reference for row in stored}
        claims = [row.address_id for row in stored]
        assert len(set(claims)) == len(claims)
        assert set(claims) <= claimed.keys()
        # No call has used up an address without a request. But the pool may have got addresses from the
        # wallet and failed to store them. The daemon claims them as it takes them in, so nobody gets them.
        unsold = [row for row in claimed.values() if row.id not in claims]
        assert [row.address for row in unsold if row.claimed_at != row.created_at] == []
        merchant.close()


def test_the_daemon_continues_after_a_read_only_postgresql(
    make_merchant: MerchantMaker, postgres: PostgresServer, customer: Customer
) -> None:
    """A standby is read-only. The servers continue without a crash and without loss."""
    merchant = make_merchant(DATABASE_URL=postgres.new_database()).open()
    order = merchant.request(confirmations=1)
    _set_read_only(merchant, "on")
    customer.pay(order.address, order.amount_sats)
    merchant.wait(lambda: _create(merchant).status == 503, "refuse requests")
    merchant.daemon.wait_for_line("standby", "read-only")
    _set_read_only(merchant, "off")
    merchant.node.mine()
    order.wait("confirmed")
    order.wait_told("received", "confirmed")
    merchant.wait(lambda: _create(merchant).status == 201, "sell again")


def _set_read_only(merchant: Merchant, value: str) -> None:
    """Set it for new connections, and end all others."""
    with psycopg.connect(merchant.installation.settings["DATABASE_URL"], autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        name = connection.info.dbname
        connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = {value}')
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
