"""The database is right after each step of random scenarios, on a real bitcoind.

NODETILL_MODEL_STORIES is the number of scenarios. If it is set, they differ at each run.
tests/unit/daemon/test_random_scenarios.py runs the same scenarios on a node in memory.
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

SCENARIOS, STEPS = int(os.environ.get("NODETILL_MODEL_STORIES", "0")), 15


class Scenarios(RuleBasedStateMachine):
    """One random scenario. The test sets `scenario`."""

    scenario: Scenario
    random_scenario: RandomScenario

    @initialize(seed=st.integers(1, 2**32))
    def begin(self, seed: int) -> None:
        self.scenario.begin()
        self.random_scenario = RandomScenario(self.scenario, seed)

    @rule()
    def go_on(self) -> None:
        self.random_scenario.go_on()

    @invariant()
    def the_database_is_right(self) -> None:
        """Wait until the database has the expected state."""
        self.scenario.settle()

    def teardown(self) -> None:
        """Check that each message has arrived."""
        self.scenario.end()


def test_the_database_is_right_after_each_step_of_a_random_scenario(scenario: Scenario) -> None:
    """Customers, miners, merchants and faults act in random order."""
    Scenarios.scenario = scenario
    run_state_machine_as_test(
        Scenarios,
        settings=settings(
            max_examples=SCENARIOS or 8,
            stateful_step_count=STEPS,
            derandomize=not SCENARIOS,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
