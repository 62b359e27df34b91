"""Anything that can happen, in any order: after each step the database says what is true.

NODETILL_MODEL_STORIES is the number of stories that are told; where it is set, they are others each time.
"""

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.support.random_scenario import RandomScenario
from tests.support.scenario import Scenario

pytestmark = [pytest.mark.bitcoind, pytest.mark.slow]

STORIES, STEPS = int(os.environ.get("NODETILL_MODEL_STORIES", "0")), 15


class Stories(RuleBasedStateMachine):
    """One story a run; `stage` is set by the test."""

    stage: Scenario
    story: RandomScenario

    @initialize(seed=st.integers(1, 2**32))
    def begin(self, seed: int) -> None:
        """There is something to pay for."""
        self.stage.begin()
        self.story = RandomScenario(self.stage, seed)

    @rule()
    def go_on(self) -> None:
        """Something happens."""
        self.story.go_on()

    @invariant()
    def the_database_is_right(self) -> None:
        """It is, once the daemon has come to rest."""
        self.stage.settle()

    def teardown(self) -> None:
        """Nothing is left to be told."""
        self.stage.end()


def test_the_database_is_right_after_each_step_of_any_story(stage: Scenario) -> None:
    """Whatever customers, miners, merchants and the machine do: outputs, statuses and events are true."""
    Stories.stage = stage
    run_state_machine_as_test(
        Stories,
        settings=settings(
            max_examples=STORIES or 8,
            stateful_step_count=STEPS,
            derandomize=not STORIES,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
