"""The age of a payment: the price holds only for money that stays in mempool or chain without a gap."""

from datetime import UTC, datetime, timedelta

import pytest

from models.outbox import events_of
from models.output import Output, outputs_at
from payments.status import Status
from tests.support.customer import Customer
from tests.support.expected_state import TrackedRequest, is_as_old
from tests.support.in_process_daemon import Fault
from tests.support.merchant import Merchant
from tests.support.scenario import Scenario
from tests.support.tx_builder import ANYONE_CAN_SPEND, BuiltTransaction
from tests.support.waiting import wait_until

AMOUNT_SATS = 2_000
SHORT = timedelta(seconds=0)


def _events(account: TrackedRequest) -> list[str]:
    return [event.type.removeprefix("payment.") for event in events_of(account.row())]


def _output(account: TrackedRequest, sent: BuiltTransaction) -> Output:
    [output] = [output for output in outputs_at(account.row().address_id) if output.txid == sent.txid]
    return output


def _restart(scenario: Scenario) -> None:
    scenario.daemon.stop()
    scenario.daemon.start()
    scenario.settle()


def _paid(scenario: Scenario, *, is_late_counted: bool = False) -> tuple[TrackedRequest, BuiltTransaction]:
    """Return a request that is paid in time, and its payment."""
    account = scenario.request(AMOUNT_SATS, is_late_counted=is_late_counted)
    sent = scenario.pay([(account, AMOUNT_SATS)])
    scenario.settle()
    assert account.row().status == Status.RECEIVED
    return account, sent


# A gap


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_payment_that_left_the_mempool_has_the_age_of_its_return(
    scenario: Scenario, is_restarted: bool
) -> None:
    """A return before expiry is in time, after expiry late, and after the monitoring extra.

    A restart changes none of these results.
    """
    scenario.begin()
    late, closed, early = [_paid(scenario) for _ in range(3)]
    for _, sent in (late, closed, early):
        scenario.free_by_detour(sent)
    if is_restarted:
        _restart(scenario)
    scenario.expire(late[0])
    scenario.expire(closed[0], monitoring=SHORT)
    scenario.settle()
    assert closed[0].row().closed_at is not None
    # The daemon takes the mempool's time, in whole seconds, where the feed did not bring the payment.
    before = datetime.now(UTC).replace(microsecond=0)
    for _, sent in (late, closed, early):
        assert scenario.chain.publish(sent)
    scenario.settle()
    scenario.chain.mine([late[1], closed[1], early[1]])
    scenario.settle()
    assert [(a.row().status, a.row().is_late) for a, _ in (late, closed, early)] == [
        (Status.EXPIRED, True),
        (Status.EXPIRED, True),
        (Status.CONFIRMED, False),
    ]
    assert all(_output(*each).present_since >= before for each in (late, closed, early))
    assert _events(late[0]) == ["received", "reverted", "expired", "late"]
    assert _events(closed[0]) == ["received", "reverted", "expired", "extra"]
    assert _events(early[0]) == ["received", "reverted", "received", "confirmed"]
    scenario.end()


