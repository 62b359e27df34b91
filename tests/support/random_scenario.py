"""Random scenarios: payments, double-spends, blocks, reorgs and faults, one step at a time.

One seed determines a scenario. hypothesis does not choose the steps, because it cannot replay a chain that
only grows. Its variations of one scenario would also resemble each other.
"""

import random
from collections.abc import Callable
from datetime import timedelta

from tests.support.expected_state import TrackedRequest
from tests.support.in_process_daemon import Fault, FeedDelivery
from tests.support.scenario import LONG, Scenario
from tests.support.tx_builder import ANYONE_CAN_SPEND, BuiltTransaction

AMOUNTS = (2_000, 3_000)
SHARES = (1.0, 1.0, 1.0, 0.5, 0.5, 0.99, 1.5)
EXPIRIES = (LONG, LONG, LONG, LONG, timedelta(seconds=0.05), timedelta(seconds=0.5))
DEEP = 11
"""A depth below that of every confirmed payment, as no request requires so many confirmations."""


class RandomScenario:
    """One scenario from a seed; `stage.begin` must precede it."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self.scenario = scenario
        self.chance = random.Random(seed)
        scenario.note(f"a scenario from seed {seed}")
        scenario.open_shop()
        for _ in range(self.chance.randint(1, 3)):
            self.request()
            if self.chance.random() < 0.5:
                self.pay()

    def go_on(self) -> None:
        """Do a random step."""
        steps = self._possible()
        (step,) = self.chance.choices([*steps], [*steps.values()])
        step()

    def _possible(self) -> dict[Callable[[], None], int]:
        """Return the possible steps with their weights."""
        steps = {
            self.request: 5,
            self.pay: 12,
            self.pay_several_at_once: 5,
            self.let_time_pass: 5,
            self.cancel: 3,
            self.mark_by_hand: 2,
            self.mine_the_mempool: 14,
            self.mine_some: 8,
            self.reorg: 13,
            self.reorg_deeply: 4,
            self.bury: 1,
            self.restart_bitcoind: 2,
        }
        if self.scenario.sent:
            steps |= {
                self.pay_with_change: 6,
                self.bump_the_fee: 6,
                self.double_spend: 6,
                self.pay_somebody_else_instead: 6,
                self.send_again: 8,
                self.free_by_detour: 5,
                self.name_a_transaction: 2,
            }
        if self.scenario.late():
            steps[self.accept] = 6
        if self.scenario.daemon.is_up:
            steps |= {
                self.stop_the_daemon: 4,
                self.plan_a_fault: 5,
                self.plan_a_step_between_two_calls: 8,
            }
        else:
            steps[self.start_the_daemon] = 20
        return steps

    # The merchant

    def request(self) -> None:
        pick = self.chance.choice
        self.scenario.request(
            pick(AMOUNTS),
            tolerance_sats=pick((0, 0, 100)),
            confirmations=pick((0, 1, 1, 2, 3)),
            expiry=pick(EXPIRIES),
            monitoring=pick((LONG, LONG, timedelta(seconds=0.5))),
            is_late_counted=pick((True, False)),
        )

    def accept(self) -> None:
        self.scenario.note("accept a late payment")
        self.scenario.accept(self.chance.choice(self.scenario.late()))

    def cancel(self) -> None:
        self.scenario.cancel(self._request())

    def mark_by_hand(self) -> None:
        self.scenario.mark(self._request(), self.chance.choice(("Settled", "Invalid")))

    def name_a_transaction(self) -> None:
        self.scenario.note("name a transaction")
        self.scenario.name(self._request(), self._sent().txid)

    def let_time_pass(self) -> None:
        self.scenario.note("let time pass")
        self.scenario.wait_for_a_deadline()

    # The customers

    def pay(self) -> None:
        request, parts = self._request(), self.chance.choice((1, 1, 2))
        self.scenario.pay([(request, self._share(request) // parts)] * parts, is_public=self._is_public())

    def pay_several_at_once(self) -> None:
        requests = [self._request(), self._request()]
        self.scenario.pay([(request, self._share(request)) for request in requests])

    def pay_with_change(self) -> None:
        """Pay with the change of an earlier payment, which may be unconfirmed or already spent."""
        request, coin = self._request(), self._sent().coin(-1)
        if coin.amount_sats > 100_000:
            self.scenario.pay([(request, self._share(request))], coin, is_public=self._is_public())

    def bump_the_fee(self) -> None:
        old = self._sent()
        self.scenario.note(f"bump the fee of {old.txid}")
        self.scenario.replace(old, old.outputs[:-1], is_public=self._is_public())

    def double_spend(self) -> None:
        old = self._sent()
        self.scenario.note(f"double-spend {old.txid}")
        self.scenario.replace(old, [(ANYONE_CAN_SPEND, 1_000)], is_public=self._is_public())

    def pay_somebody_else_instead(self) -> None:
        request, old = self._request(), self._sent()
        self.scenario.note(f"replace {old.txid}")
        self.scenario.replace(old, [(request.script, self._share(request))], is_public=self._is_public())

    def free_by_detour(self) -> None:
        """Take a payment out of the mempool so that it can be sent again."""
        old = self._sent()
        self.scenario.note(f"take {old.txid} out of the mempool")
        self.scenario.free_by_detour(old)

    def send_again(self) -> None:
        sent = self._sent()
        self.scenario.note(f"send {sent.txid} again: {self.scenario.chain.publish(sent)}")

    # The chain

    def mine_the_mempool(self) -> None:
        chain = self.scenario.chain
        self.scenario.note("mine the mempool")
        chain.mine(chain.transactions[txid] for txid in sorted(chain.view().mempool))

    def mine_some(self) -> None:
        """Mine any existing transactions, unpublished ones too."""
        self.scenario.note("mine some transactions")
        self.scenario.chain.mine(self._some())

    def reorg(self) -> None:
        self._reorg(self.chance.choice((1, 1, 1, 2, 2, 3, 5, 8)))

    def reorg_deeply(self) -> None:
        self._reorg(DEEP + self.chance.randint(0, 2))

    def _reorg(self, depth: int) -> None:
        """Replace blocks by blocks with the same transactions, with others, or with none."""
        blocks = self.chance.choice((0, 1, depth + 1))
        self.scenario.note(f"reorg of {depth}")
        self.scenario.chain.reorg(depth, [self._some() for _ in range(blocks)])

    def bury(self) -> None:
        self.scenario.note("a hundred blocks")
        for _ in range(100):
            self.scenario.chain.mine()

    # The machine

    def stop_the_daemon(self) -> None:
        self.scenario.note("stop the daemon")
        self.scenario.daemon.stop()

    def start_the_daemon(self) -> None:
        delivery = self.chance.choice([*FeedDelivery])
        self.scenario.note(f"start the daemon; the feed delivers {delivery.value}")
        self.scenario.daemon.start(delivery)

    def plan_a_fault(self) -> None:
        fault, calls = self.chance.choice([*Fault]), self.chance.randint(1, 25)
        self.scenario.note(f"at call {calls}: {fault.value}")
        self.scenario.daemon.plan(fault, calls)

    def plan_a_step_between_two_calls(self) -> None:
        """Do a step between two of the daemon's calls to bitcoind, so that the answers contradict."""
        steps = [self.pay, self.mine_the_mempool, self.mine_some, self.reorg]
        if self.scenario.sent:
            steps += [self.bump_the_fee, self.double_spend, self.send_again]
        step, calls = self.chance.choice(steps), self.chance.randint(1, 12)
        self.scenario.note(f"before call {calls}: {step.__name__}")
        self.scenario.meanwhile(step, calls)

    def restart_bitcoind(self) -> None:
        self.scenario.restart_bitcoind(is_clean=self.chance.random() < 0.5)

    # Choosing

    def _request(self) -> TrackedRequest:
        return self.chance.choice(self.scenario.requests)

    def _sent(self) -> BuiltTransaction:
        """Return a random transaction; newer ones are likelier."""
        sent = self.scenario.sent
        return sent[-1 - int(len(sent) * self.chance.random() ** 2)]

    def _share(self, request: TrackedRequest) -> int:
        amount_sats: int = request.row().amount_sats
        return int(amount_sats * self.chance.choice(SHARES))

    def _is_public(self) -> bool:
        return self.chance.random() < 0.75

    def _some(self) -> list[BuiltTransaction]:
        sent = list(self.scenario.sent)
        return self.chance.sample(sent, self.chance.randint(0, len(sent)))
