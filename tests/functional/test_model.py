"""Anything that can happen, in any order: after each step the database says what is true.

NODETILL_MODEL_STORIES is the number of stories that are told; where it is set, they are others each time.
"""

import os
import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from admin.installation import settings_for
from admin.regtest import RegtestNode
from config import load_settings
from daemon import loop, mempool
from models.database import disconnect
from models.lock import FileLock
from models.schema import open_database
from tests.functional.books import Account
from tests.functional.forge import ANYBODY, Forged
from tests.functional.hand_daemon import Fault, HandDaemon, Hearing
from tests.functional.stage import LONG, Stage
from tests.functional.world import World
from tests.rows import new_seller

STORIES, STEPS = int(os.environ.get("NODETILL_MODEL_STORIES", "0")), 15
AMOUNTS = (2_000, 3_000)
SHARES = (1.0, 1.0, 1.0, 0.5, 0.5, 0.99, 1.5)
BLOCKS_KEPT_BY_CORE = 10
"""A reorg deeper than this puts no transaction back into the mempool: Core's validation.cpp."""

index = st.integers(0, 1000)
dice = st.integers(0, 2**32)
rarely = st.sampled_from([True, False, False, False, False, False])


class Stories(RuleBasedStateMachine):
    """One story a run; `stage` is set by the test."""

    stage: Stage

    @initialize(count=st.integers(1, 3))
    def begin(self, count: int) -> None:
        """There is something to pay for."""
        self.stage.begin()
        for _ in range(count):
            self.stage.request(AMOUNTS[0])

    @invariant()
    def the_database_is_right(self) -> None:
        """It is, once the daemon has come to rest."""
        self.stage.settle()

    def teardown(self) -> None:
        """Nothing is left to be told."""
        self.stage.end()

    # The merchant

    @rule(
        amount=st.sampled_from(AMOUNTS),
        tolerance=st.sampled_from([0, 0, 100]),
        confirmations=st.integers(0, 3),
        expiry=st.sampled_from([LONG, LONG, timedelta(seconds=0.3), timedelta(seconds=1)]),
        monitoring=st.sampled_from([LONG, timedelta(seconds=1)]),
        is_late_counted=st.booleans(),
    )
    def request(
        self,
        amount: int,
        tolerance: int,
        confirmations: int,
        expiry: timedelta,
        monitoring: timedelta,
        is_late_counted: bool,
    ) -> None:
        self.stage.request(
            amount,
            tolerance_sats=tolerance,
            confirmations=confirmations,
            expiry=expiry,
            monitoring=monitoring,
            is_late_counted=is_late_counted,
        )

    @rule(which=index)
    def accept(self, which: int) -> None:
        self.stage.note(f"accept request {which % len(self.stage.accounts)}")
        self.stage.accept(self._account(which))

    @precondition(lambda self: self.stage.sent)
    @rule(which=index, what=index)
    def name_a_transaction(self, which: int, what: int) -> None:
        self.stage.note("name a transaction")
        self.stage.name(self._account(which), self._sent(what).txid)

    @precondition(lambda self: self.stage.daemon.is_up)
    @rule()
    def let_time_pass(self) -> None:
        self.stage.note("let time pass")
        self.stage.wait_for_a_deadline()

    # The customers

    @rule(which=index, share=st.sampled_from(SHARES), parts=st.integers(1, 2), is_public=st.booleans())
    def pay(self, which: int, share: float, parts: int, is_public: bool) -> None:
        account = self._account(which)
        part_sats = int(self._amount(account) * share / parts)
        self.stage.pay([(account, part_sats)] * parts, is_public=is_public)

    @rule(which=index, other=index, share=st.sampled_from(SHARES))
    def pay_two_requests_at_once(self, which: int, other: int, share: float) -> None:
        first, second = self._account(which), self._account(other)
        self.stage.pay([(first, self._amount(first)), (second, int(self._amount(second) * share))])

    @precondition(lambda self: self.stage.sent)
    @rule(which=index, parent=index, is_public=st.booleans())
    def pay_with_change(self, which: int, parent: int, is_public: bool) -> None:
        account = self._account(which)
        coin = self._sent(parent).coin(-1)
        if coin.amount_sats > 100_000:
            self.stage.pay([(account, self._amount(account))], coin, is_public=is_public)

    @precondition(lambda self: self.stage.sent)
    @rule(what=index, is_public=st.booleans())
    def bump_the_fee(self, what: int, is_public: bool) -> None:
        old = self._sent(what)
        self.stage.note(f"bump the fee of {old.txid}")
        self.stage.replace(old, old.outputs[:-1], is_public=is_public)

    @precondition(lambda self: self.stage.sent)
    @rule(what=index, is_public=st.booleans())
    def double_spend(self, what: int, is_public: bool) -> None:
        old = self._sent(what)
        self.stage.note(f"double-spend {old.txid}")
        self.stage.replace(old, [(ANYBODY, 1_000)], is_public=is_public)

    @precondition(lambda self: self.stage.sent)
    @rule(what=index, which=index, share=st.sampled_from(SHARES))
    def pay_somebody_else_instead(self, what: int, which: int, share: float) -> None:
        account, old = self._account(which), self._sent(what)
        self.stage.note(f"replace {old.txid}")
        self.stage.replace(old, [(account.script, int(self._amount(account) * share))])

    @precondition(lambda self: self.stage.sent)
    @rule(what=index)
    def send_again(self, what: int) -> None:
        sent = self._sent(what)
        self.stage.note(f"send {sent.txid} again: {self.stage.world.publish(sent)}")

    # The chain

    @rule()
    def mine_the_mempool(self) -> None:
        world = self.stage.world
        self.stage.note("mine the mempool")
        world.mine(world.transactions[txid] for txid in world.view().mempool)

    @rule(seed=dice)
    def mine_some(self, seed: int) -> None:
        """Any that exist, those that nobody saw before too."""
        self.stage.note("mine some")
        self.stage.world.mine(self._some(random.Random(seed)))

    @rule(depth=st.integers(1, 8), seed=dice)
    def reorg(self, depth: int, seed: int) -> None:
        self._reorg(depth, seed)

    @rule(depth=st.integers(BLOCKS_KEPT_BY_CORE + 1, BLOCKS_KEPT_BY_CORE + 3), seed=dice)
    def deep_reorg(self, depth: int, seed: int) -> None:
        """The payments that it takes out are nowhere until somebody sends them again."""
        self._reorg(depth, seed)

    def _reorg(self, depth: int, seed: int) -> None:
        chance = random.Random(seed)
        self.stage.note(f"reorg of {depth}")
        self.stage.world.reorg(depth, [self._some(chance) for _ in range(depth + 1)])

    @rule(is_time=rarely)
    def bury(self, is_time: bool) -> None:
        if is_time:
            self.stage.note("a hundred blocks")
            for _ in range(100):
                self.stage.world.mine()

    # The machine

    @precondition(lambda self: self.stage.daemon.is_up)
    @rule()
    def stop_the_daemon(self) -> None:
        self.stage.note("stop the daemon")
        self.stage.daemon.stop()

    @precondition(lambda self: not self.stage.daemon.is_up)
    @rule(hearing=st.sampled_from(Hearing))
    def start_the_daemon(self, hearing: Hearing) -> None:
        self.stage.note(f"start the daemon, hearing {hearing.value}")
        self.stage.daemon.start(hearing)

    @precondition(lambda self: self.stage.daemon.is_up)
    @rule(fault=st.sampled_from(Fault), calls=st.integers(1, 25))
    def let_something_go_wrong(self, fault: Fault, calls: int) -> None:
        self.stage.note(f"at call {calls}: {fault.value}")
        self.stage.daemon.plan(fault, calls)

    @rule(is_time=rarely, is_clean=st.booleans())
    def restart_bitcoind(self, is_time: bool, is_clean: bool) -> None:
        if is_time:
            self.stage.restart_bitcoind(is_clean=is_clean)

    # Choosing

    def _account(self, which: int) -> Account:
        return self.stage.accounts[which % len(self.stage.accounts)]

    def _sent(self, what: int) -> Forged:
        """The newer, the likelier."""
        return self.stage.sent[-1 - what % len(self.stage.sent)]

    def _amount(self, account: Account) -> int:
        amount_sats: int = account.row().amount_sats
        return amount_sats

    def _some(self, chance: random.Random) -> list[Forged]:
        sent = list(self.stage.sent)
        chance.shuffle(sent)
        return sent[: chance.randint(0, len(sent))]


