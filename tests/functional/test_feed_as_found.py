"""With `auto` the daemon takes the feed that bitcoind has: other topics, one address, or no feed at all.

One daemon runs through all tests, and each test starts its node again with other topics. All of them are no
problem for /health, and payments are found without RECONCILE_INTERVAL. Each test runs on a real bitcoind and
on the node in memory.
"""

import os
import signal
from collections.abc import Callable, Iterator
from typing import cast

import pytest

from models.daemon_status import daemon_report
from regtest.child import free_ports
from regtest.node import RegtestNode
from tests.functional.conftest import MerchantMaker, run_node
from tests.support.customer import Customer
from tests.support.in_memory_bitcoind import InMemoryBitcoind
from tests.support.merchant import Merchant

DEFAULT_MARK = 1000
"""bitcoind's DEFAULT_ZMQ_SNDHWM."""

LARGE_BYTES = 900_000
"""The size of a transaction that fills the kernel's buffers. The messages after it wait in bitcoind."""

AnyNode = RegtestNode | InMemoryBitcoind
Topic = tuple[str, str]


@pytest.fixture(scope="module", params=["memory", pytest.param("bitcoind", marks=pytest.mark.bitcoind)])
def regtest_node(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RegtestNode]:
    """Yield a node of each kind, whose customer has coins."""
    is_real = request.param == "bitcoind"
    yield from run_node(request, tmp_path_factory.mktemp("node"), is_real=is_real)


@pytest.fixture(scope="module")
def merchant(make_merchant: MerchantMaker) -> Merchant:
    """Return a merchant whose daemon looks once an hour while the feed is whole."""
    auto = {"BITCOIND_ZMQ_RAWTX": "auto", "BITCOIND_ZMQ_HASHBLOCK": "auto"}
    return make_merchant(RECONCILE_INTERVAL="3600", **auto).open()


@pytest.fixture
def publish(merchant: Merchant) -> Callable[..., None]:
    """Return a function that starts the node again with these topics alone, and the default marks."""
    node = cast(AnyNode, merchant.node)

    def restart(*topics: Topic) -> None:
        if isinstance(node, InMemoryBitcoind):
            node.topics = [(topic, address, DEFAULT_MARK) for topic, address in topics]
        else:
            node.extra = [
                *(each for each in node.extra if "zmqpub" not in each),
                *(f"-nozmqpub{topic}" for topic in ("rawtx", "hashblock")),
                *(f"-zmqpub{topic}={address}" for topic, address in topics),
                *(f"-zmqpub{topic}hwm={DEFAULT_MARK}" for topic in ("rawtx", "hashblock")),
            ]
        node.restart()

    return restart


def addresses(count: int, host: str = "127.0.0.1") -> list[str]:
    return [f"tcp://{host}:{port}" for port in free_ports(count)]


def wait_advice(merchant: Merchant, *parts: str) -> None:
    """Wait until the daemon gives this advice, as one line for each of `parts`, and all is well.

    The feed is connected then, because a source without a connection gets a line, too.
    """

    def has_advice() -> bool:
        with merchant.database():
            report = daemon_report()
        lines = report.advice
        is_given = len(lines) == len(parts) and all(any(part in line for line in lines) for part in parts)
        return is_given and not report.problems

    merchant.wait(has_advice, f"give the advice {parts}")
    merchant.wait_well()


def messages(merchant: Merchant, topic: str) -> int:
    with merchant.database():
        return int(daemon_report().counters.get("feed_messages", {}).get(topic, 0))


def check_payment(merchant: Merchant, customer: Customer, *topics: str) -> None:
    """Pay a request, mine a block, and check both events. The feed brings a message of each of `topics`."""
    before = {topic: messages(merchant, topic) for topic in topics}
    order = merchant.request(confirmations=1)
    customer.pay(order.address, order.amount_sats)
    order.wait("received")
    merchant.node.mine()
    order.wait("confirmed")
    order.wait_told("received", "confirmed")
    merchant.wait(
        lambda: all(messages(merchant, topic) > before[topic] for topic in topics), "count the messages"
    )


