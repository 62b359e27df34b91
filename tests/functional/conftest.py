"""What the functional tests start: a node with a customer, and tills on it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest

from admin.regtest import RegtestNode
from tests.functional.customer import Customer
from tests.functional.till import Till

TillMaker = Callable[..., Till]


@pytest.fixture(scope="module")
def regtest_node(start_node: Callable[..., RegtestNode]) -> RegtestNode:
    """A bitcoind that the tests of a module share; its customer has coins.

    They were mined an hour ago: blocks that are mined at once have times ahead of the clock, each six of them
    by a second more, and a payment is as old as its block.
    """
    node = start_node()
    node.rpc("setmocktime", int(datetime.now(UTC).timestamp()) - 3600)
    node.fund_customer()
    node.rpc("setmocktime", 0)
    return node


@pytest.fixture(scope="module")
def customer(regtest_node: RegtestNode) -> Customer:
    """Whoever pays, on the module's node."""
    return Customer(regtest_node)


@pytest.fixture(scope="module")
def make_till(
    regtest_node: RegtestNode, customer: Customer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TillMaker]:
    """Tills on the module's node, with these settings: not open yet; they close with the module."""
    with ExitStack() as stack:

        def make(**settings: str) -> Till:
            till = Till(regtest_node, tmp_path_factory.mktemp("till"), **settings)
            stack.callback(till.close)
            return till

        yield make


@pytest.fixture(scope="module")
def till(make_till: TillMaker) -> Till:
    """A till with the default settings, which the tests of a module share."""
    return make_till().open()
