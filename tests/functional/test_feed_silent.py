"""ZMQ brings nothing: everything is found all the same, and the operator is told what is wrong with it."""

import pytest

from regtest.child import free_ports
from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.merchant import Merchant

INVENTED = "ab" * 32


def _deaf(make_till: MerchantMaker, **settings: str) -> Merchant:
    """A till that listens where nobody speaks."""
    rawtx, hashblock = (f"tcp://127.0.0.1:{port}" for port in free_ports(2))
    return make_till(BITCOIND_ZMQ_RAWTX=rawtx, BITCOIND_ZMQ_HASHBLOCK=hashblock, **settings).open(
        is_well=False
    )


@pytest.fixture(scope="module")
def patient(make_till: MerchantMaker) -> Merchant:
    """A deaf till that looks at bitcoind by itself once an hour."""
    return _deaf(make_till, RECONCILE_INTERVAL="3600")


@pytest.fixture(scope="module")
def curious(make_till: MerchantMaker) -> Merchant:
    """A deaf till that looks at bitcoind by itself every second."""
    return _deaf(make_till, RECONCILE_INTERVAL="1")


def test_a_transaction_that_somebody_names_is_looked_up(patient: Merchant, customer: Customer) -> None:
    """Of what is posted only the txid is used; an invented one, named before, changes nothing."""
    order, other = patient.request(), patient.request()
    sent = customer.pay(order.address, order.amount_sats)
    assert patient.client.post(f"{other.path}/transactions", {"txid": INVENTED}).status == 202
    assert order.now()["status"] == "new"
    assert patient.client.post(f"{order.path}/transactions", {"txid": sent.txid}).status == 202
    order.wait("received", txid=sent.txid)
    order.wait_told("received")
    assert other.now() == other.document
    assert other.events() == []


def test_a_transaction_named_for_another_request_pays_whom_it_pays(
    patient: Merchant, customer: Customer
) -> None:
    """Where it was posted has no meaning."""
    order, other = patient.request(), patient.request()
    sent = customer.pay(order.address, order.amount_sats)
    assert patient.client.post(f"{other.path}/transactions", {"txid": sent.txid}).status == 202
    order.wait("received", txid=sent.txid)
    assert other.now()["status"] == "new"
    assert other.events() == []


def test_a_transaction_that_was_only_signed_is_no_payment(patient: Merchant, customer: Customer) -> None:
    """bitcoind does not have it, and that is all that counts."""
    order, other = patient.request(), patient.request()
    unsent = customer.write({order.address: order.amount_sats})
    assert patient.client.post(f"{order.path}/transactions", {"txid": unsent.txid}).status == 202
    sent = customer.pay(other.address, other.amount_sats)
    assert patient.client.post(f"{other.path}/transactions", {"txid": sent.txid}).status == 202
    other.wait("received")
    assert order.now() == order.document


def test_payments_and_blocks_are_found_within_the_interval(curious: Merchant, customer: Customer) -> None:
    """RECONCILE_INTERVAL is the longest that anything can stay unseen."""
    order, robbed = curious.request(confirmations=1), curious.request()
    customer.pay(order.address, order.amount_sats)
    stolen = customer.pay(robbed.address, robbed.amount_sats)
    order.wait("received")
    robbed.wait("received")
    customer.double_spend(stolen)
    robbed.wait("new")
    curious.node.mine()
    order.wait("confirmed")
    order.wait_told("received", "confirmed")
    robbed.wait_told("received", "reverted")


def test_a_reorg_is_found_within_the_interval(curious: Merchant, customer: Customer) -> None:
    """The chain is held against bitcoind's, not against what was announced."""
    order = curious.request(confirmations=1)
    sent = customer.pay(order.address, order.amount_sats)
    order.wait("received")
    curious.node.mine()
    order.wait("confirmed")
    customer.reorg(1, [customer.sign_double_spend(sent).raw])
    order.wait("new")
    order.wait_told("received", "confirmed", "reverted")


def test_the_operator_is_told_where_the_feed_is(curious: Merchant) -> None:
    """/health and one line of the log name the setting and bitcoind's own address."""
    for topic in ("rawtx", "hashblock"):
        setting = f"BITCOIND_ZMQ_{topic.upper()}"
        published = getattr(curious.node, f"zmq_{topic}")
        assert curious.wait_problem(f"publishes {topic}", published, setting)
        lines = [line for line in curious.daemon.lines() if setting in line]
        assert len(lines) == 1, lines
    assert curious.health().status == 503