SMALL_MARK = "keeps 1000 messages of rawtx"


def test_wildcards_and_other_ports_after_a_restart_are_followed(
    merchant: Merchant, customer: Customer, publish: Callable[..., None]
) -> None:
    """bitcoind names 0.0.0.0, and the daemon connects to the host of the RPC URL."""
    for _ in range(2):
        rawtx, hashblock = addresses(2, "0.0.0.0")
        publish(("rawtx", rawtx), ("hashblock", hashblock))
        port = rawtx.rpartition(":")[2]
        wait_advice(merchant, f"{SMALL_MARK} at tcp://0.0.0.0:{port}")
        check_payment(merchant, customer, "rawtx", "hashblock")


def test_rawblock_alone_announces_blocks(
    merchant: Merchant, customer: Customer, publish: Callable[..., None]
) -> None:
    """The mempool is read every two seconds instead of rawtx."""
    (address,) = addresses(1)
    publish(("rawblock", address))
    wait_advice(merchant, "does not publish rawtx")
    check_payment(merchant, customer, "hashblock")


def test_rawtx_alone_brings_transactions(
    merchant: Merchant, customer: Customer, publish: Callable[..., None]
) -> None:
    """The chain is read every two seconds instead of hashblock."""
    (address,) = addresses(1)
    publish(("rawtx", address))
    wait_advice(merchant, "neither hashblock nor rawblock", SMALL_MARK)
    check_payment(merchant, customer, "rawtx")


def test_without_a_feed_payments_and_blocks_are_found(
    merchant: Merchant, customer: Customer, publish: Callable[..., None]
) -> None:
    publish()
    wait_advice(merchant, "does not publish rawtx", "neither hashblock nor rawblock")
    check_payment(merchant, customer)


def test_one_address_with_default_marks_works(
    merchant: Merchant, customer: Customer, publish: Callable[..., None]
) -> None:
    """Each topic still has a socket of its own in the daemon."""
    (address,) = addresses(1)
    publish(*((topic, address) for topic in ("rawtx", "hashblock", "rawblock")))
    wait_advice(merchant, f"{SMALL_MARK} at {address}")
    check_payment(merchant, customer, "rawtx", "hashblock")
    if not isinstance(cast(AnyNode, merchant.node), InMemoryBitcoind):
        check_loss(merchant, customer)


def check_loss(merchant: Merchant, customer: Customer) -> None:
    """Stop the daemon until bitcoind drops messages, pay, and check that the gap leads to the payment."""
    order = merchant.request(confirmations=1)
    customer.mine_only(customer.write_data(LARGE_BYTES).raw)
    merchant.wait_tip()
    os.kill(merchant.daemon.pid, signal.SIGSTOP)
    try:
        publish_again(merchant.node, depth=1, rounds=6)
        publish_again(merchant.node, depth=merchant.node.rpc("getblockcount"), rounds=6)
        customer.pay(order.address, order.amount_sats)
    finally:
        os.kill(merchant.daemon.pid, signal.SIGCONT)
    # While the daemon reads the full queue, bitcoind drops the next message, too.
    for _ in range(2):
        merchant.wait_heartbeat()
    check_payment(merchant, customer)
    order.wait("confirmed")
    order.wait_told("received", "confirmed")
    wait_advice(merchant, SMALL_MARK, "messages since the daemon started")


def publish_again(node: RegtestNode, depth: int, rounds: int) -> None:
    """Let bitcoind publish the transactions of the top blocks twice in each round.

    bitcoind publishes the transactions of a block that it disconnects, and of a block that it connects.
    """
    block_hash = node.rpc("getblockhash", node.rpc("getblockcount") - depth + 1)
    for _ in range(rounds):
        node.rpc("invalidateblock", block_hash)
        node.rpc("reconsiderblock", block_hash)
