"""bitcoind's chain and mempool change between two calls of the daemon, and no false status is stored."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from daemon.chain.mempool import Mempool
from models.outbox import events_of
from tests.support.expected_state import TrackedRequest
from tests.support.in_process_daemon import FeedDelivery
from tests.support.scenario import PATIENCE_SECONDS, Scenario
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


@pytest.mark.parametrize("feed", [FeedDelivery.ALL, FeedDelivery.NOTHING])
@pytest.mark.parametrize("is_expired", [False, True])
def test_a_fee_bump_of_a_fee_bump_is_no_reversal(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch, is_expired: bool, feed: FeedDelivery
) -> None:
    """The second bump comes after the daemon has found the first one. The payment stays in time."""
    account, sent = _begin_with_payment(scenario, feed, is_expired=is_expired)
    find, bumps = Mempool._replacements, list[BuiltTransaction]()

    def then_bump(mempool: Mempool, txids: list[str]) -> dict[str, str]:
        found = find(mempool, txids)
        if found and not bumps:
            bumps.append(_bump_again(scenario, account, sent, AMOUNT_SATS))
        return found

    monkeypatch.setattr(Mempool, "_replacements", then_bump)
    scenario.replace(sent, [(account.script, AMOUNT_SATS)])
    assert scenario.daemon.work_until(lambda: _is_paid_by(account, bumps), PATIENCE_SECONDS)
    _check_never_reverted(scenario, account, "received")


@pytest.mark.parametrize("is_expired", [False, True])
def test_a_fee_bump_that_a_look_finds_is_mined_meanwhile(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch, is_expired: bool
) -> None:
    """The bump comes after the look has checked the payment. The block comes before the bump is stored."""
    account, sent = _begin_with_payment(scenario, FeedDelivery.NOTHING, is_expired=is_expired)
    rescan, read = Mempool.rescan, Mempool._successors
    bumps, mined = list[BuiltTransaction](), list[object]()

    def bump_first(mempool: Mempool, *arguments: Any, **options: Any) -> bool:
        if not bumps:
            bumps.append(scenario.replace(sent, [(account.script, AMOUNT_SATS)]))
        return rescan(mempool, *arguments, **options)

    def mine_first(mempool: Mempool, *arguments: Any) -> Any:
        if bumps and not mined:
            mined.append(scenario.chain.mine(bumps))
        return read(mempool, *arguments)

    monkeypatch.setattr(Mempool, "rescan", bump_first)
    monkeypatch.setattr(Mempool, "_successors", mine_first)
    assert scenario.daemon.work_until(lambda: _is_paid_by(account, bumps), PATIENCE_SECONDS)
    scenario.settle()
    assert mined
    _check_never_reverted(scenario, account, "received", "confirmed")


@pytest.mark.parametrize("confirmations", [0, 1])
def test_two_fee_bumps_of_a_part_never_count_together(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch, confirmations: int
) -> None:
    """A block comes before the feed brings the first bump. The second comes after the first was read."""
    account, sent = _begin_with_part(scenario, 1_200, confirmations)
    read, bumps = Mempool._successors, list[BuiltTransaction]()

    def then_bump(mempool: Mempool, *arguments: Any) -> Any:
        found = read(mempool, *arguments)
        if found and not bumps:
            bumps.append(_bump_again(scenario, account, sent, 1_200))
        return found

    monkeypatch.setattr(Mempool, "_successors", then_bump)
    scenario.replace(sent, [(account.script, 1_200)])
    scenario.chain.mine()
    assert scenario.daemon.work_until(lambda: _is_paid_by(account, bumps), PATIENCE_SECONDS)
    scenario.settle()
    assert [event.type for event in events_of(account.row())] == ["payment.underpaid"]
    scenario.end()


@pytest.mark.parametrize("confirmations", [0, 1])
def test_a_part_never_counts_together_with_its_replacement(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch, confirmations: int
) -> None:
    """One transaction replaces both parts while the daemon reads the second part."""
    account, one = _begin_with_part(scenario, 1_000, confirmations)
    check, both = Mempool._missing_beside, list[BuiltTransaction]()

    def then_replace(mempool: Mempool, arrivals: Any) -> set[str]:
        if arrivals and not both:
            both.append(scenario.replace_both(one, other, [(account.script, 1_400)]))
        return check(mempool, arrivals)

    monkeypatch.setattr(Mempool, "_missing_beside", then_replace)
    other = scenario.pay([(account, 700)])
    assert scenario.daemon.work_until(lambda: _is_paid_by(account, both), PATIENCE_SECONDS)
    scenario.settle()
    assert [event.type for event in events_of(account.row())] == ["payment.underpaid"] * 2
    scenario.end()


def _bump_again(
    scenario: Scenario, account: TrackedRequest, sent: BuiltTransaction, sats: int
) -> BuiltTransaction:
    """Publish a second fee bump of a payment, with a fee above that of the first one."""
    bump = scenario.chain.build_transaction(list(sent.coins), [(account.script, sats)], 200_000)
    assert scenario.chain.publish(bump)
    return bump


def _begin_with_part(
    scenario: Scenario, sats: int, confirmations: int
) -> tuple[TrackedRequest, BuiltTransaction]:
    """Begin with a request to which a part has come."""
    scenario.begin()
    account = scenario.request(AMOUNT_SATS, confirmations=confirmations)
    sent = scenario.pay([(account, sats)])
    scenario.settle()
    scenario.is_rough = True
    return account, sent


def _begin_with_payment(
    scenario: Scenario, feed: FeedDelivery, *, is_expired: bool
) -> tuple[TrackedRequest, BuiltTransaction]:
    """Begin with a received payment, whose request expires. Such a payment is not late after a fee bump."""
    scenario.begin()
    account = scenario.request(AMOUNT_SATS)
    sent = scenario.pay([(account, AMOUNT_SATS)])
    scenario.settle()
    if is_expired:
        scenario.expire(account)
    scenario.daemon.stop()
    scenario.daemon.start(feed)
    assert scenario.daemon.look(PATIENCE_SECONDS)
    scenario.settle()
    scenario.is_rough = True
    return account, sent


def _is_paid_by(account: TrackedRequest, bumps: list[BuiltTransaction]) -> bool:
    return bool(bumps) and account.row().txid == bumps[0].txid


def _check_never_reverted(scenario: Scenario, account: TrackedRequest, *events: str) -> None:
    row = account.row()
    assert [event.type for event in events_of(row)] == [f"payment.{event}" for event in events]
    assert (row.status, row.is_late) == (events[-1], False)
    scenario.end()
