"""Payments, fee bumps, double-spends and blocks while the daemon is down. Its next start reports them all."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from structlog.testing import CapturingLogger

from daemon import progress
from tests.support.customer import Customer
from tests.support.merchant import Merchant
from tests.support.scenario import Scenario
from tests.support.waiting import wait_until


@contextmanager
def down(merchant: Merchant) -> Iterator[None]:
    """Stop the daemon for the length of the block."""
    assert merchant.daemon.stop() == 0
    yield
    merchant.daemon.start()


def test_a_missed_payment_has_the_time_of_its_mempool_entry(merchant: Merchant, customer: Customer) -> None:
    """The request is received at the start. The payment's first_seen_at is bitcoind's time."""
    order = merchant.request()
    with down(merchant):
        sent = customer.pay(order.address, order.amount_sats)
        entered_at = merchant.node.rpc("getmempoolentry", sent.txid)["time"]
        wait_until(lambda: datetime.now(UTC).timestamp() > entered_at + 2, what="two seconds to pass")
    (part,) = order.wait("received", txid=sent.txid)["transactions"]
    assert datetime.fromisoformat(part["first_seen_at"]).timestamp() == entered_at
    order.wait_told("received")


def test_a_missed_double_spend_is_found_at_the_start(merchant: Merchant, customer: Customer) -> None:
    """The start looks up each unconfirmed payment at bitcoind."""
    order = merchant.request()
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("received")
    with down(merchant):
        double_spend = customer.double_spend(sent)
    order.wait("new")
    assert order.transactions()[sent.txid]["replaced_by"] == double_spend.txid
    order.wait_told("received", "reverted")


def test_a_missed_double_spend_in_a_block_is_found(merchant: Merchant, customer: Customer) -> None:
    """The daemon did not see the payment leave the mempool."""
    order = merchant.request()
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("received")
    with down(merchant):
        customer.mine_only(customer.sign_double_spend(sent).raw)
        merchant.node.mine(2)
    order.wait("new")
    order.wait_told("received", "reverted")


def test_a_missed_fee_bump_has_no_event(merchant: Merchant, customer: Customer) -> None:
    """The daemon finds the replacement and the original together. received_at stays the same."""
    order = merchant.request()
    sent = customer.pay(order.address, order.amount_sats)
    received_at = order.wait("received")["received_at"]
    with down(merchant):
        bumped = customer.bump_fee(sent)
    order.wait("received", txid=bumped.txid, received_at=received_at)
    order.wait_told("received")


def test_payments_in_a_thousand_missed_blocks_are_confirmed(merchant: Merchant, customer: Customer) -> None:
    """Each payment has all its events and emails, and the confirmations of the chain."""
    orders = [merchant.request() for _ in range(3)]
    with down(merchant):
        for order in orders:
            customer.pay(order.address, order.amount_sats)
            merchant.node.mine(350)
    for order in orders:
        order.wait("confirmed")
        order.wait_told("received", "confirmed")
    merchant.wait_tip()
    assert orders[0].now()["confirmations"] == 1050


def test_a_killed_daemon_sends_each_event_once(merchant: Merchant, customer: Customer) -> None:
    """The next start continues after each kill. A repeated email has the same Message-ID."""
    orders = [merchant.request(confirmations=1) for _ in range(6)]
    for number, order in enumerate(orders):
        merchant.daemon.wait_for_line("daemon started")
        customer.pay(order.address, order.amount_sats)
        if number % 2:
            merchant.wait(order.events, "store an event")
        merchant.daemon.kill()
        merchant.daemon.start()
    merchant.node.mine()
    merchant.daemon.kill()
    merchant.daemon.start()
    for order in orders:
        order.wait("confirmed", confirmations=1)
        merchant.wait(order.is_all_delivered, "deliver all events")
        assert order.events() == ["received", "confirmed"]
        assert {letter["Message-ID"] for letter in order.letters()} == set(order.mailed())


def test_the_log_has_the_progress_of_catching_up(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line has the number of blocks that the daemon has read, and the total."""
    scenario.begin()
    scenario.daemon.stop()
    for _ in range(3):
        scenario.chain.mine()
    logger = CapturingLogger()
    monkeypatch.setattr(progress, "log", logger)
    monkeypatch.setattr(progress, "REPORT_SECONDS", 0.0)
    scenario.daemon.start()
    scenario.settle()
    lines = [(call.args[0], call.kwargs["done"], call.kwargs["total"]) for call in logger.calls]
    assert lines[-1] == ("catching up", 3, 3)
