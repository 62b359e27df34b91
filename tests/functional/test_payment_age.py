"""The age of a payment: the price holds only for money that stays in mempool or chain without a gap."""

from datetime import UTC, datetime, timedelta

import pytest

from models.outbox import events_of
from models.output import Output, outputs_at
from payments.status import Status
from tests.support.customer import Customer
from tests.support.expected_state import TrackedRequest
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


def _restart(stage: Scenario) -> None:
    stage.daemon.stop()
    stage.daemon.start()
    stage.settle()


def _paid(stage: Scenario, *, is_late_counted: bool = False) -> tuple[TrackedRequest, BuiltTransaction]:
    """Return a request that is paid in time, and its payment."""
    account = stage.request(AMOUNT_SATS, is_late_counted=is_late_counted)
    sent = stage.pay([(account, AMOUNT_SATS)])
    stage.settle()
    assert account.row().status == Status.RECEIVED
    return account, sent


# A gap


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_payment_that_left_the_mempool_has_the_age_of_its_return(
    stage: Scenario, is_restarted: bool
) -> None:
    """A return before expiry is in time, after expiry late, and after the monitoring extra.

    A restart changes none of these results.
    """
    stage.begin()
    late, closed, early = [_paid(stage) for _ in range(3)]
    for _, sent in (late, closed, early):
        stage.free_by_detour(sent)
    if is_restarted:
        _restart(stage)
    stage.expire(late[0])
    stage.expire(closed[0], monitoring=SHORT)
    stage.settle()
    assert closed[0].row().closed_at is not None
    before = datetime.now(UTC)
    for _, sent in (late, closed, early):
        assert stage.world.publish(sent)
    stage.settle()
    stage.world.mine([late[1], closed[1], early[1]])
    stage.settle()
    assert [(a.row().status, a.row().is_late) for a, _ in (late, closed, early)] == [
        (Status.EXPIRED, True),
        (Status.EXPIRED, True),
        (Status.CONFIRMED, False),
    ]
    assert all(_output(*each).present_since >= before for each in (late, closed, early))
    assert _events(late[0]) == ["received", "reverted", "expired", "late"]
    assert _events(closed[0]) == ["received", "reverted", "expired", "extra"]
    assert _events(early[0]) == ["received", "reverted", "received", "confirmed"]
    stage.end()


