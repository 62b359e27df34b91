"""The daemon's loop. It waits for the feed, updates the stored facts, and runs the work that is due.

`LoopState` is the table of its states. After a start, a gap, a new connection, silence or an outage, the loop
may have missed a message. Then it reconciles. After an error of bitcoind or of the database, the loop tries
again. Any other exception is a bug and stops the process, because the next start looks at everything again.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from config import Settings
from daemon.address_pool import AddressPool
from daemon.chain.mempool import MempoolUpdate
from daemon.chain.statuses import Assessor
from daemon.commands import CommandHandler, run_cancellations
from daemon.counters import Counters
from daemon.delivery.outbox_worker import OutboxWorker
from daemon.health import HealthReporter
from daemon.node.checks import WrongChain
from daemon.node.client import Bitcoind
from daemon.node.errors import NodeError, RpcError
from daemon.node.feed import Batch, Feed
from daemon.rates.updater import RateKeeper
from daemon.reconciler import NotReady, Reconciler
from daemon.schedule import LookSchedule
from daemon.state import LoopState
from daemon.unit_of_work import unit_of_work
from daemon.worker import Stopping
from models.command import CANCEL, DaemonCommand, pending_cancellations, pending_commands
from models.db.connection import TRANSIENT_ERRORS, disconnect, one_line
from models.payment import next_assessment

_NEVER = datetime.min.replace(tzinfo=UTC)


class Workers(NamedTuple):
    """The threads beside the loop."""

    pool: AddressPool
    rates: RateKeeper
    outbox: OutboxWorker


class Loop:
    """Decides when to read bitcoind, and computes the statuses that follow from the facts."""

    def __init__(
        self,
        settings: Settings,
        node: Bitcoind,
        feed: Feed,
        workers: Workers,
        health: HealthReporter,
        counters: Counters,
        should_stop: Callable[[], bool],
    ) -> None:
        self._node = node
        self._feed = feed
        self._workers = workers
        self._health = health
        self._should_stop = should_stop

        node.on_wait(self._pulse)
        self._reconciler = Reconciler(settings, node, feed, workers.pool, health, self._pulse, should_stop)
        self._commands = CommandHandler(settings, self._reconciler.mempool)
        self._assessor = Assessor(settings, self._pulse, counters)
        self._schedule = LookSchedule(settings.reconcile_interval)

        self._state = LoopState.STARTING
        self._tip_height = 0
        """The height of the facts, in a state that has a tip."""
        self._synced_at = _NEVER
        """The beginning of the last complete look."""

    def run(self) -> None:
        """Work until `should_stop` returns true.

        Raise LockLost where another daemon may use the database by now, and WorkerEnded.
        """
        while not self._should_stop():
            batch = self._feed.poll(self._schedule.poll_seconds())
            self._handle_feed_events(batch)
            try:
                self._step(batch)
            except NotReady as reason:
                self._enter_waiting(str(reason))
            except (NodeError, RpcError, WrongChain) as error:
                self._node.close()
                self._enter_outage(str(error))
            except TRANSIENT_ERRORS as error:
                self._lose_database(error)
            except Stopping:
                return
            self._health.note_slow_call(None)
            self._beat()
            self._health.report_ready()

    def _step(self, batch: Batch) -> None:
        if self._schedule.is_look_due():
            self._reconcile()
        elif self._state.has_tip:
            self._follow(batch)
        else:
            return
        if batch.transactions:
            self._handle_transactions(batch.transactions)
        self._run_commands()
        self._watch_requests()
        self._watch_unconfirmed()
        if self._state.has_tip:
            self._health.work(self._tip_height)

    # The states

    def _reconcile(self) -> None:
        """Compare the stored state with chain and mempool, and assess the requests that are due."""
        began_at, began = _now(), time.monotonic()
        # A later command waits for the next look, because money may have come before the command.
        cancellations = pending_cancellations()
        self._state = LoopState.READING
        self._health.begin_look()
        look = self._reconciler.look()
        self._tip_height = look.tip_height
        if look.is_complete:
            self._synced_at = began_at
        self._state = LoopState.SCANNING if self._synced_at == _NEVER else LoopState.WORKING
        is_settled = look.is_complete and not self._reconciler.mempool.is_missing_any
        seconds = time.monotonic() - began
        self._schedule.end_look(seconds, is_settled=is_settled, is_feed_whole=self._feed.is_whole)
        self._assess()
        if look.is_complete and cancellations:
            self._cancel(cancellations, began_at)

    def _enter_waiting(self, reason: str) -> None:
        self._state = LoopState.WAITING
        self._health.wait(reason)
        self._schedule.look_after(self._schedule.retry_seconds)

    def _enter_outage(self, reason: str) -> None:
        self._state = LoopState.OUT_OF_TOUCH
        self._workers.pool.check_soon()
        self._schedule.look_after(self._health.lose_touch(reason))

    def _lose_database(self, error: Exception) -> None:
        self._enter_outage(f"the database cannot be used: {one_line(error)}")
        disconnect()

    def _reconcile_within(self, seconds: float) -> None:
        """Reconcile after `seconds` at the latest. During an outage the retry delay stays."""
        if self._state is not LoopState.OUT_OF_TOUCH:
            self._schedule.look_within(seconds)

    # The feed

    def _handle_feed_events(self, batch: Batch) -> None:
        self._health.note_feed(batch)
        if batch.has_connected:
            self._workers.pool.check_soon()
            self._schedule.note_connection()
        if batch.is_incomplete:
            self._reconcile_within(0)

    def _follow(self, batch: Batch) -> None:
        """Read the blocks up to a new tip. After a new connection, check the node."""
        if batch.has_new_tip or batch.has_connected:
            tip = self._reconciler.tip()
            if batch.has_new_tip:
                self._tip_height = self._reconciler.catch_up(tip).height
                self._assess()

    def _handle_transactions(self, transactions: list[bytes]) -> None:
        update = self._reconciler.compare_with_feed(transactions)
        if update is None:
            return
        if update.is_conclusive:
            self._store_and_assess(update)
        else:
            update.apply_in_transaction()
            self._reconcile()

    # The decisions

    def _store_and_assess(self, update: MempoolUpdate) -> None:
        """Store new facts and the statuses that they change, in one transaction."""
        if self._state is not LoopState.WORKING:
            update.apply_in_transaction()
            return
        as_of, now = self._times()
        with unit_of_work("assessed") as work:
            update.apply(work)
            batch = self._assessor.assess_batch(work, self._tip_height, as_of, now)
        self._end_assessment(batch.changes)
        if not batch.is_last:
            self._assess()

    def _assess(self) -> None:
        """Assess the requests that are due."""
        if self._state is LoopState.WORKING:
            self._end_assessment(self._assessor.assess_due(self._tip_height, *self._times()))

    def _times(self) -> tuple[datetime, datetime]:
        """Return the time of the last complete look, for the assessment, and the time now."""
        now = _now()
        # The system clock may have been ahead. After its correction, no request may expire early.
        return min(self._synced_at, now), now

    def _end_assessment(self, changes: int) -> None:
        if changes:
            self._workers.outbox.wake()
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
            self._workers.outbox.wake()

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
        if self._reconciler.mempool.is_missing_any:
            self._reconcile_within(self._schedule.retry_seconds)
        elif self._schedule.is_check_due() and self._reconciler.mempool.is_any_gone():
            self._reconcile_within(0)

    # The heartbeat

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
        self._health.report_alive()


def _now() -> datetime:
    return datetime.now(UTC)
