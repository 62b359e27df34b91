"""The feed brings nothing. The daemon finds payments and blocks later, and /health reports the fault."""

from collections.abc import Iterator

import pytest

from regtest.child import free_ports
from regtest.node import RegtestNode
from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.merchant import Merchant
from tests.support.zmq_forwarder import ZmqForwarder

UNKNOWN_TXID = "ab" * 32


def _without_feed(make_merchant: MerchantMaker, **settings: str) -> Merchant:
    """Return a merchant whose feed has addresses without a publisher."""
    rawtx, hashblock = (f"tcp://127.0.0.1:{port}" for port in free_ports(2))
    return make_merchant(BITCOIND_ZMQ_RAWTX=rawtx, BITCOIND_ZMQ_HASHBLOCK=hashblock, **settings).open(
        is_well=False
    )


@pytest.fixture(scope="module")
def hourly(make_merchant: MerchantMaker, regtest_node: RegtestNode) -> Iterator[Merchant]:
    """Yield a merchant whose feed is connected and brings nothing, and whose daemon reconciles hourly."""
    with ZmqForwarder(regtest_node, loss=1.0) as feed:
        yield make_merchant(RECONCILE_INTERVAL="3600", **feed.settings).open(is_well=False)


@pytest.fixture(scope="module")
def frequent(make_merchant: MerchantMaker) -> Merchant:
    """Return a merchant without a feed, whose daemon reconciles every second."""
    return _without_feed(make_merchant, RECONCILE_INTERVAL="1")


def test_a_posted_txid_is_looked_up(hourly: Merchant, customer: Customer) -> None:
    """An invented txid before it changes nothing."""
    order, other = hourly.request(), hourly.request()
    sent = customer.pay(order.address, order.amount_sats)
    assert hourly.client.post(f"{other.path}/transactions", {"txid": UNKNOWN_TXID}).status == 202
    assert order.now()["status"] == "new"
    assert hourly.client.post(f"{order.path}/transactions", {"txid": sent.txid}).status == 202
    order.wait("received", txid=sent.txid)
    order.wait_told("received")
    assert other.now() == other.document
    assert other.events() == []


def test_a_txid_posted_for_another_request_counts_for_its_address(
    hourly: Merchant, customer: Customer
) -> None:
    order, other = hourly.request(), hourly.request()
    sent = customer.pay(order.address, order.amount_sats)
    assert hourly.client.post(f"{other.path}/transactions", {"txid": sent.txid}).status == 202
    order.wait("received", txid=sent.txid)
    assert other.now()["status"] == "new"
    assert other.events() == []


def test_the_txid_of_an_unsent_transaction_changes_nothing(hourly: Merchant, customer: Customer) -> None:
    """bitcoind does not have the transaction."""
    order, other = hourly.request(), hourly.request()
    unsent = customer.write({order.address: order.amount_sats})
    assert hourly.client.post(f"{order.path}/transactions", {"txid": unsent.txid}).status == 202
    sent = customer.pay(other.address, other.amount_sats)
    assert hourly.client.post(f"{other.path}/transactions", {"txid": sent.txid}).status == 202
    other.wait("received")
    assert order.now() == order.document


def test_payments_and_blocks_are_found_within_the_interval(frequent: Merchant, customer: Customer) -> None:
    """The daemon finds them within RECONCILE_INTERVAL, without the feed."""
    order, robbed = frequent.request(confirmations=1), frequent.request()
    customer.pay(order.address, order.amount_sats)
    stolen = customer.pay(robbed.address, robbed.amount_sats)
    order.wait("received")
    robbed.wait("received")
    customer.double_spend(stolen)
    robbed.wait("new")
    frequent.node.mine()
    order.wait("confirmed")
    order.wait_told("received", "confirmed")
    robbed.wait_told("received", "reverted")


def test_a_reorg_is_found_within_the_interval(frequent: Merchant, customer: Customer) -> None:
    """The daemon compares its chain with bitcoind's."""
    order = frequent.request(confirmations=1)
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("received")
    frequent.node.mine()
    order.wait("confirmed")
    customer.reorg(1, [customer.sign_double_spend(sent).raw])
    order.wait("new")
    order.wait_told("received", "confirmed", "reverted")


def test_the_fault_of_the_feed_names_the_right_address(frequent: Merchant) -> None:
    """/health and one line of the log have the setting and bitcoind's own address."""
    for topic in ("rawtx", "hashblock"):
        setting = f"BITCOIND_ZMQ_{topic.upper()}"
        published = getattr(frequent.node, f"zmq_{topic}")
        assert frequent.wait_problem(f"publishes {topic}", published, setting)
        lines = [line for line in frequent.daemon.lines() if setting in line]
        assert len(lines) == 1, lines
    assert frequent.health().status == 503
