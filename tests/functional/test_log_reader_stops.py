"""The reader of both servers' logs has stopped. The servers continue to work, and stop in time."""

import os

from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.stuck_reader import stuck_pipe

CONTRACT_SECONDS = 5.0
"""docs/spec.md 1: both servers stop within this time."""


def test_the_servers_do_not_wait_for_the_reader_of_the_log(
    make_merchant: MerchantMaker, customer: Customer
) -> None:
    """The daemon finds a payment and sends emails. SIGTERM ends both servers with exit status 0."""
    merchant = make_merchant()
    reader, writer = stuck_pipe()
    merchant.daemon.output = merchant.web.output = writer
    merchant.open()
    order = merchant.request(confirmations=1)
    customer.pay(order.address, order.amount_sats)
    order.wait("received")
    merchant.node.mine()
    order.wait_told("received", "confirmed")
    assert merchant.daemon.stop(CONTRACT_SECONDS) == 0
    assert merchant.web.stop(CONTRACT_SECONDS) == 0
    os.close(writer)
    with os.fdopen(reader) as log:
        assert log.read().strip("\n").count("\n") < 10, "the servers wrote to a full pipe"