def test_a_part_that_returns_to_a_closed_request_is_extra(scenario: Scenario) -> None:
    """The part had an event before. The part leaves the mempool after expiry and returns after monitoring."""
    scenario.begin()
    account = scenario.request(AMOUNT_SATS)
    part = scenario.pay([(account, AMOUNT_SATS // 2)])
    scenario.settle()
    scenario.expire(account)
    scenario.settle()
    scenario.free_by_detour(part)
    scenario.expire(account, monitoring=SHORT)
    scenario.settle()
    assert account.row().closed_at is not None
    assert scenario.chain.publish(part)
    scenario.settle()
    assert _events(account) == ["underpaid", "expired", "extra"]
    scenario.end()


def test_accepted_late_money_that_returns_needs_a_new_acceptance(scenario: Scenario) -> None:
    """The first acceptance ends when the money leaves the mempool."""
    scenario.begin()
    account = scenario.request(AMOUNT_SATS)
    scenario.expire(account)
    scenario.settle()
    sent = scenario.pay([(account, AMOUNT_SATS)])
    scenario.settle()
    scenario.accept(account)
    scenario.settle()
    assert account.row().status == Status.RECEIVED
    scenario.free_by_detour(sent)
    assert scenario.chain.publish(sent)
    scenario.settle()
    row = account.row()
    assert (row.status, row.is_late, row.late_accepted_at) == (Status.EXPIRED, True, None)
    scenario.accept(account)
    scenario.settle()
    assert account.row().status == Status.RECEIVED
    events = ["expired", "late", "received", "reverted", "expired", "late", "received"]
    assert _events(account) == events
    scenario.end()


def test_a_payment_keeps_its_age_through_blocks_reorgs_and_restarts(scenario: Scenario) -> None:
    scenario.begin()
    account, sent = _paid(scenario)
    since = _output(account, sent).present_since
    scenario.expire(account)
    scenario.chain.mine([sent])
    scenario.settle()
    scenario.chain.reorg(1, [])
    scenario.settle()
    _restart(scenario)
    scenario.restart_bitcoind(is_clean=True)
    scenario.settle()
    scenario.chain.reorg(1, [[], [sent]])
    scenario.settle()
    assert _output(account, sent).present_since == since
    assert (account.row().status, account.row().is_late) == (Status.CONFIRMED, False)
    scenario.end()


# A fee bump


def test_extra_satoshis_of_a_fee_bump_after_expiry_are_not_late(scenario: Scenario) -> None:
    """The fee bump replaces the payment or its parent. The additional satoshi is extra."""
    scenario.begin()
    direct, sent = _paid(scenario)
    parent = scenario.pay([])
    child_of, child = scenario.request(AMOUNT_SATS), None
    child = scenario.pay([(child_of, AMOUNT_SATS)], parent.coin(-1))
    scenario.settle()
    for account in (direct, child_of):
        scenario.expire(account)
    scenario.replace(sent, [(direct.script, AMOUNT_SATS + 1)])
    new_parent = scenario.replace(parent, [])
    new_child = scenario.pay([(child_of, AMOUNT_SATS + 1)], new_parent.coin(-1))
    scenario.settle()
    assert is_as_old(_output(child_of, new_child), _output(child_of, child))
    for account in (direct, child_of):
        assert (account.row().status, account.row().is_late) == (Status.RECEIVED, False)
    assert _events(direct) == ["received", "extra"]
    assert "late" not in _events(child_of) + _events(direct)
    scenario.end()


def test_a_fee_bump_of_the_parent_in_a_block_keeps_the_age(scenario: Scenario) -> None:
    """Parent and child are in one block, in two blocks, or the child is still in the mempool."""
    scenario.begin()
    for place in ("one block", "two blocks", "mempool"):
        parent = scenario.pay([])
        account = scenario.request(AMOUNT_SATS)
        scenario.pay([(account, AMOUNT_SATS)], parent.coin(-1))
        scenario.settle()
        scenario.daemon.stop()
        scenario.expire(account)
        new_parent = scenario.replace(parent, [], is_public=False)
        new_child = scenario.pay([(account, AMOUNT_SATS)], new_parent.coin(-1), is_public=False)
        scenario.chain.mine([new_parent, new_child] if place == "one block" else [new_parent])
        if place == "two blocks":
            scenario.chain.mine([new_child])
        elif place == "mempool":
            assert scenario.chain.publish(new_child)
        scenario.daemon.start()
        scenario.settle()
        assert _events(account)[0] == "received"
        assert "reverted" not in _events(account), place
        assert not account.row().is_late, place
    scenario.end()


def test_a_mined_original_of_a_fee_bump_is_not_late(scenario: Scenario) -> None:
    """A fee bump without an event replaces the original. Then a miner mines the original."""
    scenario.begin()
    account, sent = _paid(scenario)
    scenario.replace(sent, [(account.script, AMOUNT_SATS)])
    scenario.settle()
    scenario.expire(account)
    scenario.chain.mine([sent])
    scenario.settle()
    assert (account.row().status, account.row().is_late) == (Status.CONFIRMED, False)
    assert _events(account) == ["received", "confirmed"]
    scenario.end()


def test_a_small_part_in_time_does_not_make_late_money_count(scenario: Scenario) -> None:
    """One transaction replaces both parts, or several children each pay as much as the part."""
    scenario.begin()
    merged, split = scenario.request(AMOUNT_SATS), scenario.request(AMOUNT_SATS)
    small = scenario.pay([(merged, 600)])
    base = scenario.pay([(split, AMOUNT_SATS // 2)])
    scenario.settle()
    for account in (merged, split):
        scenario.expire(account)
    scenario.settle()
    rest = scenario.pay([(merged, AMOUNT_SATS - 600)])
    scenario.settle()
    assert merged.row().is_late
    scenario.replace_both(small, rest, [(merged.script, AMOUNT_SATS)])
    parent = scenario.replace(base, [(ANYONE_CAN_SPEND, 300_000)])
    for vout in (0, 1):
        scenario.pay([(split, AMOUNT_SATS // 2)], parent.coin(vout))
    scenario.settle()
    for account in (merged, split):
        assert (account.row().status, account.row().is_late) == (Status.EXPIRED, True)
    scenario.end()


# A kill, a closed request


def test_a_kill_during_a_reorg_keeps_the_age(scenario: Scenario) -> None:
    """The kill comes at each RPC call in turn. The new branch has a fee bump, as old as the payment."""
    scenario.begin()
    for call in range(1, 9):
        account, sent = _paid(scenario)
        scenario.chain.mine([sent])
        scenario.settle()
        scenario.expire(account)
        bump = scenario.replace(sent, [(account.script, AMOUNT_SATS)], is_public=False)
        scenario.note(f"killed at call {call}")
        scenario.is_rough = True
        scenario.daemon.plan(Fault.KILL, call)
        scenario.chain.reorg(1, [[bump]])
        scenario.settle()
        assert (account.row().status, account.row().is_late) == (Status.CONFIRMED, False)
        assert _events(account) == ["received", "confirmed"]
    scenario.end()


def test_a_closed_request_keeps_the_payments_that_a_reorg_can_change(scenario: Scenario) -> None:
    """One payment is for two requests, and one has few confirmations. A reorg replaces both by fee bumps."""
    scenario.begin()
    first, second, alone = [scenario.request(AMOUNT_SATS) for _ in range(3)]
    both = scenario.pay([(first, AMOUNT_SATS), (second, AMOUNT_SATS)])
    single = scenario.pay([(alone, AMOUNT_SATS)])
    scenario.settle()
    scenario.chain.mine([both, single])
    scenario.settle()
    scenario.expire(second)
    for account in (first, alone):
        scenario.expire(account, monitoring=SHORT)
        row = account.row()
        row.reassess_at_height = 0
        row.save(only=[type(row).reassess_at_height])
    _restart(scenario)
    is_closed = [account.row().closed_at is not None for account in (first, second, alone)]
    assert is_closed == [True, False, True]
    bumps = [
        scenario.replace(both, [(first.script, AMOUNT_SATS), (second.script, AMOUNT_SATS)], is_public=False),
        scenario.replace(single, [(alone.script, AMOUNT_SATS)], is_public=False),
    ]
    scenario.chain.reorg(1, [bumps])
    scenario.settle()
    for account in (first, second, alone):
        assert (account.row().status, account.row().is_late) == (Status.CONFIRMED, False)
        assert _events(account) == ["received", "confirmed"]
    scenario.end()


# The time that decides


@pytest.mark.parametrize("is_late_counted", [False, True])
def test_a_change_right_after_expiry_counts_as_after_expiry(
    scenario: Scenario, is_late_counted: bool
) -> None:
    """The last look at bitcoind was before expiry. No event asks for the rest, and none comes twice."""
    scenario.begin()
    account = scenario.request(AMOUNT_SATS, is_late_counted=is_late_counted)
    part = scenario.pay([(account, AMOUNT_SATS // 2)])
    mined = scenario.pay([(account, AMOUNT_SATS // 2)])
    scenario.settle()
    scenario.expire(account)
    scenario.replace(part, [(account.script, AMOUNT_SATS // 2 + 1)])
    scenario.settle()
    more = ["late"] if is_late_counted else ["reverted", "expired", "late"]
    assert _events(account) == ["received", *more]
    scenario.chain.mine([scenario.replace(mined, [(account.script, AMOUNT_SATS)], is_public=False)])
    scenario.settle()
    assert "underpaid" not in _events(account)
    scenario.end()


def test_a_payment_before_expiry_counts_after_a_later_start(scenario: Scenario) -> None:
    """The daemon was down. The wallet received the payment before expiry, and a miner mined it afterwards."""
    scenario.begin()
    account = scenario.request(AMOUNT_SATS)
    scenario.settle()
    scenario.daemon.stop()
    sent = scenario.pay([(account, AMOUNT_SATS)])
    scenario.chain.node.rpc("syncwithvalidationinterfacequeue")
    scenario.expire(account)
    expired_at = account.row().expires_at
    wait_until(lambda: datetime.now(UTC) > expired_at + timedelta(seconds=2), 30)
    scenario.chain.mine([sent])
    scenario.daemon.start()
    scenario.settle()
    assert (account.row().status, account.row().is_late) == (Status.CONFIRMED, False)
    assert _output(account, sent).first_seen_at <= expired_at
    scenario.end()


def test_late_money_in_a_block_with_an_early_time_is_late(scenario: Scenario) -> None:
    """A miner's clock is slow. The daemon had looked after the block's time and found no payment.

    The first sight of a payment is never before its request.
    """
    scenario.begin()
    time = scenario.chain.earliest_time()
    wait_until(lambda: datetime.now(UTC).timestamp() > time + 2, 30)
    late, new = scenario.request(AMOUNT_SATS), scenario.request(AMOUNT_SATS)
    scenario.settle()
    scenario.expire(late)
    scenario.settle()
    assert late.row().status == Status.EXPIRED
    sent = scenario.pay([(late, AMOUNT_SATS), (new, AMOUNT_SATS)], is_public=False)
    scenario.chain.mine([sent], time=time)
    scenario.settle()
    assert (late.row().status, late.row().is_late) == (Status.EXPIRED, True)
    assert _output(new, sent).first_seen_at >= new.row().created_at
    assert new.row().status == Status.CONFIRMED
    scenario.end()


def test_a_coinbase_output_needs_a_hundred_confirmations(merchant: Merchant, customer: Customer) -> None:
    """The number that the request requires does not matter. The document shows the hundred."""
    order = merchant.request(confirmations=1)
    merchant.node.rpc("generatetoaddress", 1, order.address)
    order.wait("confirming", confirmations=1, confirmations_required=100)
    merchant.node.mine(98)
    order.wait("confirming", confirmations=99)
    merchant.node.mine()
    order.wait("confirmed", confirmations=100)
    order.wait_told("received", "confirmed")
