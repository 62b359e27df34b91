"""What happens while the daemon is down is told when it is back, as if it had been there."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from structlog.testing import CapturingLogger

from daemon import progress
from tests.support.customer import Customer
from tests.support.merchant import Merchant, subjects
from tests.support.scenario import Scenario
from tests.support.waiting import wait_until

pytestmark = pytest.mark.bitcoind


@contextmanager
def down(till: Merchant) -> Iterator[None]:
    """Without the daemon meanwhile."""
    assert till.daemon.stop() == 0
    yield
    till.daemon.start()


def test_a_payment_made_meanwhile_is_as_old_as_the_mempool_says(till: Merchant, customer: Customer) -> None:
    """It is received at the start, and first seen when bitcoind first had it."""
    order = till.request()
    with down(till):
        sent = customer.pay(order.address, order.amount_sats)
        entered_at = till.node.rpc("getmempoolentry", sent.txid)["time"]
        wait_until(lambda: datetime.now(UTC).timestamp() > entered_at + 2, what="two seconds to pass")
    (part,) = order.wait("received", txid=sent.txid)["transactions"]
    assert datetime.fromisoformat(part["first_seen_at"]).timestamp() == entered_at
    order.wait_told("received")


def test_a_double_spend_made_meanwhile_is_found_at_the_start(till: Merchant, customer: Customer) -> None:
    """The start asks after every payment that is in no block."""
    order = till.request()
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("received")
    with down(till):
        thief = customer.double_spend(sent)
    order.wait("new")
    assert order.transactions()[sent.txid]["replaced_by"] == thief.txid
    order.wait_told("received", "reverted")


def test_a_double_spend_mined_meanwhile_is_found_in_its_block(till: Merchant, customer: Customer) -> None:
    """Also where the payment itself was never seen to leave the mempool."""
    order = till.request()
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("received")
    with down(till):
        customer.mine_only(customer.sign_double_spend(sent).raw)
        till.node.mine(2)
    order.wait("new")
    order.wait_told("received", "reverted")


def test_a_fee_bump_made_meanwhile_tells_nobody(till: Merchant, customer: Customer) -> None:
    """The replacement is found together with what it replaces, and the request is as old as before."""
    order = till.request()
    sent = customer.pay(order.address, order.amount_sats)
    received_at = order.wait("received")["received_at"]
    with down(till):
        bumped = customer.bump_fee(sent)
    order.wait("received", txid=bumped.txid, received_at=received_at)
    order.wait_told("received")


def test_ten_blocks_missed_are_read_though_the_coin_is_swept_already(
    till: Merchant, customer: Customer
) -> None:
    """What is in the chain is found there, whether or not the wallet still has it."""
    order, other = till.request(), till.request()
    with down(till):
        customer.pay(order.address, order.amount_sats)
        till.node.mine()
        till.node.rpc("sendall", [customer.address()], wallet=till.wallet)
        till.node.mine(9)
        customer.pay(other.address, other.amount_sats)
    order.wait("confirmed", confirmations=10)
    letters = order.wait_told("received", "confirmed")
    assert subjects(letters) == ["Payment received", "Payment confirmed"]
    other.wait_told("received")


def test_a_thousand_blocks_missed_confirm_all_that_is_in_them(till: Merchant, customer: Customer) -> None:
    """Everything is told of each, and the depth is that of the chain."""
    orders = [till.request() for _ in range(3)]
    with down(till):
        for order in orders:
            customer.pay(order.address, order.amount_sats)
            till.node.mine(350)
    for order in orders:
        order.wait("confirmed")
        order.wait_told("received", "confirmed")
    till.wait_tip()
    assert orders[0].now()["confirmations"] == 1050


def test_a_daemon_that_is_killed_tells_everything_and_nothing_twice(
    till: Merchant, customer: Customer
) -> None:
    """Wherever the kill comes, the next start goes on; a repeated email would have the same Message-ID."""
    orders = [till.request(confirmations=1) for _ in range(6)]
    for number, order in enumerate(orders):
        till.daemon.wait_for_line("daemon started")
        customer.pay(order.address, order.amount_sats)
        if number % 2:
            till.wait(order.events, "tell of it")
        till.daemon.kill()
        till.daemon.start()
    till.node.mine()
    till.daemon.kill()
    till.daemon.start()
    for order in orders:
        order.wait("confirmed", confirmations=1)
        till.wait(order.is_all_delivered, "deliver everything")
        assert order.events() == ["received", "confirmed"]
        assert {letter["Message-ID"] for letter in order.letters()} == set(order.mailed())


def test_catching_up_tells_how_far_it_is(stage: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the log, with the block that was read and how many there are."""
    stage.begin()
    stage.daemon.stop()
    for _ in range(3):
        stage.world.mine()
    logger = CapturingLogger()
    monkeypatch.setattr(progress, "log", logger)
    monkeypatch.setattr(progress, "TELL_SECONDS", 0.0)
    stage.daemon.start()
    stage.settle()
    told = [(call.args[0], call.kwargs["done"], call.kwargs["total"]) for call in logger.calls]
    assert told[-1] == ("catching up", 3, 3)
