"""The comparison of the stored facts with bitcoind's chain and mempool. It decides no status."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from config import Settings
from daemon.address_pool import AddressPool
from daemon.chain.address_import import AddressImport
from daemon.chain.block_handler import BlockHandler, Sync
from daemon.chain.mempool import Mempool, MempoolUpdate
from daemon.chain.restored_database import RestoredDatabase
from daemon.chain.stalled import StalledChain
from daemon.chain.transaction_handler import TransactionHandler
from daemon.chain.watchlist import Watchlist
from daemon.descriptor_pool import DescriptorPool
from daemon.health import HealthReporter
from daemon.node.checks import (
    CATCHING_UP,
    DOWNLOADING,
    LOADING,
    STALLED,
    check_chain,
    relay_problem,
    wallet_problems,
)
from daemon.node.client import Bitcoind
from daemon.node.feed import Feed
from daemon.node.feed_checks import find_feed
from daemon.node.types import NodeTip
from models.block import stored_tip
from models.payment import sample_addresses
from models.wallet import descriptor_wallets, is_bitcoind_used


class NotReady(Exception):
    """Nothing can be decided now, for the given reason. The loop looks again soon."""


@dataclass(frozen=True, slots=True)
class Look:
    """The result of a look. It is not complete if transactions of the mempool are left to read."""

    tip_height: int
    is_complete: bool


class Reconciler:
    """Owns the parts that read bitcoind and store facts."""

    def __init__(
        self,
        settings: Settings,
        node: Bitcoind,
        feed: Feed,
        pool: AddressPool,
        health: HealthReporter,
        pulse: Callable[[], None],
        should_stop: Callable[[], bool],
    ) -> None:
        """Call `pulse` during long work. Its exception ends the work, which the next look continues."""
        self._settings = settings
        self._node = node
        self._feed = feed
        self._pool = pool
        self._health = health
        self._watch = Watchlist()
        self._blocks = BlockHandler(node, self._watch, pulse)
        self._restored = RestoredDatabase(DescriptorPool(settings, node, _now, should_stop))
        self._import = AddressImport(node, self._blocks, settings.bitcoind_wallet)
        self._stalled = StalledChain()
        self.mempool = Mempool(node, self._watch)
        self._transactions = TransactionHandler(node, self.mempool, self._watch)

    def look(self) -> Look:
        """Compare the stored facts with chain and mempool. Raise NotReady."""
        self._watch.load()
        tip = self.tip()
        uses_bitcoind = is_bitcoind_used()
        has_wallet = self._check_node(uses_bitcoind=uses_bitcoind)
        # New addresses precede the blocks, because the daemon ignores payments to unknown addresses.
        self._restored.check(tip, _now())
        if not uses_bitcoind or self._import.run(tip, _now()):
            self._pool.begin()
        # A payment in the unread part may have come in time, or may be the payment that is missing.
        if not self._node.is_mempool_loaded():
            raise NotReady(LOADING)
        tip = self.catch_up(tip)
        return Look(tip.height, self.mempool.rescan(tip.hash, _now(), by_wallet=has_wallet))

    def tip(self) -> NodeTip:
        """Return the node's tip. Raise WrongChain, because another node may answer at the same address."""
        tip = self._node.tip()
        check_chain(self._node, tip)
        return tip

    def catch_up(self, tip: NodeTip) -> NodeTip:
        """Read the chain up to its tip, and verify all unconfirmed payments. Return the tip of both.

        Raise NotReady where the node is behind or still loading.
        """
        while True:
            self._health.note_node_height(tip.height)
            end, tip = self._blocks.sync(tip, _now())
            if end is Sync.CATCHING_UP:
                raise NotReady(self._why_behind(tip))
            self._stalled.clear()
            if tip.is_initial_download:
                raise NotReady(DOWNLOADING)
            if self.mempool.verify_unconfirmed(_now()):
                return tip
            moved_to = self._node.tip()
            if moved_to.hash == tip.hash:
                raise NotReady(LOADING)
            tip = moved_to

    def compare_with_feed(self, transactions: Iterable[bytes]) -> MempoolUpdate | None:
        """Return the new facts of the feed's transactions, not stored yet, or None without any."""
        return self._transactions.compare(transactions, _now())

    def _why_behind(self, tip: NodeTip) -> str:
        read = stored_tip()
        is_stalled = read is not None and self._stalled.is_stalled(tip.height, read.height)
        return STALLED if is_stalled else CATCHING_UP

    def _check_node(self, *, uses_bitcoind: bool) -> bool:
        """Subscribe to the node's feed, and log what is wrong with the node's settings.

        Return whether its wallet has all of our addresses. AddressPool checks the free addresses. Where no
        address comes from the wallet, nothing calls it.
        """
        lacking = []
        if uses_bitcoind:
            lacking = wallet_problems(self._settings, self._node, sample_addresses(with_free=False))
        # After a restart, bitcoind may publish at other addresses.
        found = find_feed(self._settings, self._node)
        self._feed.subscribe(found.sources)
        relay = relay_problem(self._node)
        self._health.note_node([*found.problems, *([relay] if relay else []), *lacking], found)
        return uses_bitcoind and not lacking and not descriptor_wallets()


def _now() -> datetime:
    return datetime.now(UTC)
