"""A node on a chain with less work. The daemon reports it, and follows it only by the operator's command."""

import json
from datetime import UTC, datetime

import pytest

from daemon.chain import stalled
from daemon.node.checks import STALLED
from models import block
from models.block import stored_tip
from models.command import add_chain_to_follow, pending_commands
from models.daemon_status import daemon_report, update_report
from models.outbox import events_of
from models.output import outputs_at
from payments.status import Status
from tests.functional.conftest import MerchantMaker
from tests.support.customer import Customer
from tests.support.scenario import PATIENCE_SECONDS, Scenario

AMOUNT_SATS = 2_000
BLOCKS_KEPT = 5


@pytest.mark.broad
def test_the_operators_command_makes_the_daemon_follow(
    make_merchant: MerchantMaker, customer: Customer
) -> None:
    """The command first prints its effect. No status changes before it."""
    merchant = make_merchant().open()
    kept, lost = merchant.request(confirmations=1), merchant.request(confirmations=1)
    customer.pay(kept.address, kept.amount_sats)
    merchant.node.mine()
    kept.wait("confirmed")
    sent = customer.pay(lost.address, lost.amount_sats)
    refused = merchant.installation.manage("chain", "follow", "--yes")
    assert refused.returncode == 1
    assert "follows it by itself" in refused.stderr
    merchant.node.mine(2)
    lost.wait("confirmed")
    top = merchant.node.rpc("getblockhash", merchant.node.rpc("getblockcount") - 1)
    merchant.node.rpc("invalidateblock", top)
    # The payment is in no mempool now, because a block on the other branch spends its coin.
    customer.mine_only(customer.sign_double_spend(sent).raw)
    merchant.wait_problem("behind the one already read")
    assert lost.now()["status"] == "confirmed"

    merchant.daemon.stop()
    with merchant.database():
        update_report(problems=[STALLED])
    found = json.loads(merchant.installation.manage("doctor", "--json").stdout)["findings"]
    assert any(each["part"] == "sync" and STALLED in each["text"] for each in found), found
    merchant.daemon.start()
    merchant.wait_problem("behind the one already read")

    unsure = merchant.installation.manage("chain", "follow")
    assert unsure.returncode == 1
    assert "1 outputs to your addresses are in those blocks" in unsure.stderr
    assert lost.now()["status"] == "confirmed"
    followed = json.loads(merchant.installation.manage("chain", "follow", "--yes", "--json").stdout)
    assert (followed["read_height"] - followed["fork_height"], followed["outputs_taken_back"]) == (2, 1)
    lost.wait("new")
    lost.wait_told("received", "confirmed", "reverted")
    merchant.wait_well()
    kept.wait_told("received", "confirmed")

    # bitcoind may follow the other chain again, which has more work.
    merchant.node.rpc("reconsiderblock", top)
    lost.wait("confirmed")
    merchant.wait_well()


def test_a_stalled_chain_is_reported_with_the_command(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report comes after an hour, and no event comes before the command. Then the new chain counts."""
    monkeypatch.setattr(stalled, "STALLED_SECONDS", 0.0)
    scenario.begin()
    request = scenario.request(AMOUNT_SATS)
    scenario.chain.mine([scenario.pay([(request, AMOUNT_SATS)])])
    scenario.settle()
    rpc = scenario.chain.node.rpc
    rpc("invalidateblock", rpc("getbestblockhash"))
    scenario.daemon.stop()
    scenario.daemon.start()
    assert scenario.daemon.work_until(lambda: STALLED in daemon_report().problems, PATIENCE_SECONDS)
    scenario.hold("stored events of a chain with less work")
    assert request.row().status == Status.CONFIRMED

    add_chain_to_follow(rpc("getbestblockhash"), datetime.now(UTC))
    assert scenario.daemon.work_until(lambda: request.row().status == Status.RECEIVED, PATIENCE_SECONDS)
    assert scenario.daemon.work_until(lambda: not pending_commands(), PATIENCE_SECONDS)
    events = [event.type for event in events_of(request.row())]
    assert events == ["payment.received", "payment.confirmed", "payment.reverted"]
    assert scenario.daemon.work_until(lambda: not daemon_report().problems, PATIENCE_SECONDS)


def test_the_command_holds_only_for_its_chain(scenario: Scenario) -> None:
    """bitcoind has left that chain. The daemon does not follow another chain with less work."""
    scenario.begin()
    request = scenario.request(AMOUNT_SATS)
    scenario.chain.mine([scenario.pay([(request, AMOUNT_SATS)])])
    tip = scenario.chain.mine()
    scenario.settle()
    rpc = scenario.chain.node.rpc
    scenario.daemon.stop()
    add_chain_to_follow(tip, datetime.now(UTC))
    rpc("invalidateblock", rpc("getblockhash", rpc("getblockcount") - 1))
    scenario.daemon.start()
    scenario.hold("stored events of another chain with less work")
    assert request.row().status == Status.CONFIRMED


@pytest.mark.broad
def test_a_chain_without_a_shared_kept_block_can_be_followed(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test network that began again has such a chain."""
    monkeypatch.setattr(block, "BLOCKS_KEPT", BLOCKS_KEPT)
    scenario.begin()
    request = scenario.request(AMOUNT_SATS)
    sent = scenario.pay([(request, AMOUNT_SATS)])
    scenario.chain.mine([sent])
    for _ in range(3 * BLOCKS_KEPT):
        scenario.chain.mine()
    scenario.settle()
    rpc = scenario.chain.node.rpc
    scenario.daemon.stop()
    rpc("invalidateblock", rpc("getblockhash", rpc("getblockcount") - 3 * BLOCKS_KEPT))
    scenario.chain.mine()
    tip = scenario.chain.mine([sent])
    scenario.daemon.start()
    scenario.hold("stored events of a chain with less work")
    add_chain_to_follow(tip, datetime.now(UTC))

    def is_followed() -> bool:
        stored = stored_tip()
        return stored is not None and stored.hash == tip and not pending_commands()

    assert scenario.daemon.work_until(is_followed, PATIENCE_SECONDS)
    [output] = outputs_at(request.row().address_id)
    assert (output.txid, output.block_hash) == (sent.txid, tip)
    assert request.row().status == Status.CONFIRMED
