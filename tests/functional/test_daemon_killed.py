"""The daemon is killed between any two of its steps. The next start continues, and sends all events.

NODETILL_SOAK_KILLS is the number of kills at random moments. With it, each failpoint is reached up to three
times.
"""

import os
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from config import load_settings
from daemon import failpoint
from daemon.node.calls import RPC_CALLS
from models.address import free_count
from models.block import BLOCKS_KEPT
from models.db.connection import disconnect
from models.db.schema import open_database
from regtest.installation import settings_for
from regtest.node import RegtestNode
from tests.conftest import NewDatabase
from tests.support.chain_state import ChainState
from tests.support.child_daemon import ChildDaemon
from tests.support.endpoint import Endpoint, answers
from tests.support.kill_scenario import KillScenario, as_in_process_daemon, repeats
from tests.support.needs import cases
from tests.support.rows import new_seller, new_webhook
from tests.support.scenario import Scenario
from tests.support.waiting import wait_until
from tests.support.zmq_forwarder import ZmqForwarder

KILLS = int(os.environ.get("NODETILL_SOAK_KILLS", "0"))
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

FIRST_START = (
    "chain-named.written",
    "chain-named.committed",
    "chain-joined.written",
    "chain-joined.committed",
)
"""Failpoints that only a daemon with a new database reaches."""

OF_DESCRIPTORS = (
    "addresses-derived.written",
    "addresses-derived.committed",
    "addresses-skipped.written",
    "addresses-skipped.committed",
    "rpc.deriveaddresses",
)
"""Failpoints of wallets that have a descriptor: see test_descriptor_wallets.py."""

USUAL = [name for name in failpoint.names(RPC_CALLS) if name not in (*FIRST_START, *OF_DESCRIPTORS)]

SPECIAL = {
    "rpc.getblock": {"BITCOIND_REST": "off"},
    "rpc.getrawmempool": {"BITCOIND_WALLET": "nowhere"},
    "pool-checked.written": {"BITCOIND_WALLET": "nowhere"},
    "pool-checked.committed": {"BITCOIND_WALLET": "nowhere"},
}
"""Failpoints that a daemon with the usual settings does not reach, with the settings that they need."""

READ_AGAIN = ("chain-read-again.written", "chain-read-again.committed", "rpc.getblockheader")
FEW_BLOCKS = 6
"""The number of kept blocks at these failpoints, because the scenario has a reorg of 8 blocks."""


@pytest.fixture(scope="module")
def kill_scenario(
    start_node: Callable[..., RegtestNode],
    new_database: NewDatabase,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[KillScenario]:
    """Yield a node, a database, a feed and a shop. The daemon has not started yet."""
    directory = tmp_path_factory.mktemp("scenario")
    node = start_node()
    node.rpc("createwallet", "nodetill", False, False, "", False, True, True)
    chain = ChainState(node).begin()
    with ExitStack() as stack:
        feed = stack.enter_context(ZmqForwarder(node))
        shop = stack.enter_context(Endpoint(answers(204)))
        changes = {"ADDRESS_POOL": "6", "RECONCILE_INTERVAL": "3600", **feed.settings}
        variables = settings_for(node, directory) | changes | {"DATABASE_URL": new_database(directory)}
        daemon = stack.enter_context(ChildDaemon(variables, directory))
        settings = load_settings(variables, directory)
        open_database(settings.database_url.reveal())
        stack.callback(disconnect)
        new_webhook(new_seller(), url=shop.url, signing_secret=SECRET)
        yield KillScenario(Scenario(chain, as_in_process_daemon(daemon), settings), daemon, feed, shop)


def test_a_daemon_killed_at_its_first_start_starts_again(kill_scenario: KillScenario) -> None:
    """With a new database the daemon first stores its chain and the tip."""
    for place in FIRST_START:
        kill_scenario.daemon.start(place)
        wait_until(lambda: kill_scenario.daemon.is_dead, what=f"a kill at {place}")


@pytest.mark.parametrize("place", cases(USUAL, USUAL[::4]))
def test_a_daemon_killed_at_any_failpoint_loses_nothing(kill_scenario: KillScenario, place: str) -> None:
    """After the next start all statuses are correct. Each event comes at least once, in order."""
    daemon = kill_scenario.daemon
    for arrival in range(1, 4 if KILLS else 2):
        kill_scenario.begin()
        if place == "rpc.loadwallet":
            kill_scenario.scenario.chain.node.rpc("unloadwallet", "nodetill")
        if place.startswith("pool-checked"):
            wait_until(free_count, what="free addresses, which the daemon will hold")
        daemon.stop()
        daemon.blocks_kept = FEW_BLOCKS if place in READ_AGAIN else BLOCKS_KEPT
        daemon.start(f"{place}:{arrival}", **SPECIAL.get(place, {}))
        kill_scenario.run()
        assert daemon.is_dead or arrival > 1, f"{place} was not reached; the log:\n{daemon.words()}"
        kill_scenario.finish()


def test_a_daemon_killed_at_random_moments_loses_nothing(kill_scenario: KillScenario) -> None:
    """The kills come during payments and blocks. A message comes twice only because of a kill."""
    chance = random.Random(KILLS)
    daemon, kills = kill_scenario.daemon, kill_scenario.daemon.kills + (KILLS or 15)
    daemon.blocks_kept = BLOCKS_KEPT
    while daemon.kills < kills:
        kill_scenario.begin()
        before = repeats(kill_scenario), daemon.kills
        kill_scenario.run(lambda: daemon.be_killed_within(chance.uniform(0, 0.6)))
        kill_scenario.finish()
        # In each scenario the API requests one message again.
        assert repeats(kill_scenario) - before[0] <= daemon.kills - before[1] + 1
