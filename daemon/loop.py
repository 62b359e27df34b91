"""The daemon's loop. It waits for the feed, updates the stored facts, and runs the work that is due.

After a start, a gap, a new connection, silence or an outage, the loop may have missed a message. Then it
reconciles. After an error of bitcoind or of the database, the loop tries again. Any other exception is a bug
and stops the process, because the next start looks at everything again.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from config import Settings
from daemon.address_pool import AddressPool
from daemon.chain.address_import import AddressImport
from daemon.chain.block_handler import BlockHandler, Sync
from daemon.chain.mempool import Mempool, MempoolUpdate
from daemon.chain.restored_database import RestoredDatabase
from daemon.chain.stalled import StalledChain
from daemon.chain.statuses import Assessor
from daemon.chain.transaction_handler import TransactionHandler
from daemon.chain.watchlist import Watchlist
from daemon.commands import CommandHandler, run_cancellations
from daemon.counters import Counters
from daemon.delivery.outbox_worker import OutboxWorker
from daemon.descriptor_pool import DescriptorPool
from daemon.health import HasThread, HealthReporter
from daemon.node.checks import (
    CATCHING_UP,
    DOWNLOADING,
    LOADING,
    STALLED,
    WrongChain,
    check_chain,
    relay_problem,
    wallet_problems,
)
from daemon.node.client import Bitcoind
from daemon.node.feed import Batch, Feed
from daemon.node.feed_checks import LOOK_SECONDS, find_feed
from daemon.node.rpc import NodeError, RpcError
from daemon.node.types import NodeTip
from daemon.state import LoopState
from daemon.unit_of_work import unit_of_work
from daemon.worker import Stopping
from models.block import stored_tip
from models.command import CANCEL, DaemonCommand, pending_cancellations, pending_commands
from models.db.connection import TRANSIENT_ERRORS, disconnect, one_line
from models.db.lock import AdvisoryLock, FileLock
from models.payment import next_assessment, sample_addresses
from models.wallet import descriptor_wallets, is_bitcoind_used
from sd_notify import ServiceManager

log = structlog.get_logger(__name__)

TICK_SECONDS = 0.2
RETRY_SECONDS = 1.0
"""The delay before another look at an open matter.

Examples are a missing payment, and a chain that is catching up. After a new connection, the subscription may
not have reached bitcoind yet.
"""
CHECK_SECONDS = 2.0
"""The interval of the checks that unconfirmed payments are still in the mempool.

