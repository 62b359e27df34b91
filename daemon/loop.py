"""The daemon's one loop: wait for the feed, bring what is stored up to date, see what is due.

Every path that may have missed something (start, a gap, a new connection, silence, an outage) ends in
`_reconcile`. Errors of bitcoind and of the database are waited out; anything else is a bug and stops the
process, since the next start looks at everything again.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from config import Settings
from daemon.address_pool import AddressPool
from daemon.chain.block_handler import BlockHandler, Sync
from daemon.chain.mempool import Findings, Mempool
from daemon.chain.statuses import Assessor
from daemon.chain.transaction_handler import TransactionHandler
from daemon.chain.watchlist import Watch
from daemon.commands import HintHandler
from daemon.counters import Counters
from daemon.delivery.outbox_worker import Courier
from daemon.health import HasThread, Vitals
from daemon.node.checks import (
    CATCHING_UP,
    DOWNLOADING,
    LOADING,
    WrongChain,
    check_chain,
    feed_problems,
    wallet_problems,
)
from daemon.node.client import Bitcoind
from daemon.node.feed import Batch, Feed
from daemon.node.rpc import NodeError, RpcError
from daemon.node.types import NodeTip
from daemon.worker import Stopping
from models.command import pending_hints
from models.db.connection import DATABASE_TROUBLE, disconnect, one_line
from models.db.lock import AdvisoryLock, FileLock
from models.payment import earliest_deadline, sample_addresses
from sd_notify import ServiceManager

log = structlog.get_logger(__name__)

TICK_SECONDS = 0.2
SOON_SECONDS = 1.0
"""Until another look where something was left open: a new connection whose subscription may not have reached
bitcoind yet, a payment just missing, a chain that is catching up."""


class NotYet(Exception):
    """Nothing can be decided now, by the reason given; look again soon."""


class Loop:
    """Owns the parts that look at bitcoind and write facts and statuses."""

    def __init__(
        self,
        settings: Settings,
        node: Bitcoind,
        feed: Feed,
        pool: AddressPool,
        courier: Courier,
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
        self._courier = courier
        self._should_stop = should_stop
        self._counters = counters
        self._vitals = Vitals(feed, pool, (pool, courier, rates), lock, manager, counters)

        node.while_waiting(self._pulse)
        self._watch = Watch()
        self._blocks = BlockHandler(node, self._watch, self._pulse)
        self._mempool = Mempool(node, self._watch)
        self._transactions = TransactionHandler(node, self._mempool, self._watch)
        self._hints = HintHandler(self._mempool)
        self._assessor = Assessor(settings, self._pulse, counters)

        self._reconcile_at = 0.0
        self._tip: NodeTip | None = None
        self._node_height: int | None = None
        self._known_until: datetime | None = None

    def run(self) -> None:
        """Work until told to stop.

        Raises LockLost where another daemon may work on the database by now, and WorkerDied.
        """
        while not self._should_stop():
            batch = self._feed.poll(self._patience())
            self._note(batch)
            try:
                self._step(batch)
                self._end_outage()
            except NotYet as reason:
                self._wait_for(str(reason))
                self._end_outage()
            except (NodeError, RpcError, WrongChain) as error:
                self._node.close()
                self._begin_outage(str(error))
            except DATABASE_TROUBLE as error:
                self._lose_database(error)
            except Stopping:
                return
            self._vitals.silence = None
            self._beat()
            self._vitals.tell_ready(self._height())

    def _step(self, batch: Batch) -> None:
        if not self._watch.addresses.is_read:
            self._watch.addresses.read_on()
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
        if batch.transactions and self._vitals.waiting_for is None:
            self._take(batch.transactions)
        self._carry_out_hints()
        self._watch_deadlines()

    def _reconcile(self) -> None:
        """Look at everything in bitcoind that could concern us, and decide what is due."""
        started = _now()
        self._tip = None
        self._watch.load()
        tip = self._node.tip()
        check_chain(self._node, tip)
        # A payment that it has not read yet may have come in time, or be the one that is missed.
        if not self._node.is_mempool_loaded():
            raise NotYet(LOADING)
        has_wallet = self._check_node()
        tip = self._catch_up(tip)
        is_complete = self._mempool.reread(tip.hash, _now(), by_wallet=has_wallet)
        if is_complete:
            self._known_until = started
        self._reconcile_at = time.monotonic() + self._interval(is_complete)
        self._assess()

    def _catch_up(self, tip: NodeTip) -> NodeTip:
        """Read the chain up to its tip, and ask after all that is unconfirmed; the tip that all is known at.

        Raises NotYet.
        """
        while True:
            self._node_height = tip.height
            state, tip = self._blocks.sync(tip, _now())
            if state is Sync.CATCHING_UP:
                raise NotYet(CATCHING_UP)
            if tip.is_initial_download:
                raise NotYet(DOWNLOADING)
            if self._mempool.recheck(_now()):
                break
            moved_to = self._node.tip()
            if moved_to.hash == tip.hash:
                raise NotYet(LOADING)
            tip = moved_to
        if self._mempool.is_missing_any:
            self._look_within(SOON_SECONDS)
        self._vitals.waiting_for = None
        self._tip, self._node_height = tip, tip.height
        return tip

    def _take(self, transactions: list[bytes]) -> None:
        findings = self._transactions.look(transactions, _now())
        if findings is None:
            return
        # Money for a request that should have expired by now: was the other part there in time?
        if findings.is_whole and not self._is_deadline_past():
            self._assess(findings)
        else:
            findings.store_alone()
            self._reconcile()

    def _assess(self, findings: Findings | None = None) -> None:
        """Decide what is due; before the first whole look nothing is known well enough to.

        What was found is stored in the same transaction as what it changes.
        """
        if self._tip is None or self._known_until is None:
            if findings is not None:
                findings.store_alone()
            return
        store_facts = None if findings is None else findings.store
        now = _now()
        # A clock that was ahead and is right again expires nothing any more.
        as_of = min(self._known_until, now)
        if self._assessor.assess_due(self._tip.height, as_of, now, store_facts):
            self._courier.wake()

    def _carry_out_hints(self) -> None:
        hints = pending_hints()
        if hints and self._vitals.waiting_for is None:
            self._hints.handle(hints, _now())
            self._assess()
            self._courier.wake()

    def _watch_deadlines(self) -> None:
        """Before a request expires, bitcoind is asked once more whether it was paid in time."""
        if self._vitals.waiting_for is None and self._is_deadline_past():
            self._look_within(0)

    def _is_deadline_past(self) -> bool:
        deadline = earliest_deadline()
        return deadline is not None and deadline < _now()

    def _check_node(self) -> bool:
        """Log what is wrong with the node's settings. Return whether its wallet knows the open requests.

        The pool looks after the free addresses.
        """
        lacking = wallet_problems(self._settings, self._node, sample_addresses(with_free=False))
        self._vitals.note_node(feed_problems(self._settings, self._node) + lacking)
        return not lacking

    def _note(self, batch: Batch) -> None:
        self._count(batch)
        if batch.lost:
            log.warning("feed messages lost", count=batch.lost)
        if batch.has_connected:
            log.info("feed connected")
            self._pool.check_soon()
            self._look_within(SOON_SECONDS)
        if batch.is_incomplete:
            self._look_within(0)

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

    def _look_within(self, seconds: float) -> None:
        """Reconcile then, if nothing has asked for it earlier."""
        if self._vitals.outage is None:
            self._reconcile_at = min(self._reconcile_at, time.monotonic() + seconds)

    def _interval(self, is_complete: bool) -> float:
        is_busy = not is_complete or self._mempool.is_missing_any
        return SOON_SECONDS if is_busy else float(self._settings.reconcile_interval)

    def _patience(self) -> float:
        if not self._watch.addresses.is_read and self._vitals.outage is None:
            return 0
        return min(TICK_SECONDS, max(self._reconcile_at - time.monotonic(), 0))

    def _wait_for(self, reason: str) -> None:
        self._vitals.wait_for(reason)
        self._tip = self._node_height = None
        self._reconcile_at = time.monotonic() + SOON_SECONDS

    def _begin_outage(self, reason: str) -> None:
        self._pool.check_soon()
        self._tip = self._node_height = None
        self._reconcile_at = time.monotonic() + self._vitals.begin_outage(reason)

    def _end_outage(self) -> None:
        if self._tip is not None or self._vitals.waiting_for is not None:
            self._vitals.end_outage()

    def _pulse(self, silence: str | None = None) -> None:
        """In the midst of long work, or of bitcoind's silence: a sign of life, and an ear for the word to
        stop."""
        self._vitals.silence = silence
        if self._should_stop():
            raise Stopping
        self._beat()

    def _beat(self) -> None:
        if not self._vitals.is_beat_due():
            return
        try:
            self._vitals.beat(_now(), self._node_height)
        except DATABASE_TROUBLE as error:
            self._lose_database(error)
        self._vitals.tell_alive(self._height())

    def _lose_database(self, error: Exception) -> None:
        self._begin_outage(f"the database cannot be used: {one_line(error)}")
        disconnect()

    def _height(self) -> int | None:
        return None if self._tip is None else self._tip.height


def _now() -> datetime:
    return datetime.now(UTC)
