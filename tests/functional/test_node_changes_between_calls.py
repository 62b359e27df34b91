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


def _mine(stage: Scenario, _: TrackedRequest, sent: BuiltTransaction) -> None:
    stage.world.mine([sent])


def _mine_in_another_chain(stage: Scenario, _: TrackedRequest, sent: BuiltTransaction) -> None:
    stage.world.reorg(1, [[], [sent]])


def _replace(stage: Scenario, account: TrackedRequest, sent: BuiltTransaction) -> None:
    stage.replace(sent, [(account.script, AMOUNT_SATS)])


def _steal(stage: Scenario, _: TrackedRequest, sent: BuiltTransaction) -> None:
    stage.replace(sent, [(ANYONE_CAN_SPEND, 1_000)])


def _steal_in_a_block(stage: Scenario, _: TrackedRequest, sent: BuiltTransaction) -> None:
    stage.world.mine([stage.replace(sent, [(ANYONE_CAN_SPEND, 1_000)], is_public=False)])


@pytest.mark.parametrize("change", [_mine, _mine_in_another_chain, _replace, _steal, _steal_in_a_block])
def test_changes_between_two_calls_are_recorded_correctly(stage: Scenario, change: Change) -> None:
    """The change comes before the daemon's first call for a new block, then before the second, and so on."""
    stage.begin()
    for call in range(1, CALLS + 1):
        account = stage.request(AMOUNT_SATS)
        sent = stage.pay([(account, AMOUNT_SATS)])
        stage.settle()
        stage.note(f"before call {call}")
        stage.meanwhile(partial(change, stage, account, sent), call)
        stage.world.mine()
        stage.settle()
    stage.end()
