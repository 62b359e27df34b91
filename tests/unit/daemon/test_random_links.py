"""Links are right after each step of random scenarios, whose requests pay links in parts."""

from decimal import Decimal
from random import Random
from typing import Any

import pytest

from models.block import stored_tip
from models.link import Link
from models.outbox import Event, events_of
from models.payment import PaymentRequest
from models.queries.links import link_facts, part_facts
from payments.link import is_paid
from tests.support import expected_state
from tests.support.expected_state import TrackedRequest
from tests.support.needs import examples
from tests.support.random_scenario import RandomScenario
from tests.support.rows import new_link
from tests.support.scenario import Scenario
from tests.unit.daemon.test_random_scenarios import SCENARIOS, STEPS, fast_directory, scenario

__all__ = ["fast_directory", "scenario"]

PRICE = 1_000_000
"""In EUR for one bitcoin, so that one satoshi is one cent."""
AMOUNTS = ("20.00", "30.00", "50.00", None)
"""The amounts of the links. The payer chooses the amount of the last one."""


@pytest.fixture
def links(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> list[Link]:
    """Return the links of the scenarios. Most requests belong to the last one."""
    found: list[Link] = []
    request, chance = Scenario.request, Random(2)

    def request_of_link(self: Scenario, amount_sats: int, **options: Any) -> TrackedRequest:
        tracked = request(self, amount_sats, **options)
        if found and chance.random() < 0.8:
            amounts = {"price": str(PRICE), "amount_fiat": str(Decimal(amount_sats) / 100)}
            row = PaymentRequest.update(link=found[-1].id, label="Invoice 17", **amounts)
            row.where(PaymentRequest.id == tracked.payment_id).execute()
        return tracked

    monkeypatch.setattr(Scenario, "request", request_of_link)
    # The oracle of the scenarios has no links.
    monkeypatch.setattr(
        expected_state, "events_of", lambda row: [e for e in events_of(row) if not is_of_link(e)]
    )
    monkeypatch.setattr("tests.support.scenario.email_faults", lambda *_: [])
    return found


def test_a_link_is_right_after_each_step_of_a_random_scenario(scenario: Scenario, links: list[Link]) -> None:
    """It is paid while the facts pay it, and each change is one event."""
    seeds = Random() if SCENARIOS else Random(1)
    for number in range(SCENARIOS or examples(30)):
        scenario.begin()
        links.append(new_link(number, amount_fiat=seeds.choice(AMOUNTS)))
        steps = RandomScenario(scenario, seeds.getrandbits(32))
        scenario.is_rough = True
        for _ in range(STEPS):
            steps.go_on()
            scenario.settle()
            if scenario.daemon.is_up:
                check(scenario, links[-1])
        scenario.end()
        check(scenario, links[-1])
    assert Event.select().where(Event.type == "link.paid").exists()


def check(scenario: Scenario, link: Link) -> None:
    link = Link.get_by_id(link.id)
    tip = stored_tip()
    assert tip is not None
    was_paid = link.paid_at is not None
    facts = part_facts(link)
    requests = PaymentRequest.select().where(PaymentRequest.link == link.id)
    of_link = Event.select().where(Event.payment.in_([request.id for request in requests]))
    types = [event.type for event in of_link.order_by(Event.id) if is_of_link(event)]
    expected = ["link.paid", "link.reverted"] * len(types)
    assert types == expected[: len(types)], scenario.report(types)
    assert len(types) % 2 == was_paid, scenario.report(types)
    assert was_paid is is_paid(link.amount, link.currency, facts, tip_height=tip.height, was_paid=was_paid), (
        scenario.report([str(each) for each in facts])
    )
    assert link_facts(link).balance.is_covered or not was_paid, scenario.report(types)


def is_of_link(event: Event) -> bool:
    return event.type.startswith("link.")
