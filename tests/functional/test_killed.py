"""The daemon is killed between any two of its steps: the next start converges, and tells everything.

NODETILL_SOAK_KILLS is the number of kills at random moments, and has each place reached up to three times.
"""

import os
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from config import load_settings
from daemon import failpoint
from daemon.node.rpc import RPC_CALLS
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
from tests.support.rows import new_seller
from tests.support.scenario import Scenario
from tests.support.waiting import wait_until
from tests.support.zmq_forwarder import ZmqForwarder

KILLS = int(os.environ.get("NODETILL_SOAK_KILLS", "0"))
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

FIRST = ("chain-named.written", "chain-named.committed", "chain-joined.written", "chain-joined.committed")
"""Only a daemon with a new database comes by these."""

SPECIAL = {
    "rpc.getblock": {"BITCOIND_REST": "off"},
    "rpc.getrawmempool": {"BITCOIND_WALLET": "nowhere"},
    "pool-checked.written": {"BITCOIND_WALLET": "nowhere"},
    "pool-checked.committed": {"BITCOIND_WALLET": "nowhere"},
}
"""Where a daemon with the usual settings doesn't come by."""

FORGETFUL = ("chain-read-again.written", "chain-read-again.committed", "rpc.getblockheader")
FEW = 6
"""Blocks kept: the tale has a reorg of 8."""


@pytest.fixture(scope="module")
def tale(
    start_node: Callable[..., RegtestNode],
    new_database: NewDatabase,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[KillScenario]:
    """A node, a database, a feed and a shop; the daemon has not been started."""
    directory = tmp_path_factory.mktemp("tale")
    node = start_node()
    node.rpc("createwallet", "nodetill", False, False, "", False, True, True)
    world = ChainState(node).begin()
    with ExitStack() as stack:
        feed = stack.enter_context(ZmqForwarder(node))
        shop = stack.enter_context(Endpoint(answers(204)))
        changes = {"ADDRESS_POOL": "6", "RECONCILE_INTERVAL": "3600", **feed.settings}
        variables = settings_for(node, directory) | changes | {"DATABASE_URL": new_database(directory)}
        daemon = stack.enter_context(ChildDaemon(variables, directory))
        settings = load_settings(variables, directory)
        open_database(settings.database_url.reveal())
        stack.callback(disconnect)
        new_seller(webhook_url=shop.url, webhook_secret=SECRET)
        yield KillScenario(Scenario(world, as_in_process_daemon(daemon), settings), daemon, feed, shop)


def test_a_daemon_that_dies_at_its_very_first_start_begins_again(tale: KillScenario) -> None:
    """With a new database it has to find out which chain it is on, and where that ends."""
    for place in FIRST:
        tale.daemon.start(place)
        wait_until(lambda: tale.daemon.is_dead, what=f"a death at {place}")


@pytest.mark.parametrize("place", [name for name in failpoint.names(RPC_CALLS) if name not in FIRST])
def test_a_daemon_that_dies_anywhere_loses_nothing(tale: KillScenario, place: str) -> None:
    """Started again, it comes to the truth, and tells it at least once, in order, under the same ids."""
    daemon = tale.daemon
    for arrival in range(1, 4 if KILLS else 2):
        tale.begin()
        if place == "rpc.loadwallet":
            tale.stage.world.node.rpc("unloadwallet", "nodetill")
        if place.startswith("pool-checked"):
            wait_until(free_count, what="free addresses, to be held")
        daemon.stop()
        daemon.blocks_kept = FEW if place in FORGETFUL else BLOCKS_KEPT
        daemon.start(f"{place}:{arrival}", **SPECIAL.get(place, {}))
        tale.run()
        assert daemon.is_dead or arrival > 1, f"{place} was not reached; the log:\n{daemon.words()}"
        tale.finish()


def test_a_daemon_that_is_killed_again_and_again_loses_nothing(tale: KillScenario) -> None:
    """At random moments, while customers pay and blocks come; a message comes twice only by a kill."""
    chance = random.Random(KILLS)
    daemon, kills = tale.daemon, tale.daemon.kills + (KILLS or 15)
    daemon.blocks_kept = BLOCKS_KEPT
    while daemon.kills < kills:
        tale.begin()
        before = repeats(tale), daemon.kills
        tale.run(lambda: daemon.be_killed_within(chance.uniform(0, 0.6)))
        tale.finish()
        # In each tale one message is asked for again.
        assert repeats(tale) - before[0] <= daemon.kills - before[1] + 1
