"""Run the daemon. It reads the settings, locks the database, builds the parts and runs the loop."""

import packages  # noqa: F401 (a missing package is one sentence from here on)

# isort: split
import gc
import os
import signal
import socket
import sys
import time
from datetime import UTC, datetime

import structlog

import logs
from config import EX_CONFIG, Settings, likely_typos, settings_or_exit
from daemon import failpoint
from daemon.address_pool import AddressPool
from daemon.counters import Counters
from daemon.delivery.outbox_worker import OutboxWorker
from daemon.delivery.smtp import Mailer
from daemon.delivery.webhook import WebhookSender
from daemon.health import HealthReporter
from daemon.loop import Loop, Workers
from daemon.node.calls import RPC_CALLS
from daemon.node.client import Bitcoind
from daemon.node.feed import Feed
from daemon.rates.updater import RateKeeper
from daemon.worker import start_daemon_thread
from models.db.connection import TRANSIENT_ERRORS, DatabaseError, database, disconnect, one_line
from models.db.leadership import LockLost, begin_epoch
from models.db.lock import AdvisoryLock, FileLock, database_lock
from models.db.schema import migrate, open_database
from models.db.web_role import refuse_web_role
from sd_notify import ServiceManager

STANDBY_LOOK_SECONDS = 0.5
STOP_SECONDS, FORCE_EXIT_SECONDS = 4.0, 4.6
"""The time that the threads have for their end, and the time until the process exits in any case.

A locked database or a slow name lookup may need longer. Then the process ends as by a power cut, which loses
nothing.
"""
LAST_LINES_SECONDS = 0.2

log = structlog.get_logger("daemon")


class SignalWaiter:
    """A flag that the first SIGTERM or SIGINT sets. The loop reads the flag.

    A thread waits for the signals, because a handler could not run while the main thread is in SQLite.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self, manager: ServiceManager) -> None:
        self.is_asked_for = False
        self._manager = manager
        signal.pthread_sigmask(signal.SIG_BLOCK, self.SIGNALS)
        start_daemon_thread(self._wait)

    def __call__(self) -> bool:
        """Return whether a signal has come."""
        return self.is_asked_for

    def _wait(self) -> None:
        signal.sigwait(self.SIGNALS)
        self.is_asked_for = True
        self._manager.stopping()
        time.sleep(FORCE_EXIT_SECONDS)
        log.warning("daemon stopped before its work ended", reason="the threads did not end in time")
        logs.drain(LAST_LINES_SECONDS)
        os._exit(0)


def main() -> int:
    """Run until SIGTERM or SIGINT. Return the exit status."""
    manager = ServiceManager(os.environ)
    # The signals are blocked before any thread starts, because threads inherit the signal mask.
    should_stop = SignalWaiter(manager)
    logs.configure_before_settings()
    settings = settings_or_exit()
    try:
        armed = failpoint.arm(os.environ, failpoint.names(RPC_CALLS))
    except failpoint.UnknownFailpoint as error:
        print(f"nodetill: {error}", file=sys.stderr)
        return EX_CONFIG
    os.umask(0o077)
    logs.configure(settings.log_format, settings.log_level)
    for name, meant in likely_typos(os.environ):
        log.warning("no setting", variable=name, did_you_mean=meant)
    if armed:
        log.warning("THIS DAEMON WILL KILL ITSELF", variable=failpoint.VARIABLE, place=armed)
    try:
        open_database(settings.database_url.reveal())
        refuse_web_role()
        lock = database_lock("daemon")
    except DatabaseError as error:
        print(f"nodetill: {error}", file=sys.stderr)
        return 1
    while not should_stop():
        if stand_by(settings, lock, should_stop, manager):
            work(settings, lock, should_stop, manager)
    lock.release()
    disconnect()
    log.info("daemon stopped")
    return 0


def stand_by(
    settings: Settings, lock: FileLock | AdvisoryLock, should_stop: SignalWaiter, manager: ServiceManager
) -> bool:
    """Wait until no other daemon uses the database. Return False for a stop before that."""
    node = f"{settings.rpc_url_without_credentials} of {socket.gethostname()}"
    is_logged = False
    while not should_stop():
        try:
            if lock.acquire():
                # Another file may have replaced the database file since the start.
                migrate(database.obj)
                begin_epoch(node)
                return True
            reason = "another daemon works on this database"
        except DatabaseError as error:
            reason = str(error)
            lock.release()
            disconnect()
        except TRANSIENT_ERRORS as error:
            reason = f"the database cannot be used: {one_line(error)}"
            disconnect()
        if not is_logged:
            log.info("standby", reason=reason)
            is_logged = True
        manager.ready(status := f"standby: {reason}")
        manager.alive(status)
        time.sleep(STANDBY_LOOK_SECONDS)
    return False


def work(
    settings: Settings, lock: FileLock | AdvisoryLock, should_stop: SignalWaiter, manager: ServiceManager
) -> None:
    """Run as the only daemon of this database until a stop, or until the lock is lost."""
    feed = Feed()
    pool = AddressPool(settings, Bitcoind(settings), clock)
    rates = RateKeeper(settings, clock)
    mailer = Mailer(settings.mail, settings.mail_from, proxy=settings.proxy)
    counters = Counters()
    webhooks = WebhookSender(private_hosts=settings.webhook_private_hosts, proxy=settings.proxy)
    outbox_worker = OutboxWorker(settings, mailer, webhooks, clock, time.monotonic, counters)
    workers = Workers(pool, rates, outbox_worker)
    health = HealthReporter(feed, pool, workers, lock, manager, counters)
    # The loaded modules stay for ever, and a full garbage collection is much shorter without them.
    gc.freeze()
    log.info("daemon started", rpc=settings.rpc_url_without_credentials, wallet=settings.bitcoind_wallet)
    for worker in workers:
        worker.start()
    try:
        Loop(settings, Bitcoind(settings), feed, workers, health, counters, should_stop).run()
    except LockLost as lost:
        log.warning("lock lost", reason=str(lost))
        lock.release()
        disconnect()
        # A standby daemon comes first, because our own connection has failed.
        time.sleep(2 * STANDBY_LOOK_SECONDS)
    finally:
        deadline = time.monotonic() + STOP_SECONDS
        for worker in workers:
            worker.stop(0)
        for worker in workers:
            worker.stop(max(deadline - time.monotonic(), 0.1))
        feed.close()


def clock() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


if __name__ == "__main__":
    sys.exit(main())