@pytest.fixture
def stage(
    start_node: Callable[..., RegtestNode], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    """A node, a database and a daemon, in a hurry."""
    monkeypatch.setattr(mempool, "DROP_GRACE", timedelta(seconds=0.3))
    monkeypatch.setattr(loop, "SOON_SECONDS", 0.1)
    monkeypatch.setattr(loop, "FIRST_RETRY_SECONDS", 0.05)
    node = start_node()
    # …, load_on_startup: it is there again after a restart.
    node.rpc("createwallet", "nodetill", False, False, "", False, True, True)
    settings = load_settings(settings_for(node, tmp_path), tmp_path)
    world = World(node).begin()
    open_database(settings.database_url.reveal())
    lock = FileLock("daemon")
    assert lock.acquire()
    new_seller()
    daemon = HandDaemon(settings, lock)
    yield Stage(world, daemon, settings)
    if daemon.is_up:
        daemon.stop()
    lock.release()
    disconnect()


def test_the_database_is_right_after_each_step_of_any_story(stage: Stage) -> None:
    """Whatever customers, miners, merchants and the machine do: outputs, statuses and events are true."""
    Stories.stage = stage
    run_state_machine_as_test(
        Stories,
        settings=hypothesis_settings(
            max_examples=STORIES or 8,
            stateful_step_count=STEPS,
            derandomize=not STORIES,
            database=None,
            deadline=None,
            # A story that ends badly is told in the report; it can't be told again on the same chain.
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