def test_a_part_that_returns_to_a_closed_request_is_extra(stage: Scenario) -> None:
    """The part had an event before. The part leaves the mempool after expiry and returns after monitoring."""
    stage.begin()
    account = stage.request(AMOUNT_SATS)
    part = stage.pay([(account, AMOUNT_SATS // 2)])
    stage.settle()
    stage.expire(account)
    stage.settle()
    stage.free_by_detour(part)
    stage.expire(account, monitoring=SHORT)
    stage.settle()
    assert account.row().closed_at is not None
    assert stage.world.publish(part)
    stage.settle()
    assert _events(account) == ["underpaid", "expired", "extra"]
    stage.end()


def test_accepted_late_money_that_returns_needs_a_new_acceptance(stage: Scenario) -> None:
    """The first acceptance ends when the money leaves the mempool."""
    stage.begin()
    account = stage.request(AMOUNT_SATS)
    stage.expire(account)
    stage.settle()
    sent = stage.pay([(account, AMOUNT_SATS)])
    stage.settle()
    stage.accept(account)
    stage.settle()
    assert account.row().status == Status.RECEIVED
    stage.free_by_detour(sent)
    assert stage.world.publish(sent)
    stage.settle()
    row = account.row()
    assert (row.status, row.is_late, row.late_accepted_at) == (Status.EXPIRED, True, None)
    stage.accept(account)
    stage.settle()
    assert account.row().status == Status.RECEIVED
    events = ["expired", "late", "received", "reverted", "expired", "late", "received"]
    assert _events(account) == events
    stage.end()


def test_a_payment_keeps_its_age_through_blocks_reorgs_and_restarts(stage: Scenario) -> None:
    stage.begin()
    account, sent = _paid(stage)
    since = _output(account, sent).present_since
    stage.expire(account)
    stage.world.mine([sent])
    stage.settle()
    stage.world.reorg(1, [])
    stage.settle()
    _restart(stage)
    stage.restart_bitcoind(is_clean=True)
    stage.settle()
    stage.world.reorg(1, [[], [sent]])
    stage.settle()
    assert _output(account, sent).present_since == since
    assert (account.row().status, account.row().is_late) == (Status.CONFIRMED, False)
    stage.end()


# A fee bump


def test_extra_satoshis_of_a_fee_bump_after_expiry_are_not_late(stage: Scenario) -> None:
    """The fee bump replaces the payment or its parent. The additional satoshi is extra."""
    stage.begin()
    direct, sent = _paid(stage)
    parent = stage.pay([])
    child_of, child = stage.request(AMOUNT_SATS), None
    child = stage.pay([(child_of, AMOUNT_SATS)], parent.coin(-1))
    stage.settle()
    for account in (direct, child_of):
        stage.expire(account)
    stage.replace(sent, [(direct.script, AMOUNT_SATS + 1)])
    new_parent = stage.replace(parent, [])
    new_child = stage.pay([(child_of, AMOUNT_SATS + 1)], new_parent.coin(-1))
    stage.settle()
    assert _output(child_of, new_child).present_since == _output(child_of, child).present_since
    for account in (direct, child_of):
        assert (account.row().status, account.row().is_late) == (Status.RECEIVED, False)
    assert _events(direct) == ["received", "extra"]
    assert "late" not in _events(child_of) + _events(direct)
    stage.end()


def test_a_fee_bump_of_the_parent_in_a_block_keeps_the_age(stage: Scenario) -> None:
    """Parent and child are in one block, in two blocks, or the child is still in the mempool."""
    stage.begin()
    for place in ("one block", "two blocks", "mempool"):
        parent = stage.pay([])
        account = stage.request(AMOUNT_SATS)
        stage.pay([(account, AMOUNT_SATS)], parent.coin(-1))
        stage.settle()
        stage.daemon.stop()
        stage.expire(account)
        new_parent = stage.replace(parent, [], is_public=False)
        new_child = stage.pay([(account, AMOUNT_SATS)], new_parent.coin(-1), is_public=False)
        stage.world.mine([new_parent, new_child] if place == "one block" else [new_parent])
        if place == "two blocks":
            stage.world.mine([new_child])
        elif place == "mempool":
            assert stage.world.publish(new_child)
        stage.daemon.start()
        stage.settle()
        assert _events(account)[0] == "received"
        assert "reverted" not in _events(account), place
        assert not account.row().is_late, place
    stage.end()


def test_a_mined_original_of_a_fee_bump_is_not_late(stage: Scenario) -> None:
    """A fee bump without an event replaces the original. Then a miner mines the original."""
    stage.begin()
    account, sent = _paid(stage)
    stage.replace(sent, [(account.script, AMOUNT_SATS)])
    stage.settle()
    stage.expire(account)
    stage.world.mine([sent])
    stage.settle()
    assert (account.row().status, account.row().is_late) == (Status.CONFIRMED, False)
    assert _events(account) == ["received", "confirmed"]
    stage.end()


def test_a_small_part_in_time_does_not_make_late_money_count(stage: Scenario) -> None:
    """One transaction replaces both parts, or several children each pay as much as the part."""
    stage.begin()
    merged, split = stage.request(AMOUNT_SATS), stage.request(AMOUNT_SATS)
    small = stage.pay([(merged, 600)])
    base = stage.pay([(split, AMOUNT_SATS // 2)])
    stage.settle()
    for account in (merged, split):
        stage.expire(account)
    stage.settle()
    rest = stage.pay([(merged, AMOUNT_SATS - 600)])
    stage.settle()
    assert merged.row().is_late
    stage.replace_both(small, rest, [(merged.script, AMOUNT_SATS)])
    parent = stage.replace(base, [(ANYONE_CAN_SPEND, 300_000)])
    for vout in (0, 1):
        stage.pay([(split, AMOUNT_SATS // 2)], parent.coin(vout))
    stage.settle()
    for account in (merged, split):
        assert (account.row().status, account.row().is_late) == (Status.EXPIRED, True)
    stage.end()


# A kill, a closed request


def test_a_kill_during_a_reorg_keeps_the_age(stage: Scenario) -> None:
    """The kill comes at each RPC call in turn. The new branch has a fee bump, as old as the payment."""
    stage.begin()
    for call in range(1, 9):
        account, sent = _paid(stage)
        stage.world.mine([sent])
        stage.settle()
        stage.expire(account)
        bump = stage.replace(sent, [(account.script, AMOUNT_SATS)], is_public=False)
        stage.note(f"killed at call {call}")
        stage.is_rough = True
        stage.daemon.plan(Fault.KILL, call)
        stage.world.reorg(1, [[bump]])
        stage.settle()
        assert (account.row().status, account.row().is_late) == (Status.CONFIRMED, False)
        assert _events(account) == ["received", "confirmed"]
    stage.end()


def test_a_closed_request_keeps_the_payments_that_a_reorg_can_change(stage: Scenario) -> None:
    """One payment is for two requests, and one has few confirmations. A reorg replaces both by fee bumps."""
    stage.begin()
    first, second, alone = [stage.request(AMOUNT_SATS) for _ in range(3)]
    both = stage.pay([(first, AMOUNT_SATS), (second, AMOUNT_SATS)])
    single = stage.pay([(alone, AMOUNT_SATS)])
    stage.settle()
    stage.world.mine([both, single])
    stage.settle()
    stage.expire(second)
    for account in (first, alone):
        stage.expire(account, monitoring=SHORT)
        row = account.row()
        row.reassess_at_height = 0
        row.save(only=[type(row).reassess_at_height])
    _restart(stage)
    is_closed = [account.row().closed_at is not None for account in (first, second, alone)]
    assert is_closed == [True, False, True]
    bumps = [
        stage.replace(both, [(first.script, AMOUNT_SATS), (second.script, AMOUNT_SATS)], is_public=False),
        stage.replace(single, [(alone.script, AMOUNT_SATS)], is_public=False),
    ]
    stage.world.reorg(1, [bumps])
    stage.settle()
    for account in (first, second, alone):
        assert (account.row().status, account.row().is_late) == (Status.CONFIRMED, False)
        assert _events(account) == ["received", "confirmed"]
    stage.end()


# The time that decides


@pytest.mark.parametrize("is_late_counted", [False, True])
def test_a_change_right_after_expiry_counts_as_after_expiry(stage: Scenario, is_late_counted: bool) -> None:
    """The last look at bitcoind was before expiry. No event asks for the rest, and none comes twice."""
    stage.begin()
    account = stage.request(AMOUNT_SATS, is_late_counted=is_late_counted)
    part = stage.pay([(account, AMOUNT_SATS // 2)])
    mined = stage.pay([(account, AMOUNT_SATS // 2)])
    stage.settle()
    stage.expire(account)
    stage.replace(part, [(account.script, AMOUNT_SATS // 2 + 1)])
    stage.settle()
    more = ["late"] if is_late_counted else ["reverted", "expired", "late"]
    assert _events(account) == ["received", *more]
    stage.world.mine([stage.replace(mined, [(account.script, AMOUNT_SATS)], is_public=False)])
    stage.settle()
    assert "underpaid" not in _events(account)
    stage.end()


def test_a_payment_before_expiry_counts_after_a_later_start(stage: Scenario) -> None:
    """The daemon was down. The wallet received the payment before expiry, and a miner mined it afterwards."""
    stage.begin()
    account = stage.request(AMOUNT_SATS)
    stage.settle()
    stage.daemon.stop()
    sent = stage.pay([(account, AMOUNT_SATS)])
    stage.world.node.rpc("syncwithvalidationinterfacequeue")
    stage.expire(account)
    expired_at = account.row().expires_at
    wait_until(lambda: datetime.now(UTC) > expired_at + timedelta(seconds=2), 30)
    stage.world.mine([sent])
    stage.daemon.start()
    stage.settle()
    assert (account.row().status, account.row().is_late) == (Status.CONFIRMED, False)
    assert _output(account, sent).first_seen_at <= expired_at
    stage.end()


def test_late_money_in_a_block_with_an_early_time_is_late(stage: Scenario) -> None:
    """A miner's clock is slow. The daemon had looked after the block's time and found no payment.

    The first sight of a payment is never before its request.
    """
    stage.begin()
    time = stage.world.earliest_time()
    wait_until(lambda: datetime.now(UTC).timestamp() > time + 2, 30)
    late, new = stage.request(AMOUNT_SATS), stage.request(AMOUNT_SATS)
    stage.settle()
    stage.expire(late)
    stage.settle()
    assert late.row().status == Status.EXPIRED
    sent = stage.pay([(late, AMOUNT_SATS), (new, AMOUNT_SATS)], is_public=False)
    stage.world.mine([sent], time=time)
    stage.settle()
    assert (late.row().status, late.row().is_late) == (Status.EXPIRED, True)
    assert _output(new, sent).first_seen_at >= new.row().created_at
    assert new.row().status == Status.CONFIRMED
    stage.end()


def test_a_coinbase_output_needs_a_hundred_confirmations(till: Merchant, customer: Customer) -> None:
    """The number that the request requires does not matter. The document shows the hundred."""
    order = till.request(confirmations=1)
    till.node.rpc("generatetoaddress", 1, order.address)
    order.wait("confirming", confirmations=1, confirmations_required=100)
    till.node.mine(98)
    order.wait("confirming", confirmations=99)
    till.node.mine()
    order.wait("confirmed", confirmations=100)
    order.wait_told("received", "confirmed")