With DROP_GRACE and RETRY_SECONDS, a dropped payment is found in less than ten seconds.
"""
PAUSE_PER_LOOK, MAX_PAUSE_SECONDS = 10, 10.0
"""While a part of the feed is missing, a pause is so many times as long as a look, up to this limit."""


class NotReady(Exception):
    """Nothing can be decided now, for the given reason. The loop looks again soon."""


class Loop:
    """Owns the parts that read bitcoind and write facts and statuses."""

    def __init__(
        self,
        settings: Settings,
        node: Bitcoind,
        feed: Feed,
        pool: AddressPool,
        outbox_worker: OutboxWorker,
        rates: HasThread,
        lock: FileLock | AdvisoryLock,
        should_stop: Callable[[], bool],
        manager: ServiceManager,
        counters: Counters,
    ) -> None:
        self._settings = settings
        self._node = node
        self._feed = feed
        self._pool = pool
        self._outbox_worker = outbox_worker
        self._should_stop = should_stop
        self._counters = counters
        self._health = HealthReporter(feed, pool, (pool, outbox_worker, rates), lock, manager, counters)

        node.on_wait(self._pulse)
        self._watch = Watchlist()
        self._blocks = BlockHandler(node, self._watch, self._pulse)
        self._restored = RestoredDatabase(DescriptorPool(settings, node, _now, should_stop))
        self._import = AddressImport(node, self._blocks, settings.bitcoind_wallet)
        self._stalled = StalledChain()
        self._mempool = Mempool(node, self._watch)
        self._transactions = TransactionHandler(node, self._mempool, self._watch)
        self._commands = CommandHandler(settings, self._mempool)
        self._assessor = Assessor(settings, self._pulse, counters)

        self._reconcile_at = self._check_at = 0.0
        self._connected_at = -RETRY_SECONDS
        self._tip: NodeTip | None = None
        self._synced_at: datetime | None = None

    def run(self) -> None:
        """Work until `should_stop` returns true.

        Raise LockLost where another daemon may use the database by now, and WorkerDied.
        """
        while not self._should_stop():
            batch = self._feed.poll(self._poll_seconds())
            self._handle_feed_events(batch)
            try:
                self._step(batch)
                if self._tip is not None:
                    self._health.work(self._tip.height)
            except NotReady as reason:
                self._enter_waiting(str(reason))
            except (NodeError, RpcError, WrongChain) as error:
                self._node.close()
                self._begin_outage(str(error))
            except TRANSIENT_ERRORS as error:
                self._lose_database(error)
            except Stopping:
                return
            self._health.note_slow_call(None)
            self._beat()
            self._health.tell_ready()

    def _step(self, batch: Batch) -> None:
        if time.monotonic() >= self._reconcile_at:
            self._reconcile()
        elif self._tip is None:
            return
        elif batch.has_new_tip or batch.has_connected:
            tip = self._node.tip()
            # Another node may answer at the same address.
            check_chain(self._node, tip)
            if batch.has_new_tip:
                self._catch_up(tip)
                self._assess()
        if batch.transactions:
            self._handle_transactions(batch.transactions)
        self._run_commands()
        self._watch_requests()
        self._watch_unconfirmed()

    def _reconcile(self) -> None:
        """Compare the stored state with chain and mempool, and assess the requests that are due."""
        started, began = _now(), time.monotonic()
        # A later command waits for the next look, because money may have come before the command.
        cancellations = pending_cancellations()
        self._tip = None
        self._health.begin_look()
        self._watch.load()
        tip = self._node.tip()
        check_chain(self._node, tip)
        uses_bitcoind = is_bitcoind_used()
        has_wallet = self._check_node(uses_bitcoind=uses_bitcoind)
        # New addresses precede the blocks, because the daemon ignores payments to unknown addresses.
        self._restored.check(tip, _now())
        if not uses_bitcoind or self._import.run(tip, _now()):
            self._pool.begin()
        # A payment in the unread part may have come in time, or may be the payment that is missing.
        if not self._node.is_mempool_loaded():
            raise NotReady(LOADING)
        tip = self._catch_up(tip)
        is_complete = self._mempool.rescan(tip.hash, _now(), by_wallet=has_wallet)
        if is_complete:
            self._synced_at = started
        self._reconcile_at = time.monotonic() + self._interval(is_complete, time.monotonic() - began)
        self._assess()
        if is_complete and cancellations:
            self._cancel(cancellations, started)

    def _catch_up(self, tip: NodeTip) -> NodeTip:
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
            if self._mempool.verify_unconfirmed(_now()):
                break
            moved_to = self._node.tip()
            if moved_to.hash == tip.hash:
                raise NotReady(LOADING)
            tip = moved_to
        self._tip = tip
        return tip

    def _why_behind(self, tip: NodeTip) -> str:
        read = stored_tip()
        is_stalled = read is not None and self._stalled.is_stalled(tip.height, read.height)
        return STALLED if is_stalled else CATCHING_UP

    def _handle_transactions(self, transactions: list[bytes]) -> None:
        update = self._transactions.look(transactions, _now())
        if update is None:
            return
        if update.is_conclusive:
            self._assess(update)
        else:
            update.apply_in_transaction()
            self._reconcile()

    def _assess(self, update: MempoolUpdate | None = None) -> None:
        """Assess the requests that are due. Before the first complete look, only store the facts.

        New facts and the statuses that they change share a transaction.
        """
        if self._tip is None or self._synced_at is None:
            if update is not None:
                update.apply_in_transaction()
            return
        now = _now()
        # The system clock may have been ahead. After its correction, no request may expire early.
        as_of = min(self._synced_at, now)
        height, changes, is_last = self._tip.height, 0, False
        if update is not None:
            with unit_of_work("assessed") as work:
                update.apply(work)
                batch = self._assessor.assess_batch(work, height, as_of, now)
            changes, is_last = batch.changes, batch.is_last
        if not is_last:
            changes += self._assessor.assess_due(height, as_of, now)
        if changes:
            self._outbox_worker.wake()
        # A deadline has passed since the last look. A new look shows whether the money came in time.
        if self._assessor.is_any_waiting:
            self._reconcile_within(0)

    def _cancel(self, commands: list[DaemonCommand], looked_at: datetime) -> None:
        """Run the commands to cancel a request, after a complete look that began at `looked_at`."""
        now = _now()
        run_cancellations(commands, min(looked_at, now), now)
        self._assess()

    def _run_commands(self) -> None:
        commands = pending_commands()
        if any(command.kind == CANCEL for command in commands):
            self._reconcile_within(0)
        if commands:
            self._commands.handle(commands, _now())
            self._assess()
            self._outbox_worker.wake()

    def _watch_requests(self) -> None:
        """Assess requests whose facts the web server has set. Reconcile before a request expires.

        The payment of an expiring request may have come in time.
        """
        has_changed, deadline = next_assessment()
        if has_changed:
            self._assess()
        if deadline is not None and deadline < _now():
            self._reconcile_within(0)

    def _watch_unconfirmed(self) -> None:
        """Reconcile soon where a payment is missing, or has left the mempool without a message."""
        if self._mempool.is_missing_any:
            self._reconcile_within(RETRY_SECONDS)
        elif time.monotonic() >= self._check_at:
            self._check_at = time.monotonic() + CHECK_SECONDS
            if self._mempool.is_any_gone():
                self._reconcile_within(0)

    def _check_node(self, *, uses_bitcoind: bool) -> bool:
        """Subscribe to the node's feed, and log what is wrong with the node's settings.

        Return whether its wallet knows all of our addresses. AddressPool checks the free addresses. Where no
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

    def _handle_feed_events(self, batch: Batch) -> None:
        self._count(batch)
        if batch.lost:
            log.warning("feed messages lost", count=batch.lost)
            self._health.note_lost(batch.lost)
        if batch.has_connected:
            log.info("feed connected")
            self._pool.check_soon()
            self._connected_at = time.monotonic()
        if batch.is_incomplete:
            self._reconcile_within(0)

    def _count(self, batch: Batch) -> None:
        for name, label, count in (
            ("feed_messages", "rawtx", len(batch.transactions)),
            ("feed_messages", "hashblock", batch.tips),
            ("feed_messages_lost", "", batch.lost),
            ("feed_gaps", "", int(batch.lost > 0)),
            ("feed_connections", "", int(batch.has_connected)),
        ):
            if count:
                self._counters.add(name, label, count)

    def _reconcile_within(self, seconds: float) -> None:
        """Reconcile after `seconds` at the latest. During an outage the retry delay stays."""
        if self._health.state is not LoopState.OUT_OF_TOUCH:
            self._reconcile_at = min(self._reconcile_at, time.monotonic() + seconds)

    def _interval(self, is_complete: bool, seconds: float) -> float:
        """Return the seconds until the next look. `seconds` is the duration of this look."""
        has_just_connected = time.monotonic() < self._connected_at + RETRY_SECONDS
        if not is_complete or self._mempool.is_missing_any or has_just_connected:
            return RETRY_SECONDS
        usual = float(self._settings.reconcile_interval)
        if self._feed.is_whole:
            return usual
        return min(max(LOOK_SECONDS, PAUSE_PER_LOOK * seconds), MAX_PAUSE_SECONDS, usual)

    def _poll_seconds(self) -> float:
        return min(TICK_SECONDS, max(self._reconcile_at - time.monotonic(), 0))

    def _enter_waiting(self, reason: str) -> None:
        self._health.wait(reason)
        self._tip = None
        self._reconcile_at = time.monotonic() + RETRY_SECONDS

    def _begin_outage(self, reason: str) -> None:
        self._pool.check_soon()
        self._tip = None
        self._reconcile_at = time.monotonic() + self._health.lose_touch(reason)

    def _pulse(self, slow_call: str | None = None) -> None:
        """Send heartbeats during long work or a slow call. Raise Stopping if the process must stop."""
        self._health.note_slow_call(slow_call)
        if self._should_stop():
            raise Stopping
        self._beat()

    def _beat(self) -> None:
        if not self._health.is_beat_due():
            return
        try:
            self._health.beat(_now())
        except TRANSIENT_ERRORS as error:
            self._lose_database(error)
        self._health.tell_alive()

    def _lose_database(self, error: Exception) -> None:
        self._begin_outage(f"the database cannot be used: {one_line(error)}")
        disconnect()


def _now() -> datetime:
    return datetime.now(UTC)
