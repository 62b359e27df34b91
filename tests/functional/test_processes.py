"""The servers start, stop and take over as an operator's service manager expects."""

import os
import stat
from collections.abc import Iterator

import pytest

from regtest.process import Process, StartPython, start_python
from tests.support.customer import Customer
from tests.support.merchant import Merchant

CONTRACT_SECONDS = 5.0
"""Both servers stop, and a standby takes over, within this time (docs/spec.md 1)."""


@pytest.fixture(scope="module", autouse=True)
def careless_umask() -> Iterator[None]:
    """Clear the umask, so that a file without an explicit mode is open to all."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture(scope="module")
def start_program() -> StartPython:
    """Return the function that starts each program in an interpreter of its own, as systemd does."""
    return start_python


@pytest.fixture
def standby(merchant: Merchant) -> Iterator[Process]:
    """Start a second daemon on the till's database, which stands by."""
    second = Process(
        "run_daemon.py", merchant.installation.environ, merchant.installation.directory, "standby"
    )
    with second:
        second.wait_for_line("standby", "another daemon works on this database")
        yield second


def test_a_standby_takes_over_when_the_first_daemon_is_killed(
    merchant: Merchant, standby: Process, customer: Customer
) -> None:
    """The standby takes over within five seconds, and finds the payments made meanwhile."""
    order = merchant.request(confirmations=1)
    merchant.daemon.kill()
    customer.pay(order.address, order.amount_sats)
    standby.wait_for_line("daemon started", seconds=CONTRACT_SECONDS)
    order.wait("received")
    merchant.node.mine()
    order.wait("confirmed")

    merchant.daemon.start()
    merchant.daemon.wait_for_line("standby")
    assert standby.stop(CONTRACT_SECONDS) == 0
    merchant.daemon.wait_for_line("daemon started", seconds=CONTRACT_SECONDS)
    other = merchant.request(confirmations=0)
    customer.pay(other.address, other.amount_sats)
    other.wait_told("received", "confirmed")
    order.wait_told("received", "confirmed")


def test_a_standby_stops_on_sigterm(merchant: Merchant, standby: Process) -> None:
    assert standby.stop(CONTRACT_SECONDS) == 0
    assert merchant.daemon.is_running


def test_both_servers_stop_in_time_and_lose_nothing(merchant: Merchant, customer: Customer) -> None:
    """After SIGTERM the exit status is 0 within five seconds, even just after a payment."""
    order = merchant.request(confirmations=1)
    customer.pay(order.address, order.amount_sats)
    assert merchant.daemon.stop(CONTRACT_SECONDS) == 0
    assert merchant.web.stop(CONTRACT_SECONDS) == 0
    merchant.node.mine()
    merchant.web.start()
    merchant.daemon.start()
    merchant.web.wait_until(lambda: merchant.client.try_get("/health"), "answer")
    order.wait("confirmed")
    order.wait_told("received", "confirmed")


def test_requests_are_answered_while_the_daemon_is_down(merchant: Merchant) -> None:
    """Addresses come from the pool. With an empty pool the answer is 503 with Retry-After."""
    merchant.daemon.stop()
    body = {"seller_id": "company1", "amount_fiat": "10.00", "currency": "EUR"}
    answers = [merchant.client.post("/api/v1/payments", body) for _ in range(25)]
    statuses = [answer.status for answer in answers]
    refused = answers[-1]
    assert sorted(set(statuses)) == [201, 503]
    assert refused.headers["Retry-After"].isdigit()
    merchant.daemon.start()
    assert merchant.request().now()["status"] == "new"
    merchant.wait_well()


def test_only_the_owner_can_access_files_of_the_servers(merchant: Merchant, customer: Customer) -> None:
    """Databases, journals, locks, emails and logs are closed to others, even with an open umask."""
    order = merchant.request(confirmations=0)
    customer.pay(order.address, order.amount_sats)
    order.wait_told("received", "confirmed")
    paths = [*merchant.installation.directory.rglob("*")]
    if merchant.installation.settings["DATABASE_URL"].startswith("sqlite:"):
        assert any(path.name.endswith("-wal") for path in paths)
    for path in paths:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
