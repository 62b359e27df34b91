"""bitcoind answers badly, or not at all: that is waited out, told of, and nothing untrue comes of it."""

from collections.abc import Iterator

import pytest

from regtest.node import RegtestNode
from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.merchant import Merchant
from tests.support.rpc_fault_server import RpcFault, RpcFaultServer

pytestmark = pytest.mark.bitcoind

CONTRACT_SECONDS = 5.0
CALLS_AT_ONCE = 8

TOLD = {
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
"""What /health says of each."""


@pytest.fixture(scope="module")
def server(regtest_node: RegtestNode) -> Iterator[RpcFaultServer]:
    """What the till takes for bitcoind."""
    with RpcFaultServer(regtest_node) as running:
        yield running


@pytest.fixture(scope="module")
def till(make_till: MerchantMaker, server: RpcFaultServer) -> Merchant:
    """It looks at bitcoind by itself every second."""
    return make_till(RECONCILE_INTERVAL="1", **server.settings).open()


def test_every_fault_has_its_line() -> None:
    """Those below are all that there are."""
    assert TOLD.keys() == set(RpcFault) - {RpcFault.NONE, RpcFault.SCANNING}


@pytest.mark.parametrize("fault", TOLD, ids=lambda fault: fault.name.lower())
def test_a_fault_takes_nothing_back_and_loses_nothing(
    till: Merchant, server: RpcFaultServer, customer: Customer, fault: RpcFault
) -> None:
    """/health says what is wrong; requests are answered; what came meanwhile is found when it is over."""
    confirmed, received = till.request(confirmations=1), till.request(confirmations=3)
    customer.pay(confirmed.address, confirmed.amount_sats)
    confirmed.wait("received")
    till.node.mine()
    confirmed.wait("confirmed")
    customer.pay(received.address, received.amount_sats)
    received.wait("received")
    till.wait_well()

    server.begin(fault)
    till.wait_problem(TOLD[fault])
    order = till.request(confirmations=1)
    customer.pay(order.address, order.amount_sats)
    before = till.heartbeat_at()
    till.wait(lambda: till.heartbeat_at() != before, "go on living")
    assert order.now() == order.document
    assert confirmed.events() == ["received", "confirmed"]
    assert received.events() == ["received"]

    server.end()
    order.wait("received")
    till.node.mine()
    order.wait("confirmed")
    till.wait_well()
    order.wait_told("received", "confirmed")
    confirmed.wait_told("received", "confirmed")
    received.wait_told("received")


def test_without_its_wallet_s_word_payments_are_found(
    till: Merchant, server: RpcFaultServer, customer: Customer
) -> None:
    """It rescans: new addresses have to wait, which /health says, and detection goes on without it."""
    server.begin(RpcFault.SCANNING)
    till.wait_problem(f"wallet {till.wallet} is rescanning")
    order = till.request(confirmations=1)
    customer.pay(order.address, order.amount_sats)
    order.wait("received")
    till.daemon.stop()
    other = till.request(confirmations=1)
    customer.pay(other.address, other.amount_sats)
    till.daemon.start()
    other.wait("received")
    till.node.mine()
    for each in (order, other):
        each.wait("confirmed")
        each.wait_told("received", "confirmed")
    server.end()
    till.wait_well()


def test_a_daemon_that_waits_for_bitcoind_stops_in_time(till: Merchant, server: RpcFaultServer) -> None:
    """Whatever it waits for: exit status 0 within five seconds."""
    server.begin(RpcFault.SILENCE)
    till.wait_problem("has not answered")
    assert till.daemon.stop(CONTRACT_SECONDS) == 0
    till.daemon.start()
    till.daemon.wait_for_line("daemon started")
    assert till.daemon.stop(CONTRACT_SECONDS) == 0
    server.end()
    till.daemon.start()
    till.wait_well()


def test_bitcoind_is_never_asked_too_much_at_once(server: RpcFaultServer) -> None:
    """Its queue is for others too."""
    assert 1 <= server.most_at_once <= CALLS_AT_ONCE
