"""The feed loses a third of its messages, or all. The daemon finds the transactions and blocks later."""

from collections.abc import Iterator

import pytest

from regtest.node import RegtestNode
from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.merchant import Merchant
from tests.support.zmq_forwarder import ZmqForwarder

GARBAGE = b"\x02\x00\x00\x00\x00\x01\xff"


@pytest.fixture(scope="module")
def feed(regtest_node: RegtestNode) -> Iterator[ZmqForwarder]:
    """Yield a forwarder of bitcoind's feed, which can lose messages."""
    with ZmqForwarder(regtest_node) as running:
        yield running


@pytest.fixture(scope="module")
def merchant(make_merchant: MerchantMaker, feed: ZmqForwarder) -> Merchant:
    """Return a merchant whose daemon reconciles every two seconds.

    It reports a problem, because bitcoind does not publish at the forwarder's address.
    """
    return make_merchant(RECONCILE_INTERVAL="2", **feed.settings).open(is_well=False)


@pytest.mark.parametrize("loss", [0.34, 1.0])
def test_transactions_and_blocks_of_a_lossy_feed_are_found(
    merchant: Merchant, feed: ZmqForwarder, customer: Customer, loss: float
) -> None:
    """The test has payments, a fee bump, a double-spend, blocks and a reorg. Each event comes once."""
    feed.loss = loss
    lost = feed.lost
    orders = [merchant.request(confirmations=1) for _ in range(4)]
    sent = [customer.pay(order.address, order.amount_sats) for order in orders]
    for order in orders:
        order.wait("received")
    bumped = customer.bump_fee(sent[0])
    customer.double_spend(sent[1])
    orders[1].wait("new")
    merchant.node.mine()
    for order in (orders[0], *orders[2:]):
        order.wait("confirmed")
    customer.reorg(1, [bumped.txid, sent[2].txid], [sent[3].txid])
    merchant.wait_tip()
    for order in (orders[0], *orders[2:]):
        order.wait("confirmed")
        order.wait_told("received", "confirmed")
    orders[1].wait_told("received", "reverted")
    assert feed.lost > lost


def test_forged_messages_of_the_feed_change_nothing(
    merchant: Merchant, feed: ZmqForwarder, customer: Customer
) -> None:
    """The messages have an unsent payment, an unreadable transaction, and an unknown block."""
    feed.loss = 0.0
    order = merchant.request()
    unsent = customer.write({order.address: order.amount_sats})
    feed.say(b"rawtx", bytes.fromhex(unsent.raw))
    feed.say(b"rawtx", GARBAGE)
    feed.say(b"hashblock", b"\xab" * 32)
    merchant.daemon.wait_for_line("unreadable transaction skipped")
    other = merchant.request(confirmations=0)
    customer.pay(other.address, other.amount_sats)
    other.wait("confirmed")
    assert order.now() == order.document
    assert order.events() == []
