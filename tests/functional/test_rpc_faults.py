"""The daemon waits out and reports each fault of bitcoind's RPC, and stores no false event."""

from collections.abc import Iterator

import pytest

from regtest.node import RegtestNode
from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.merchant import Merchant
from tests.support.rpc_fault_server import RpcFault, RpcFaultServer

CONTRACT_SECONDS = 5.0
MAX_PARALLEL_CALLS = 8

PROBLEMS = {
    RpcFault.BUSY: "gave no answer",
    RpcFault.WARMUP: "is starting",
    RpcFault.GARBAGE: "BITCOIND_RPC_URL",
    RpcFault.NOT_RPC: "BITCOIND_RPC_URL",
    RpcFault.NO_HTTP: "cannot be reached",
    RpcFault.HALF: "cannot be reached",
    RpcFault.STALL: "cannot be reached",
    RpcFault.SILENCE: "has not answered",
    RpcFault.DROP: "cannot be reached",
    RpcFault.LOWER_TIP: "behind the one already read",
}
"""The text in /health for each fault."""


@pytest.fixture(scope="module")
def server(regtest_node: RegtestNode) -> Iterator[RpcFaultServer]:
    """Start a server that the till uses as its bitcoind, and that can return faults."""
    with RpcFaultServer(regtest_node) as running:
        yield running


@pytest.fixture(scope="module")
def merchant(make_merchant: MerchantMaker, server: RpcFaultServer) -> Merchant:
    """Open a merchant that reconciles each second."""
    return make_merchant(RECONCILE_INTERVAL="1", **server.settings).open()


def test_each_fault_has_its_problem() -> None:
    """SCANNING has a test of its own."""
    assert PROBLEMS.keys() == set(RpcFault) - {RpcFault.NONE, RpcFault.SCANNING}


@pytest.mark.parametrize("fault", PROBLEMS, ids=lambda fault: fault.name.lower())
def test_no_fault_of_rpc_reverts_or_loses_a_payment(
    merchant: Merchant, server: RpcFaultServer, customer: Customer, fault: RpcFault
) -> None:
    """/health names the fault, and requests are answered. Payments made meanwhile are found afterwards."""
    confirmed, received = merchant.request(confirmations=1), merchant.request(confirmations=3)
    customer.pay(confirmed.address, confirmed.amount_sats)
    confirmed.wait("received")
    merchant.node.mine()
    confirmed.wait("confirmed")
    customer.pay(received.address, received.amount_sats)
    received.wait("received")
    merchant.wait_well()

    server.begin(fault)
    merchant.wait_problem(PROBLEMS[fault])
    order = merchant.request(confirmations=1)
    customer.pay(order.address, order.amount_sats)
    merchant.wait_heartbeat()
    assert order.now() == order.document
    assert confirmed.events() == ["received", "confirmed"]
    assert received.events() == ["received"]

    server.end()
    order.wait("received")
    merchant.node.mine()
    order.wait("confirmed")
    merchant.wait_well()
    order.wait_told("received", "confirmed")
    confirmed.wait_told("received", "confirmed")
    received.wait_told("received")


def test_payments_are_found_while_the_wallet_is_rescanning(
    merchant: Merchant, server: RpcFaultServer, customer: Customer
) -> None:
    """/health reports that new addresses have to wait."""
    server.begin(RpcFault.SCANNING)
    merchant.wait_problem(f"wallet {merchant.wallet} is rescanning")
    order = merchant.request(confirmations=1)
    customer.pay(order.address, order.amount_sats)
    order.wait("received")
    merchant.daemon.stop()
    other = merchant.request(confirmations=1)
    customer.pay(other.address, other.amount_sats)
    merchant.daemon.start()
    other.wait("received")
    merchant.node.mine()
    for each in (order, other):
        each.wait("confirmed")
        each.wait_told("received", "confirmed")
    server.end()
    merchant.wait_well()


def test_a_daemon_that_waits_for_bitcoind_stops_in_time(merchant: Merchant, server: RpcFaultServer) -> None:
    """The exit status is 0 within five seconds, at the start and later."""
    server.begin(RpcFault.SILENCE)
    merchant.wait_problem("has not answered")
    assert merchant.daemon.stop(CONTRACT_SECONDS) == 0
    merchant.daemon.start()
    merchant.daemon.wait_for_line("daemon started")
    assert merchant.daemon.stop(CONTRACT_SECONDS) == 0
    server.end()
    merchant.daemon.start()
    merchant.wait_well()


def test_bitcoind_never_gets_too_many_calls_at_once(server: RpcFaultServer) -> None:
    """bitcoind's queue is for other programs too."""
    assert 1 <= server.most_at_once <= MAX_PARALLEL_CALLS
