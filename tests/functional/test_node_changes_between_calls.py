"""bitcoind goes on while it is asked: of two answers that do not fit together nothing untrue is made."""

from collections.abc import Callable
from functools import partial

import pytest

from tests.support.expected_state import TrackedRequest
from tests.support.scenario import Scenario
from tests.support.tx_builder import ANYONE_CAN_SPEND, BuiltTransaction

AMOUNT_SATS = 2_000
QUESTIONS = 9
"""That a block makes the daemon ask while one payment is in none; the more payments, the more questions."""

Thing = Callable[[Scenario, TrackedRequest, BuiltTransaction], None]


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


@pytest.mark.parametrize("thing", [_mine, _mine_in_another_chain, _replace, _steal, _steal_in_a_block])
def test_what_happens_between_two_questions_is_told_as_it_is(stage: Scenario, thing: Thing) -> None:
    """Before the first that a new block makes the daemon ask, before the second, and so on to the last."""
    stage.begin()
    for question in range(1, QUESTIONS + 1):
        account = stage.request(AMOUNT_SATS)
        sent = stage.pay([(account, AMOUNT_SATS)])
        stage.settle()
        stage.note(f"before question {question}")
        stage.meanwhile(partial(thing, stage, account, sent), question)
        stage.world.mine()
        stage.settle()
    stage.end()
