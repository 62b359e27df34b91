"""bitcoind's chain and mempool change between two calls of the daemon, and no false status is stored."""

from collections.abc import Callable
from functools import partial

import pytest

from tests.support.expected_state import TrackedRequest
from tests.support.scenario import Scenario
from tests.support.tx_builder import ANYONE_CAN_SPEND, BuiltTransaction

AMOUNT_SATS = 2_000
CALLS = 9
"""The number of calls after a new block while one payment is unconfirmed. More payments cause more calls."""

Change = Callable[[Scenario, TrackedRequest, BuiltTransaction], None]


def _mine(scenario: Scenario, _: TrackedRequest, sent: BuiltTransaction) -> None:
    scenario.chain.mine([sent])


def _mine_in_another_chain(scenario: Scenario, _: TrackedRequest, sent: BuiltTransaction) -> None:
    scenario.chain.reorg(1, [[], [sent]])


def _replace(scenario: Scenario, account: TrackedRequest, sent: BuiltTransaction) -> None:
    scenario.replace(sent, [(account.script, AMOUNT_SATS)])


def _steal(scenario: Scenario, _: TrackedRequest, sent: BuiltTransaction) -> None:
    scenario.replace(sent, [(ANYONE_CAN_SPEND, 1_000)])


def _steal_in_a_block(scenario: Scenario, _: TrackedRequest, sent: BuiltTransaction) -> None:
    scenario.chain.mine([scenario.replace(sent, [(ANYONE_CAN_SPEND, 1_000)], is_public=False)])


@pytest.mark.parametrize("change", [_mine, _mine_in_another_chain, _replace, _steal, _steal_in_a_block])
def test_changes_between_two_calls_are_recorded_correctly(scenario: Scenario, change: Change) -> None:
    """The change comes before the daemon's first call for a new block, then before the second, and so on."""
    scenario.begin()
    for call in range(1, CALLS + 1):
        account = scenario.request(AMOUNT_SATS)
        sent = scenario.pay([(account, AMOUNT_SATS)])
        scenario.settle()
        scenario.note(f"before call {call}")
        scenario.meanwhile(partial(change, scenario, account, sent), call)
        scenario.chain.mine()
        scenario.settle()
    scenario.end()
